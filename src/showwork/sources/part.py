"""One file on its way in: the bytes so far, their running digest, and a note of the digest they are to have.

Takes:  the final path and the hub's record of the file.
Leaves: `<name>.part` and `<name>.part.json` beside the final path until `finish` renames the part; any later process goes
        on from them. A part whose note names another digest is thrown away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from showwork.foundation.files import read_json, sync_folder, write_json
from showwork.sources.digests import Digests
from showwork.sources.hub import RemoteFile


class Digest(Digests):
    """Both digests, and the git blob sha1 when that is how the hub knows the file."""

    def __init__(self, remote: RemoteFile) -> None:
        super().__init__()
        self._remote = remote
        self._git = hashlib.sha1(b"blob %d\0" % remote.bytes) if remote.kind == "git_sha1" else None

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        super().update(data)
        if self._git:
            self._git.update(data)

    @property
    def recorded(self) -> str:
        """The digest to compare with the hub's record."""
        return self._git.hexdigest() if self._git else self.sha256

    @property
    def matches(self) -> bool:
        """Whether size and digest are the hub's."""
        return self.bytes == self._remote.bytes and self.recorded == self._remote.digest


class Part:
    """The unfinished file; hold the file's lock while using it."""

    def __init__(self, path: Path, remote: RemoteFile, seen: Callable[[int], None] = lambda count: None) -> None:
        self._path, self._remote, self.seen = path, remote, seen
        self._file = path.with_name(path.name + ".part")
        self._note = path.with_name(path.name + ".part.json")
        self._open: BinaryIO | None = None
        self.furthest = 0
        wanted = {"bytes": remote.bytes, remote.kind: remote.digest}
        self.digest = Digest(remote)
        if self._file.exists() and self._noted() == wanted and self._file.stat().st_size <= remote.bytes:
            self.digest.of_file(self._file, seen)
            self.furthest = self.arrived
        else:
            self._file.unlink(missing_ok=True)
            write_json(self._note, wanted)

    @property
    def arrived(self) -> int:
        """How many bytes have."""
        return self.digest.bytes

    def append(self, data: bytes) -> None:
        """Add the next bytes. Raises: OSError with the file's name (full disk)."""
        try:
            if self._open is None:
                self._open = self._file.open("ab", buffering=0)
            rest = memoryview(data)
            while rest:  # a nearly full disk takes a part, and refuses only the next write
                rest = rest[self._open.write(rest) :]
        except OSError as e:
            raise OSError(
                e.errno, f"{e.strerror} ({self._remote.bytes - self.arrived:,} bytes to go)", str(self._file)
            ) from e
        self.digest.update(data)
        self.furthest = max(self.furthest, self.arrived)
        self.seen(len(data))

    def restart(self) -> None:
        """Throw away what has arrived."""
        self.close()
        self._file.unlink(missing_ok=True)
        self.seen(-self.arrived)
        self.digest = Digest(self._remote)

    def finish(self) -> None:
        """Give the whole file its name, flushed to disk."""
        self.append(b"")
        assert self._open is not None
        os.fsync(self._open.fileno())
        self.close()
        os.replace(self._file, self._path)
        self._note.unlink(missing_ok=True)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Close the part and leave it for another process."""
        if self._open:
            self._open.close()
            self._open = None

    def _noted(self) -> object:
        try:
            return read_json(self._note)
        except (FileNotFoundError, ValueError):
            return None


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None], stop: threading.Event) -> Iterator[None]:
    """Hold `<path>.lock` against every other process; a dead process holds nothing. Says when it has to wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a") as f:
        waiting = False
        while not stop.is_set():
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    say(f"{path.name} is being fetched by another process; waiting for it")
                waiting = True
                stop.wait(0.2)
        yield
