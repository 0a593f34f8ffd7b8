"""Fetches files of the hub whole or not at all: resumed across processes, checked by size and digest, several at a time.

Takes:  files with the size and digest that the hub records.
Leaves: each under its own name. A finished file is checked and never asked for again, whoever needs it; a damaged one is
        moved to `<name>.damaged` and fetched anew.

huggingface_hub is not used: it does not resume across processes and accepts a wrong body of the right size.
"""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from showwork.sources.blobs import Blob
from showwork.sources.hub import Hub, RangeRefused, RemoteFile, Repo, receive
from showwork.sources.part import Digest, Part, locked
from showwork.sources.patience import Patience, Retryable, Stopped

CHUNK_BYTES = 1 << 18
PARALLEL_FILES = 4
WRONG_BODIES = 2
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Voice(Protocol):
    """What a stage talks through."""

    def __call__(self, sentence: str) -> None:
        """Say one sentence."""

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Say how far it is: `done` of `total`, in bytes."""


@dataclass
class Transfer:
    """Fetches files of one repository at one commit into `folder`."""

    hub: Hub
    repo: Repo
    commit: str
    folder: Path
    say: Voice
    patience: Patience = field(default_factory=Patience)
    parallel: int = PARALLEL_FILES

    def fetch(self, files: Sequence[RemoteFile]) -> dict[str, Blob]:
        """All files, by their path in the repository.

        Raises: ValueError or OSError, one sentence, for the first that cannot be had; what has arrived stays for the next
        attempt.
        """
        received = Received(sum(f.bytes for f in files), self.say)
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="transfer") as pool:
            jobs = {f.path: pool.submit(self._one, f, received) for f in files}
            try:
                pending = set(jobs.values())
                while pending and not any(j.done() and j.exception() for j in jobs.values()):
                    _, pending = wait(pending, timeout=0.2)
                    received.show()
            finally:
                if pending:
                    self.patience.stop.set()
                for job in pending:
                    job.cancel()
        errors = [e for j in jobs.values() if not j.cancelled() and (e := j.exception()) and not isinstance(e, Stopped)]
        if errors:
            raise errors[0]
        return {path: job.result() for path, job in jobs.items()}

    def _one(self, remote: RemoteFile, received: Received) -> Blob:
        path = self.folder / remote.path
        with locked(path, self.say, self.patience.stop):
            if path.exists():
                digest = Digest(remote)
                digest.of_file(path, received.found)
                if digest.matches:
                    return Blob(path, remote.bytes, digest.sha256, digest.xxh3_128)
                received.found(-digest.bytes)
                os.replace(path, path.with_name(path.name + ".damaged"))
                self.say(f"{remote.path} is damaged since its download; it was moved aside and is fetched again")
            part = Part(path, remote, received.found)
            if part.arrived:
                self.say(f"{remote.path}: going on at {part.arrived:,} of {remote.bytes:,} bytes")
            part.seen = received.add
            what = f"{self.repo}, file {remote.path!r}"
            wrong: list[str] = []
            try:
                self.patience.insist(what, lambda: self._attempt(part, remote, wrong), self.say, lambda: part.furthest)
                part.finish()
            finally:
                part.close()
            return Blob(path, remote.bytes, part.digest.sha256, part.digest.xxh3_128)

    def _attempt(self, part: Part, remote: RemoteFile, wrong: list[str]) -> None:
        """Receive what is missing, then compare with the hub's record."""
        if part.arrived < remote.bytes:
            self._receive(part, remote)
        if not part.digest.matches:
            wrong.append(part.digest.recorded)
            part.restart()
            text = f"wrong bytes: {remote.kind} is {wrong[-1]} where the hub records {remote.digest}"
            if len(wrong) == WRONG_BODIES:
                raise ValueError(
                    f"{self.repo}, file {remote.path!r}: {text} ({WRONG_BODIES} times); something on the way or the hub's "
                    f"copy is damaged, run the same command again later"
                )
            raise Retryable(text)

    def _receive(self, part: Part, remote: RemoteFile) -> None:
        url = self.hub.url(self.repo, self.commit, remote.path)
        span = f"bytes={part.arrived}-" if part.arrived else None
        try:
            answer = self.hub.open(url, self.repo, revision=self.commit, path=remote.path, span=span)
        except RangeRefused:
            part.restart()
            raise
        with answer:
            if answer.status == 206:
                found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range") or "")
                if not found or int(found[1]) != part.arrived or found[2] not in ("*", str(remote.bytes)):
                    part.restart()
                    raise Retryable(
                        f"the server sends another range than asked for ({answer.headers.get('Content-Range')})"
                    )
            elif part.arrived:
                self.say(f"{remote.path}: the server does not resume; starting over")
                part.restart()
            missing = remote.bytes - part.arrived
            offered = answer.headers.get("Content-Length")
            if offered is not None and int(offered) != missing:
                raise Retryable(f"the server offers {int(offered):,} bytes where {missing:,} are wanted")
            while data := self._read(answer):
                if part.arrived + len(data) > remote.bytes:
                    part.restart()
                    raise Retryable(f"the body is longer than the {remote.bytes:,} bytes that the hub records")
                part.append(data)
        if part.arrived < remote.bytes:
            raise Retryable(f"the body broke off at {part.arrived:,} of {remote.bytes:,} bytes")

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        if self.patience.stop.is_set():
            raise Stopped
        return receive(answer, CHUNK_BYTES)


class Received:
    """Bytes of all files together; the rate counts only what came over the line, in the last ten seconds."""

    def __init__(self, total: int, say: Voice) -> None:
        self._total, self._say = total, say
        self._lock = threading.Lock()
        self._done = self._came = 0
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def found(self, count: int) -> None:
        """Bytes that were here already."""
        with self._lock:
            self._done += count

    def add(self, count: int) -> None:
        """Bytes that arrived (or, below zero, were thrown away)."""
        with self._lock:
            self._done += count
            self._came += max(count, 0)

    def show(self) -> None:
        """Say how far it is, how fast, and for how long."""
        with self._lock:
            done, came, now = self._done, self._came, time.monotonic()
        self._marks = [m for m in self._marks if m[0] > now - 10] or self._marks[-1:]
        self._marks.append((now, came))
        (start, before), passed = self._marks[0], now - self._marks[0][0]
        rate = (came - before) / passed if now > start else 0.0
        text = f"bytes, {rate / 1e6:,.1f} MB/s"
        if rate and done < self._total:
            minutes, seconds = divmod(int((self._total - done) / rate), 60)
            text += f", {minutes}:{seconds:02d} left"
        self._say.progress(done, self._total, text)
