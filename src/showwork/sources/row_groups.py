"""The bytes of single row groups of a parquet file: where they lie, what they hash to, and a file that shows only them.

Takes:  a parquet file and its footer.
Leaves: spans and xxh3-128 digests, by which a slice is checked without reading the rest of its shards.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from showwork.sources.digests import CHANGED

LARGEST_BYTES = 64 << 20
"""Row groups up to this size are held in memory while they are read; others are hashed first, then read."""


def span(footer: pq.FileMetaData, group: int) -> tuple[int, int]:
    """(offset, bytes) of a row group, from its first page to its last."""
    begin, end = 1 << 62, 0
    row_group = footer.row_group(group)
    for i in range(row_group.num_columns):
        column = row_group.column(i)
        start = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset:
            start = min(start, column.dictionary_page_offset)
        begin, end = min(begin, start), max(end, start + column.total_compressed_size)
    return begin, end - begin


def row_group_digests(path: Path) -> list[str]:
    """xxh3-128 of every row group, in hex."""
    footer = pq.read_metadata(path)
    with path.open("rb", buffering=0) as f:
        return [_digest(f, *span(footer, i)) for i in range(footer.num_row_groups)]


class RowGroupFile(io.RawIOBase):
    """A parquet file of which one row group at a time is loaded, checked, and served from memory."""

    def __init__(self, path: Path, digests: list[str] | None) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._path, self._digests = path, digests
        self._size = path.stat().st_size
        self._at = self._begin = 0
        self._held = memoryview(b"")

    def load(self, footer: pq.FileMetaData, group: int) -> None:
        """Make a row group ready. Raises: ValueError when its bytes are not those that were downloaded."""
        if self._digests is None:
            return
        self._begin, size = span(footer, group)
        if size <= LARGEST_BYTES:
            # Arrow's allocator gives large pieces back; the system's keeps them in the heap of each thread.
            self._held = memoryview(pa.allocate_buffer(size)).cast("B")
            self._file.seek(self._begin)
            filled = 0
            while count := self._file.readinto(self._held[filled:]):
                filled += count
            found = xxhash.xxh3_128_hexdigest(self._held[:filled])
        else:
            self._held = memoryview(b"")
            found = _digest(self._file, self._begin, size)
        if found != self._digests[group]:
            raise ValueError(
                f"{self._path}: row group {group} has xxh3_128 {found}, but {self._digests[group]} when it was downloaded; "
                f"{CHANGED}"
            )

    def read(self, size: int = -1) -> bytes | memoryview:
        """Bytes from memory where the loaded row group has them, not copied, else from the file."""
        size = self._size - self._at if size < 0 else size
        first = self._at - self._begin
        if first >= 0 and first + size <= len(self._held):
            data: bytes | memoryview = self._held[first : first + size]
        else:
            self._file.seek(self._at)
            data = self._file.read(size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file below."""
        self._file.close()
        super().close()


def _digest(file: BinaryIO | Any, begin: int, size: int) -> str:
    digest = xxhash.xxh3_128()
    file.seek(begin)
    while size and (data := file.read(min(size, 1 << 20))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()
