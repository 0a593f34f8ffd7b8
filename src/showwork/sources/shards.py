"""Rows of parquet shards from their footers alone, and which shards hold a slice.

Takes:  shards on the hub (two ranged reads of a few kilobytes each) or on disk.
Leaves: row counts; the shards that hold rows start..stop, and how many rows lie before them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from showwork.sources.hub import Hub, RemoteFile, Repo, receive
from showwork.sources.patience import Patience, Retryable

TAIL_BYTES = 64 << 10
WIDEST_WINDOW = 8


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of a slice, their row counts, and the 0-based row of the first one's first row."""

    names: list[str]
    rows: dict[str, int]
    first_row: int


def covering(
    names: Sequence[str], start: int, stop: int, count: Callable[[Sequence[str]], dict[str, int]], *, owner: str
) -> Shards:
    """The shards that hold rows start..stop (1-based, inclusive). `count` is asked for windows that double, from one on.

    Raises: ValueError with the count when the shards end before `stop`.
    """
    rows: dict[str, int] = {}
    total, at, window = 0, 0, 1
    kept: list[str] = []
    first_row = 0
    while total < stop and at < len(names):
        for name, number in count(names[at : at + window]).items():
            if total < stop and total + number >= start and number:
                first_row = first_row if kept else total
                kept.append(name)
                rows[name] = number
            total += number
        at, window = at + window, min(window * 2, WIDEST_WINDOW)
    if total < stop:
        raise ValueError(f"{owner}: has {total:,} rows but the slice stops at {stop:,}; lower stop to {total} or less")
    return Shards(kept, rows, first_row)


def local_rows(path: Path, *, owner: str) -> int:
    """Rows of a shard on disk. Raises: ValueError when it is no whole parquet file."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise  # of the file system and not of the file's content
        raise ValueError(
            f"{owner}: {path.name} is no whole parquet file ({str(e).splitlines()[0].rstrip('.')}); it is cut off or of "
            f"another layout, fetch or replace it"
        ) from e


def remote_rows(
    hub: Hub, repo: Repo, commit: str, files: Sequence[RemoteFile], patience: Patience, say: Callable[[str], None]
) -> dict[str, int]:
    """Rows of shards on the hub, by ranged reads of their footers."""

    def of(file: RemoteFile) -> int:
        what = f"{repo}, footer of {file.path!r}"
        tail = patience.insist(what, lambda: _tail(hub, repo, commit, file, TAIL_BYTES), say)
        (length,) = struct.unpack("<I", tail[-8:-4].rjust(4, b"\0"))
        if tail[-4:] != b"PAR1" or length + 8 > file.bytes:
            raise ValueError(f"{repo}: {file.path!r} is no whole parquet file (no footer); correct files or layout")
        if length + 8 > len(tail):
            tail = patience.insist(what, lambda: _tail(hub, repo, commit, file, length + 8), say)
        try:
            return int(pq.read_metadata(pa.BufferReader(tail)).num_rows)
        except (pa.ArrowInvalid, OSError) as e:
            raise ValueError(
                f"{repo}: {file.path!r} has a damaged parquet footer ({e}); correct files or layout"
            ) from e

    with ThreadPoolExecutor(WIDEST_WINDOW) as pool:
        return dict(zip((f.path for f in files), pool.map(of, files), strict=True))


def _tail(hub: Hub, repo: Repo, commit: str, file: RemoteFile, count: int) -> bytes:
    count = min(count, file.bytes)
    span = f"bytes={file.bytes - count}-{file.bytes - 1}"
    tail = b""
    with hub.open(hub.url(repo, commit, file.path), repo, revision=commit, path=file.path, span=span) as answer:
        while data := receive(answer, 1 << 18):
            tail = (tail + data)[-count:]  # a server that ignores Range sends the whole file
    if len(tail) < count:
        raise Retryable(f"{len(tail)} of {count} bytes arrived")
    return tail
