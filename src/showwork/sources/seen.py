"""Which digests were seen, in 13 bytes each: what tells equal rows apart when millions are taken whole.

Takes:  digests of 16 bytes, many at a time.
Leaves: whether one is among them. A dict of the same digests takes ten times as much memory.

Ten thousand rows need none of it; it begins with the first digests that are added. 104 bits of each digest are held, so two rows of ten
million are taken for equal with a probability of 3e-18.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BUCKETS = 256
"""By the first byte of a digest. Each is kept in order by itself, so that adding copies a small part at a time."""
FEWEST_BITS, MOST_BITS = 20, 27
MARKS_A_DIGEST = 14
"""Marks answer for nearly every digest that was not seen: they grow with the set so that no more than a fourteenth of them are set,
up to 16 MB at ten million."""


class Seen:
    """A set of digests (16 bytes of a cryptographic hash) that only grows.

    >>> seen = Seen()
    >>> seen.add([bytes(16), bytes([7] * 16)])
    >>> bytes([7] * 16) in seen, bytes([8] * 16) in seen
    (True, False)
    """

    def __init__(self) -> None:
        self._marks, self._bits = bytearray(), 0
        self._high = [np.empty(0, np.uint64)] * BUCKETS
        self._low = [np.empty(0, np.uint32)] * BUCKETS

    def add(self, digests: Sequence[bytes]) -> None:
        """Take digests that are not in it yet, each once."""
        if not digests:
            return
        table = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)
        bucket, high, low = table[:, 0], _numbers(table[:, 1:9], ">u8"), _numbers(table[:, 9:13], ">u4")
        order = np.lexsort((high, bucket))
        bucket, high, low = bucket[order], high[order], low[order].astype(np.uint32)
        ends = np.searchsorted(bucket, np.arange(BUCKETS + 1))
        for i in range(BUCKETS):
            own = slice(ends[i], ends[i + 1])
            at = np.searchsorted(self._high[i], high[own])
            self._high[i] = np.insert(self._high[i], at, high[own])
            self._low[i] = np.insert(self._low[i], at, low[own])
        bits = (sum(map(len, self._high)) * MARKS_A_DIGEST).bit_length()
        bits = max(FEWEST_BITS, min(MOST_BITS, bits))
        if bits > self._bits:
            self._marks, self._bits = bytearray(1 << bits - 3), bits
            for held in self._high:
                self._mark(held)
        else:
            self._mark(high)

    def _mark(self, high: np.ndarray) -> None:
        places = high >> np.uint64(64 - self._bits)
        bits = np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
        np.bitwise_or.at(np.frombuffer(self._marks, np.uint8), places >> np.uint64(3), bits)

    def __contains__(self, digest: bytes) -> bool:
        if not self._marks:
            return False
        place = int.from_bytes(digest[1:9], "big") >> (64 - self._bits)
        if not self._marks[place >> 3] >> (place & 7) & 1:
            return False
        held, wanted = self._high[digest[0]], np.uint64(int.from_bytes(digest[1:9], "big"))
        first, last = np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
        return int.from_bytes(digest[9:13], "big") in self._low[digest[0]][first:last]


def _numbers(columns: np.ndarray, kind: str) -> np.ndarray:
    """[n, width] bytes as [n] numbers, the first byte the highest."""
    return np.ascontiguousarray(columns).view(kind).ravel().astype(np.uint64)
