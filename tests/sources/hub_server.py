"""A hub of our own for tests: the tree and resolve protocol, a second host for large files, and faults on demand.

    with HubServer() as hub:
        hub.add("dataset", "org/name", {"data.jsonl": b"…"})
        hub.fault("flip", path="data.jsonl")
        … HF_ENDPOINT=hub.endpoint …
        hub.served("data.jsonl")  # bytes of its content that were sent

The hub listens on 127.0.0.1 and sends large (LFS) files from 127.0.0.2, as the real one does from its content network.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LFS_BYTES = 1000
_ROUTES = re.compile(
    r"/api/(?P<kind>dataset|model)s/(?P<api_repo>[^/]+/[^/]+)/(?P<call>revision|tree)/(?P<api_revision>[^/?]+)(?P<folder>/.*)?"
    r"|/(?P<prefix>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)


@dataclass
class Fault:
    """What goes wrong with the next `times` requests for a path (any content when None)."""

    kind: str
    path: str | None
    times: int
    value: str


@dataclass
class Request:
    """One request as the server saw it."""

    host: str
    method: str
    url: str
    path: str
    range: str | None
    authorization: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Repo:
    """Commits of one repository; `branches` move."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False


class HubServer:
    """Two servers in threads; `requests` has everything that was asked."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.token = "hf_secretsecret"
        self.page_files = 1000
        self.bytes_per_s: float | None = None
        self.redirect_scheme: str | None = None
        self.lock = threading.Lock()
        self._hub = self._server("127.0.0.1")
        self._content = self._server("127.0.0.2")
        self.endpoint = f"http://127.0.0.1:{self._hub.server_port}"
        self.content = f"http://127.0.0.2:{self._content.server_port}"

    def _server(self, host: str) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer((host, 0), _Handler)
        server.daemon_threads = True
        server.hub = self  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def __enter__(self) -> HubServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop both hosts; later requests are refused connections."""
        for server in (self._hub, self._content):
            server.shutdown()
            server.server_close()

    def add(self, kind: str, name: str, files: dict[str, bytes], *, branch: str = "main", gated: bool = False) -> str:
        """Commit `files` to a branch and return the commit."""
        repo = self.repos.setdefault((kind, name), Repo())
        repo.gated = gated
        listing = sorted((p, hashlib.sha256(d).hexdigest()) for p, d in files.items())
        commit = hashlib.sha1(f"{name}{listing}{len(repo.commits)}".encode()).hexdigest()
        repo.commits[commit] = files
        repo.branches[branch] = commit
        return commit

    def fault(self, kind: str, path: str | None = None, *, times: int = 1, value: str = "") -> None:
        """Let the next requests go wrong: cut, short, long, flip, ignore_range, other_range, stall, html, or a status like
        503 (c503: only where the content is sent). json answers with `value`."""
        self.faults.append(Fault(kind, path, times, value))

    def take_fault(self, path: str, kinds: str) -> Fault | None:
        """The next fault of one of these kinds for a path, used up once."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.fullmatch(kinds, fault.kind) and fault.path in (None, path):
                    fault.times -= 1
                    return fault
        return None

    def asked(self, path: str) -> list[Request]:
        """The requests for the content of a path that got content."""
        return [r for r in self.requests if r.path == path and r.status in (200, 206) and r.method == "GET"]

    def served(self, path: str) -> int:
        """Bytes of a path's content that were sent."""
        return sum(r.sent for r in self.asked(path))


def oid(data: bytes) -> str:
    """The git blob sha1."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def _handle(self) -> None:
        self.hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        host = str(self.server.server_address[0])
        self.seen = Request(
            host, self.command, self.path, "", self.headers.get("Range"), self.headers.get("Authorization")
        )
        self.hub.requests.append(self.seen)
        parts = urlsplit(self.path)
        route = parts.path
        try:
            if host == "127.0.0.2":
                self._large(route)
            else:
                self._route(route, parse_qs(parts.query))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, route: str, query: dict[str, list[str]]) -> None:
        match = _ROUTES.fullmatch(route)
        if not match:
            return self._refuse(404, "")
        found = {name: unquote(part) if part else part for name, part in match.groupdict().items()}
        kind = found["kind"] or ("dataset" if found["prefix"] else "model")
        repo = self.hub.repos.get((kind, found["api_repo"] or found["repo"]))
        self.seen.path = path = found["path"] or found["call"]
        if fault := self.hub.take_fault(path, r"\d+"):
            return self._refuse(int(fault.kind), "", {"Retry-After": fault.value} if fault.value else {})
        if fault := self.hub.take_fault(path, "json"):
            return self._json(json.loads(fault.value))
        if repo is None:
            return self._refuse(401, "RepoNotFound")
        revision = found["api_revision"] or found["revision"]
        commit = repo.branches.get(revision, revision)
        if commit not in repo.commits:
            return self._refuse(404, "RevisionNotFound")
        files = repo.commits[commit]
        if found["call"] == "revision":
            return self._json({"sha": commit, "id": found["api_repo"], "siblings": [{"rfilename": p} for p in files]})
        if found["call"] == "tree":
            return self._tree(files, (found["folder"] or "").strip("/"), query)
        if repo.gated and self.seen.authorization != f"Bearer {self.hub.token}":
            return self._refuse(403 if self.seen.authorization else 401, "GatedRepo")
        if path not in files:
            return self._refuse(404, "EntryNotFound")
        data = files[path]
        if len(data) < LFS_BYTES:
            return self._content(path, data, {"X-Repo-Commit": commit, "ETag": f'"{oid(data)}"'})
        digest = hashlib.sha256(data).hexdigest()
        where = f"{self.hub.content}/{commit}/{digest}?signature=secret"
        if self.hub.redirect_scheme:
            where = where.replace("http", self.hub.redirect_scheme, 1)
        headers = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "ETag": f'"{digest}"'}
        return self._answer(302, b"", {"Location": where, "X-Repo-Commit": commit, **headers})

    def _large(self, route: str) -> None:
        commit, digest = route.strip("/").split("/")
        for repo in self.hub.repos.values():
            for path, data in repo.commits.get(commit, {}).items():
                if hashlib.sha256(data).hexdigest() == digest:
                    self.seen.path = path
                    return self._content(path, data, {"ETag": f'"{digest}"'})
        return self._refuse(404, "")

    def _tree(self, files: dict[str, bytes], folder: str, query: dict[str, list[str]]) -> None:
        entries = []
        for path, data in sorted(files.items()):
            if folder and not path.startswith(folder + "/"):
                continue
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": oid(data)}
            if len(data) >= LFS_BYTES:
                digest = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
            entries.append(entry)
        for name in sorted({p.rpartition("/")[0] for p in files if "/" in p}):
            entries.append({"type": "directory", "path": name, "size": 0, "oid": "0" * 40})
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.hub.page_files
        more = {"Link": f'<{self.hub.endpoint}{urlsplit(self.path).path}?recursive=true&cursor={end}>; rel="next"'}
        self._json(entries[start:end], more if end < len(entries) else {})

    def _content(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        if fault := self.hub.take_fault(path, r"c?\d+"):
            return self._refuse(int(fault.kind.strip("c")), "", {"Retry-After": fault.value} if fault.value else {})
        fault = self.hub.take_fault(path, "cut|short|long|flip|stall|html") if self.command == "GET" else None
        span, status = self._span(len(data)), 200
        if self.seen.range and self.hub.take_fault(path, "ignore_range"):
            span = None
        first, last = span or (0, len(data) - 1)
        if span:
            status = 206
            moved = bool(self.hub.take_fault(path, "other_range"))
            headers = {**headers, "Content-Range": f"bytes {first + moved}-{last}/{len(data)}"}
        body = data[first : last + 1]
        half = len(body) // 2
        if fault and fault.kind == "flip":
            body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
        elif fault and fault.kind == "short":
            body = body[:half]
        elif fault and fault.kind == "long":
            body += b"x"
        elif fault and fault.kind == "html":
            body = b"<html>sign in to the network</html>"
        limit = half if fault and fault.kind in ("cut", "stall") else None
        self._answer(status, body, {**headers, "Accept-Ranges": "bytes"}, limit)
        if fault and fault.kind == "stall":
            time.sleep(float(fault.value))
            self.close_connection = True

    def _span(self, size: int) -> tuple[int, int] | None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.seen.range or "")
        return (int(found[1]), min(int(found[2] or size), size - 1)) if found else None

    def _json(self, obj: object, headers: dict[str, str] | None = None) -> None:
        self._answer(200, json.dumps(obj).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, b"{}", {**({"X-Error-Code": code} if code else {}), **(headers or {})})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], limit: int | None = None) -> None:
        self.seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body if limit is None else body[:limit]
        step = len(body) or 1 if self.hub.bytes_per_s is None else max(1, int(self.hub.bytes_per_s / 50))
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            self.seen.sent += len(body[at : at + step])
            if self.hub.bytes_per_s is not None:
                time.sleep(1 / 50)
        if limit is not None:
            self.wfile.flush()
            self.close_connection = True
