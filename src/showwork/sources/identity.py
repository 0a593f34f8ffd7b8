"""Names rows by their own content: the same id in any file order, sharding or thread count.

>>> ids = RowIds()
>>> ids.of({"prompt": "a", "response": None}) == ids.of({"response": None, "prompt": "a"})  # second occurrence
False

Source of the method: bottom-k sampling by hash (Cohen and Kaplan, 2007), which is order-independent and mergeable; Steele,
Lea and Flood 2014 for splitmix64.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import xxhash

from showwork.sources.seen import Seen

_NULL = b"\xff" * 8
_LENGTH = struct.Struct("<Q")


def canonical(columns: Mapping[str, str | None]) -> bytes:
    """Length-prefixed names and values in sorted order of the names; None is distinct from every text."""
    parts: list[bytes] = []
    for name in sorted(columns):
        key = name.encode()
        value = columns[name]
        parts += (_LENGTH.pack(len(key)), key)
        if value is None:
            parts.append(_NULL)
        else:
            data = value.encode()
            parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)


def row_digest(columns: Mapping[str, str | None]) -> bytes:
    """16 bytes: the first half of sha256 of the canonical columns; processors have sha256 in hardware."""
    return hashlib.sha256(canonical(columns)).digest()[:16]


def row_digests(table: pa.RecordBatch) -> list[bytes]:
    """`row_digest` of every row of a table of large_string columns, from the columns' own memory."""
    columns = []
    for name in sorted(table.schema.names):
        key = name.encode()
        column = table.column(name)
        _, offsets, data = column.buffers()
        ends = memoryview(offsets).cast("q")[column.offset : column.offset + len(column) + 1].tolist()
        nulls = column.is_null().to_pylist() if column.null_count else None
        columns.append((_LENGTH.pack(len(key)) + key, ends, memoryview(data or b""), nulls))
    digests = []
    for i in range(table.num_rows):
        parts: list[bytes | memoryview] = []
        for key, ends, data, nulls in columns:
            if nulls and nulls[i]:
                parts += (key, _NULL)
            else:
                parts += (key, _LENGTH.pack(ends[i + 1] - ends[i]), data[ends[i] : ends[i + 1]])
        digests.append(hashlib.sha256(b"".join(parts)).digest()[:16])
    return digests


LATELY = 1 << 16
"""Digests that are held as they are; older ones are packed (sources/seen.py)."""


class RowIds:
    """Gives row ids, counting the occurrences of equal rows it has named.

    Digests seen once are packed after a while; those of rows that repeat stay, each with its count.
    """

    def __init__(self, lately: int = LATELY) -> None:
        self._counts: dict[bytes, int] = {}
        self._older, self._lately, self._room = Seen(), lately, lately

    def of(self, row: Mapping[str, str | None]) -> str:
        """The id (32 hex) of a row of columns, or of a bad row by its raw text: pass ``{"raw": bad.raw}``."""
        return self.of_digest(row_digest(row))

    def of_digest(self, digest: bytes) -> str:
        """The id (32 hex) of the next row with this 16-byte digest."""
        occurrence = self._counts.get(digest)
        if occurrence is None:
            occurrence = int(digest in self._older)
        self._counts[digest] = occurrence + 1
        if len(self._counts) > self._room:
            self._older.add([d for d, count in self._counts.items() if count == 1])
            self._counts = {d: count for d, count in self._counts.items() if count > 1}
            self._room = len(self._counts) + self._lately
        return hashlib.blake2b(digest + _LENGTH.pack(occurrence), digest_size=16).hexdigest()


content_hash = xxhash.xxh3_64_intdigest
"""64-bit hash of a row's content (bytes), for drawing only; identity is row_digest."""


def draw_keys(hashes: np.ndarray, seed: int) -> np.ndarray:
    """uint64[n] content hashes -> uint64[n] keys, uniform and independent between seeds (splitmix64's finalizer)."""
    salt = int.from_bytes(hashlib.blake2b(f"draw {seed}".encode(), digest_size=8).digest(), "little")
    z = hashes.astype(np.uint64, copy=True)
    z ^= np.uint64(salt)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z
