"""JSON lines: one object a line, read as bytes, so that one bad line costs one row.

Takes:  files with one JSON object a line (LF or CRLF; a byte order mark and blank lines are passed over).
Leaves: rows; candidates are chosen by the hash of a line's bytes and only these are decoded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from showwork.sources.identity import content_hash, draw_keys
from showwork.sources.layouts.rows import (
    GLANCE_ROWS,
    Bad,
    Candidate,
    Row,
    Source,
    chosen,
    estimate,
    missing_column,
    windows,
)
from showwork.sources.layouts.strict_json import RowDecoder, parse

BLOCK_BYTES = 4 << 20
HEAD_ROWS = 200
_BOM = b"\xef\xbb\xbf"


class JsonLinesSource(Source):
    """Final. Columns not named are found in the first 200 rows; a later row with another is ``unknown_column``."""

    def __init__(self, name: str, files: Sequence[Path], columns: Sequence[str] | None) -> None:
        super().__init__(name, files)
        head = list(itertools.islice(self._lines(), HEAD_ROWS))
        found = [row for row in map(parse, head) if row and not isinstance(row, Bad)]
        if head and not found:
            raise ValueError(
                f"source {name!r}: none of the first {len(head)} lines of {self._listed()} is a JSON object that holds "
                f"anything; check its layout"
            )
        names = list(dict.fromkeys(key for row in found for key in row))
        self.columns = tuple(names if columns is None else columns)
        if found:
            missing_column(name, self.columns, names, self._listed())
        self._decode = RowDecoder(self.columns, only=columns is None)

    def _lines(self) -> Iterator[bytes]:
        for file in self.files:
            with file.open("rb", buffering=1 << 20) as f:
                if f.read(len(_BOM)) != _BOM:
                    f.seek(0)
                for line in f:
                    if stripped := line.strip():
                        yield stripped

    def _read(self) -> Iterator[Row]:
        return map(self._decode, self._lines())

    def candidates(self, seed: int, below: Callable[[], int]) -> Iterator[Candidate]:
        """Rows whose key is below the limit; the others are hashed and passed over."""
        first = 0
        for lines in self._blocks():
            keys = draw_keys(np.fromiter(map(content_hash, lines), np.uint64, len(lines)), seed)
            for i in chosen(keys, below()):
                yield Candidate(int(keys[i]), self.first_row + first + i, self._decode(lines[i]))
            first += len(lines)
        self._ended(first)

    def estimated_rows(self) -> int | None:
        """Line ends in a few windows, scaled up."""
        return self.num_rows or estimate(self.files, lambda data: data.count(b"\n"))

    def glance(self) -> Iterator[list[Row]]:
        """The first whole lines of each window."""
        for data in itertools.chain.from_iterable(map(windows, self.files)):
            lines = [line for line in data.split(b"\n")[1:-1] if line.strip()][:GLANCE_ROWS]
            if lines:
                yield [self._decode(line.strip()) for line in lines]

    def _blocks(self) -> Iterator[list[bytes]]:
        block: list[bytes] = []
        size = 0
        for line in self._lines():
            block.append(line)
            size += len(line)
            if size >= BLOCK_BYTES:
                yield block
                block, size = [], 0
        if block:
            yield block
