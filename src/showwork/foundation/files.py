"""Files that are either whole or absent, and JSON whose bytes depend on nothing but its content.

Takes:  paths and objects.
Leaves: files written under a temporary name beside the target, flushed to disk, then renamed over it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import xxhash

from showwork.foundation.nesting import loads
from showwork.foundation.overlap import Behind

FLUSH_BYTES = 32 << 20
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write says when the disk, the quota or the file system's own limit is at its end; no read says that."""


def canonical(obj: Any) -> str:
    """One line of JSON with sorted keys: equal objects give equal text.

    >>> canonical({"b": 1, "a": [2, None]})
    '{"a": [2, null], "b": 1}'
    """
    return json.dumps(obj, sort_keys=True, ensure_ascii=False, allow_nan=False)


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed and renamed to `path`, on any error removed.

    What a writer of the same file left that was killed is removed first.

    Raises: OSError of the file system (full disk, read-only folder) with `path` as its file name; `path` then stays as it
    was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, f".{path.name}.", ".part")
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with named(path, instead_of=part), part.open("xb") as held:
            _hold(held.fileno())
            yield part
            with part.open("rb") as f:
                os.fsync(f.fileno())
            os.replace(part, path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # a folder that became read-only; the first error is the one to tell
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """Yield a folder `.name-…` in `parent` that goes with the block, or, if this process is killed, with the next such block."""
    remove_abandoned(parent, f".{name}-", "")
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as made:
        handle = os.open(made, os.O_RDONLY)
        try:
            _hold(handle)
            yield Path(made)
        finally:
            os.close(handle)


def remove_abandoned(folder: Path, start: str, end: str) -> None:
    """Remove the temporary files and folders of that beginning and end in `folder` whose writer was killed.

    A living writer holds a lock on its own, which the kernel frees when it dies; one on a file system without locks, and one
    that another process removes meanwhile, is left alone.
    """
    for path in folder.glob(f"{glob.escape(start)}*{end}"):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            continue
        finally:
            os.close(handle)


def _hold(handle: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: what a kill leaves there stays
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def named(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Give a full disk's OSError, which names no file, the name of what was being written.

    `instead_of` is a temporary name that nobody knows: its errors name `path` as well.

    Raises: OSError, the one that came, with the name.
    """
    try:
        yield
    except OSError as e:
        nameless = e.filename is None and e.errno in NO_ROOM
        if e.errno is None or not (nameless or (instead_of and e.filename == str(instead_of))):
            raise
        raise OSError(e.errno, os.strerror(e.errno), str(path)) from e


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entry, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path | str, obj: Any) -> None:
    """Write `obj` as indented JSON with sorted keys, whole or not at all. NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(obj, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """The object in a JSON file.

    Raises: FileNotFoundError when there is no such file, ValueError when it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; an earlier stage should have left it, run the same command again"
        )
    try:
        return loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(
            f"{path}: expected JSON, got something else ({e}); delete it and run the same command again"
        ) from e


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file, and what its bytes hashed to while they were written: nobody needs to read it again for that."""

    path: Path
    bytes: int
    sha256: str


class HashingFile:
    """A file to write from the start to the end that hashes its bytes on the way: `with HashingFile(path) as f: …`.

    Hashing and flushing to disk go on in threads of their own beside the writer's work. `bytes` and `sha256` are final after
    the block.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._hash = Behind(depth=8)
        self._flushing: threading.Thread | None = None
        self._flushed = 0
        self.bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes."""
        self._hash(self._digest.update, data)
        self.bytes += len(data)
        if self.bytes - self._flushed > FLUSH_BYTES and not (self._flushing and self._flushing.is_alive()):
            self._flushed = self.bytes
            self._flushing = threading.Thread(target=_flush, args=(self._file.fileno(),), daemon=True)
            self._flushing.start()
        return self._file.write(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self.bytes

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    def close(self) -> None:
        """Nothing yet: the block closes the file."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    @property
    def sha256(self) -> str:
        """Of all bytes, in hex."""
        return self._digest.hexdigest()

    def __enter__(self) -> HashingFile:
        self._hash.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hash.__exit__(kind, error, trace)
        if self._flushing:
            self._flushing.join()
        self._file.close()


def _flush(handle: int) -> None:
    """Start on what has to reach the disk anyway; if it fails, the file's own flush at its end says so."""
    with contextlib.suppress(OSError):
        os.fsync(handle)


def sha256_file(path: Path | str) -> str:
    """Hex sha256 of a file's bytes, read in 1 MiB pieces."""
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def xxh3_file(path: Path | str) -> str:
    """Hex xxh3-128 of a file's bytes, read in 1 MiB pieces: five times as fast as sha256, and no proof against an adversary."""
    digest = xxhash.xxh3_128()
    with Path(path).open("rb", buffering=0) as f:
        while data := f.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
