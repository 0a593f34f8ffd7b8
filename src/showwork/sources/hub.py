"""The hub's own protocol: resolve a revision, list its files with their digests, open a file at an offset.

Takes:  HF_ENDPOINT (default https://huggingface.co), HF_HUB_OFFLINE, and HF_TOKEN or the file that `hf auth login` leaves.
Leaves: answers, or one sentence for each way in which the hub refuses.

The token goes to the endpoint's own host only: a redirect to another host is asked without it. It is in no text, log or
manifest. Only http and https are followed, and never from https down to http.
"""

from __future__ import annotations

import http.client
import os
import re
import string
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urljoin, urlsplit

from showwork.foundation.nesting import loads
from showwork.sources.patience import Retryable, retry_after_s

ENDPOINT = "https://huggingface.co"
COMMIT = re.compile(r"[0-9a-f]{40}")
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_REDIRECTS = 8
_PREFIX = {"dataset": "datasets/", "model": ""}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at a revision: its size, and the sha256 (large files) or the git blob sha1 (small ones) of its content."""

    path: str
    bytes: int
    kind: str
    digest: str


@dataclass(frozen=True)
class Repo:
    """A dataset or model on the hub."""

    kind: str
    hub: str

    def __str__(self) -> str:
        return f"{self.kind} {self.hub}"


class Refused(ValueError):
    """The hub refuses for good; the text is a whole sentence."""


class RangeRefused(Retryable):
    """The server cannot go on at this offset."""


class _KeepRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Redirects are followed by Hub.open, which drops the token first."""


@dataclass
class Hub:
    """One endpoint. `token` is kept out of repr and of every text."""

    endpoint: str = ENDPOINT
    token: str | None = field(default=None, repr=False)
    stall_s: float = 30.0
    offline: bool = False

    def __post_init__(self) -> None:
        self._opener = urllib.request.build_opener(_KeepRedirect)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, stall_s: float = 30.0) -> Hub:
        """The hub that HF_ENDPOINT and HF_TOKEN (or the token file) name.

        Raises: ValueError when HF_ENDPOINT is no http address, or holds a name or a password.
        """
        endpoint = (environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        if urlsplit(endpoint).scheme not in ("http", "https"):
            raise ValueError(f"HF_ENDPOINT is {endpoint!r}; an http or https address is wanted, correct or unset it")
        if "@" in urlsplit(endpoint).netloc:
            raise ValueError(
                "HF_ENDPOINT holds a name or a password before its host; leave them out, HF_TOKEN is what is sent"
            )
        offline = (environment.get("HF_HUB_OFFLINE") or "").upper() in ("1", "ON", "YES", "TRUE")
        return cls(endpoint, _token(environment), stall_s, offline)

    def commit(self, repo: Repo, revision: str | None) -> str:
        """The 40-hex commit that a branch, tag or commit names now; None is the branch `main`.

        Raises: ValueError when the address answers with no commit.
        """
        found = self._json(f"{self._api(repo)}/revision/{quote(revision or 'main', safe='')}", repo, revision)
        commit = found.get("sha") if isinstance(found, dict) else None
        if not (isinstance(commit, str) and COMMIT.fullmatch(commit)):
            raise ValueError(f"{repo}: {self.endpoint} names no commit for {revision or 'main'}; is it a hub?")
        return commit

    def tree(self, repo: Repo, commit: str) -> list[RemoteFile]:
        """All files at a commit, by path.

        Raises: ValueError when the answer is no list of files, or goes on at another host.
        """
        url: str | None = f"{self._api(repo)}/tree/{commit}?recursive=true&expand=false"
        files = []
        while url:
            with self.open(url, repo, revision=commit) as answer:
                entries = _parsed(answer, repo)
                following = _NEXT.search(answer.headers.get("Link") or "")
            url = urljoin(url, following.group(1)) if following else None
            if url and _site(url) != _site(self.endpoint):
                raise ValueError(
                    f"{repo}: the list of files goes on at another host, {urlsplit(url).hostname}; refused"
                )
            try:
                files += [_remote_file(e, repo) for e in entries if e["type"] == "file"]
            except (KeyError, TypeError) as e:
                host = urlsplit(self.endpoint).netloc
                raise ValueError(f"{repo}: {host} answers no list of files ({e!r}); is HF_ENDPOINT a hub?") from e
        return sorted(files, key=lambda f: f.path)

    def url(self, repo: Repo, commit: str, path: str) -> str:
        """Where a file's content is asked for."""
        return f"{self.endpoint}/{_PREFIX[repo.kind]}{quote(repo.hub)}/resolve/{commit}/{quote(path)}"

    def open(
        self, url: str, repo: Repo, *, revision: str | None = None, path: str = "", span: str | None = None
    ) -> http.client.HTTPResponse:
        """The answer to GET `url`, after redirects; `span` is the value of a Range header.

        Raises: Refused (a sentence) for what will not change; Retryable for what may.
        """
        if self.offline:
            raise Refused(
                f"{repo} is not complete on this machine and HF_HUB_OFFLINE is set; unset it to fetch what is missing"
            )
        headers = {"User-Agent": "showwork", "Accept-Encoding": "identity"} | ({"Range": span} if span else {})
        for _ in range(_REDIRECTS):
            request = urllib.request.Request(url, headers=headers)
            if self.token and _site(url) == _site(self.endpoint):
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            try:
                return self._opener.open(request, timeout=self.stall_s)
            except urllib.error.HTTPError as e:
                with e:
                    location = e.headers.get("Location")
                    if e.code not in (301, 302, 303, 307, 308) or not location:
                        self._refuse(e, repo, revision, path)
                url = self._redirected(url, location, repo)
            except urllib.error.URLError as e:
                raise _no_connection(self.endpoint if _site(url) == _site(self.endpoint) else url, e.reason) from e
            except (OSError, http.client.HTTPException) as e:
                raise _no_connection(url, e) from e
        raise Refused(f"{repo}: more than {_REDIRECTS} redirects from {urlsplit(url).hostname}; check HF_ENDPOINT")

    def _api(self, repo: Repo) -> str:
        return f"{self.endpoint}/api/{repo.kind}s/{quote(repo.hub)}"

    def _json(self, url: str, repo: Repo, revision: str | None) -> Any:
        with self.open(url, repo, revision=revision) as answer:
            return _parsed(answer, repo)

    def _redirected(self, url: str, location: str, repo: Repo) -> str:
        target = quote(
            urljoin(url, location), safe=string.punctuation, encoding="iso-8859-1"
        )  # as urllib's own handler
        try:
            scheme, host, _ = _site(target)
        except ValueError as e:
            raise Refused(f"{repo}: {urlsplit(url).hostname} redirects to no address ({e}); check HF_ENDPOINT") from e
        if scheme not in ("http", "https") or (scheme == "http" and urlsplit(url).scheme == "https"):
            raise Refused(
                f"{repo}: {urlsplit(url).hostname} redirects to {scheme}://{host or ''}; only https "
                f"(or http from http) is followed, check HF_ENDPOINT"
            )
        return target

    def _refuse(self, e: urllib.error.HTTPError, repo: Repo, revision: str | None, path: str) -> NoReturn:
        why, page = e.headers.get("X-Error-Code") or "", f"{self.endpoint}/{_PREFIX[repo.kind]}{repo.hub}"
        at = (revision or "main")[: 12 if COMMIT.fullmatch(revision or "") else None]
        if e.code == 429:
            raise Retryable("the hub limits the rate (429)", retry_after_s(e.headers.get("Retry-After")))
        if e.code == 416:
            raise RangeRefused("the server cannot go on where the last attempt ended (416)")
        if e.code in (408, 500, 502, 503, 504):
            raise Retryable(f"the server failed ({e.code})", retry_after_s(e.headers.get("Retry-After")))
        if why == "GatedRepo" or (e.code == 403 and not why):
            have = "the token in HF_TOKEN has no access yet" if self.token else "no token is set"
            raise Refused(f"{repo} is gated ({e.code}) and {have}; accept its terms at {page}, then set HF_TOKEN")
        if why == "RepoNotFound" or (e.code == 401 and not why):
            hidden = (
                "or it is private and the token in HF_TOKEN is wrong or has no access"
                if self.token
                else "or it is private and needs HF_TOKEN"
            )
            raise Refused(f"{self.endpoint} has no {repo} ({e.code}), {hidden}; check the hub id")
        if why == "RevisionNotFound":
            raise Refused(f"{repo} has no revision {at} ({e.code}); run `snakemake --cores 1 lock` or correct revision")
        if why == "EntryNotFound":
            raise Refused(f"{repo} has no file {path!r} at revision {at} ({e.code}); correct files")
        if e.code == 404:
            raise Refused(
                f"{repo}: {urlsplit(e.url or page).hostname} has nothing at {path or at} (404); check hub and revision"
            )
        raise Refused(
            f"{repo}: {urlsplit(e.url or page).hostname} answers {e.code} for {path or at}; check access and HF_ENDPOINT"
        )


def receive(answer: http.client.HTTPResponse, count: int) -> bytes:
    """Up to `count` of the next bytes, b"" at the end. Raises: Retryable when the line breaks or stalls."""
    host = urlsplit(answer.url).netloc
    try:
        return answer.read1(count)
    except TimeoutError as e:
        raise Retryable(f"{host} stopped sending") from e
    except (OSError, http.client.HTTPException) as e:
        raise Retryable(f"the connection to {host} broke off ({e})") from e


def _no_connection(url: str, reason: object) -> Retryable:
    host = urlsplit(url).netloc
    if isinstance(reason, TimeoutError):
        return Retryable(f"{host} does not answer in time")
    return Retryable(f"no connection to {host} ({reason})")


def _parsed(answer: http.client.HTTPResponse, repo: Repo) -> Any:
    data = b"".join(iter(lambda: receive(answer, 1 << 20), b""))
    if (length := answer.headers.get("Content-Length")) and int(length) != len(data):
        raise Retryable(f"{len(data):,} of {int(length):,} bytes of the answer arrived")
    try:
        return loads(data)
    except ValueError as e:
        raise ValueError(f"{repo}: {urlsplit(answer.url).netloc} answers no JSON; is HF_ENDPOINT a hub?") from e


def _remote_file(entry: dict[str, Any], repo: Repo) -> RemoteFile:
    path, lfs = entry["path"], entry.get("lfs")
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\\" in path or "\0" in path:
        raise ValueError(f"{repo}: holds a file named {path!r}, which could leave the download folder; refused")
    if lfs:
        return RemoteFile(path, lfs["size"], "sha256", lfs["oid"].removeprefix("sha256:"))
    return RemoteFile(path, entry["size"], "git_sha1", entry["oid"])


def _site(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _token(environment: Mapping[str, str]) -> str | None:
    token = environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN")
    if not token:
        cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
        home = Path(environment.get("HF_HOME") or f"{cache}/huggingface").expanduser()
        file = Path(environment.get("HF_TOKEN_PATH") or home / "token").expanduser()
        token = file.read_text("utf-8") if file.is_file() else ""
    token = token.strip()
    if not token.isprintable() or not token.isascii():
        raise ValueError("HF_TOKEN holds characters that no token has (a line break?); set it again")
    return token or None
