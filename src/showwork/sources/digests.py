"""Two digests of a file in one pass, and the check that a file is still the one that was downloaded.

Takes:  bytes, once.
Leaves: sha256, by which the world knows the file, and xxh3-128, by which a reader recognizes it again at memory speed: the
        first is proof against an adversary, the second against everything that damages files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xxhash

from showwork.foundation.files import sha256_file, xxh3_file

READ_BYTES = 1 << 20


class Digests:
    """Both digests of the bytes so far."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._xxh3 = xxhash.xxh3_128()
        self.bytes = 0

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        self._sha256.update(data)
        self._xxh3.update(data)
        self.bytes += len(data)

    def of_file(self, path: Path, seen: Callable[[int], None] = lambda count: None) -> Digests:
        """Add a whole file; `seen` hears of the bytes as they are read."""
        with path.open("rb", buffering=0) as f:
            while data := f.read(READ_BYTES):
                self.update(data)
                seen(len(data))
        return self

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._sha256.hexdigest()

    @property
    def xxh3_128(self) -> str:
        """In hex."""
        return self._xxh3.hexdigest()


CHANGED = "it has changed since, delete the manifest of its download and run the same command again"


def check_size(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a file's size with its entry in the manifest of a download, before it is read.

    Raises: ValueError when it has grown or shrunk.
    """
    if (size := path.stat().st_size) != entry["bytes"]:
        raise ValueError(f"{path}: has {size:,} bytes, but {entry['bytes']:,} when it was downloaded; {CHANGED}")


def check_unchanged(path: Path, entry: Mapping[str, Any], xxh3: str | None = None) -> None:
    """Compare a file with its entry in the manifest of a download; `xxh3` is its digest when the reader made it.

    Raises: ValueError when it is another file.
    """
    kind = "xxh3_128" if "xxh3_128" in entry else "sha256"
    found = (xxh3 or xxh3_file(path)) if kind == "xxh3_128" else sha256_file(path)
    if found != entry[kind]:
        raise ValueError(f"{path}: {kind} is {found}, but {entry[kind]} when it was downloaded; {CHANGED}")
