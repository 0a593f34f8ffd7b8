"""Files that are either whole or absent, and JSON whose bytes depend on nothing but its content.

Takes:  paths and objects.
Leaves: files written under a temporary name beside the target, flushed to disk, then renamed over it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def canonical(obj: Any) -> str:
    """One line of JSON with sorted keys: equal objects give equal text.

    >>> canonical({"b": 1, "a": [2, None]})
    '{"a": [2, null], "b": 1}'
    """
    return json.dumps(obj, sort_keys=True, ensure_ascii=False, allow_nan=False)


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed and renamed to `path`, on any error removed.

    Raises: OSError of the file system (full disk, read-only folder); `path` then stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with part.open("rb") as f:
            os.fsync(f.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


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
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(
            f"{path}: expected JSON, got something else ({e}); delete it and run the same command again"
        ) from e


def sha256_file(path: Path | str) -> str:
    """Hex sha256 of a file's bytes, read in 1 MiB pieces."""
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
