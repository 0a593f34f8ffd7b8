"""What every reader gives: rows by name, bad rows by reason, slices, batches and candidates.

Takes:  a reader's rows, in file order.
Leaves: the interface that `showwork.sources.layouts` describes; readers override what their layout can do faster.
"""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from showwork.sources.digests import check_unchanged
from showwork.sources.identity import canonical, content_hash, draw_keys, row_digests

BATCH_ROWS = 1000
BATCH_BYTES = 4 << 20
DETAIL_CHARACTERS = 200
WINDOWS = 64
WINDOW_BYTES = 64 << 10
GLANCE_ROWS = 8

Columns = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be read: a typed reason, the value that failed, and its whole text so that nothing is lost."""

    reason: str
    detail: str
    raw: str


Row = Columns | Bad


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row whose draw key is low enough to be looked at."""

    key: int
    source_row: int
    row: Row


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows: the good ones as a table with their indexes and digests, the bad ones apart."""

    first_row: int
    table: pa.RecordBatch
    source_rows: Sequence[int]
    digests: Sequence[bytes]
    bad: Sequence[tuple[int, Bad]]


def bad(reason: str, detail: str, raw: bytes | str) -> Bad:
    """A Bad row with its detail cut to 200 characters and its bytes made readable."""
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    text = text.encode("utf-8", "backslashreplace").decode()
    return Bad(reason, detail.encode("utf-8", "backslashreplace").decode()[:DETAIL_CHARACTERS], text)


def as_text(value: Any) -> str | None:
    """A value as a cell: text and null as they are, everything else as one line of JSON with sorted keys."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def missing_column(name: str, wanted: Sequence[str], found: Sequence[str], where: Path | str) -> None:
    """Raise the sentence for columns that are not there, if there are any.

    Raises: ValueError.
    """
    missing = [c for c in wanted if c not in found]
    if missing:
        listed = ", ".join(found) or "none"
        raise ValueError(
            f"source {name!r}: {where} has no column {missing[0]!r}; it has: {listed}; "
            f"name one of these in the source's columns"
        )


class Source(ABC):
    """One source's files behind one reader. `columns` and `num_rows` as the package describes them."""

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self.name = name
        self.files = list(files)
        self.columns: tuple[str, ...] = ()
        self.num_rows: int | None = None
        self.first_row = 0
        self.entries: Sequence[Mapping[str, Any]] | None = None

    @abstractmethod
    def _read(self) -> Iterator[Row]:
        """All rows in order."""

    def rows(self) -> Iterator[tuple[int, Row]]:
        """All rows with their 0-based index. Raises ValueError when there is none."""
        count = 0
        for row in self._read():
            yield self.first_row + count, row
            count += 1
        self._ended(count)

    def check(self) -> None:
        """Compare every file with its entry in the manifest of its download, after it has been read.

        Raises: ValueError when it is not the file that was downloaded.
        """
        for file, entry in zip(self.files, self.entries or (), strict=self.entries is not None):
            if not self._checked(file):
                check_unchanged(file, entry, self._seen(file))

    def _checked(self, file: Path) -> bool:
        """Whether all that was read of a file has been checked already."""
        return False

    def _seen(self, file: Path) -> str | None:
        """xxh3-128 of a file, when reading it made that."""
        return None

    def slice(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Rows start..stop, 1-based and inclusive. Raises ValueError when the source ends before `stop`."""
        begin, end = self._span(start, stop)
        seen = 0
        for seen, row in enumerate(itertools.islice(self._read(), end), 1):
            if seen > begin:
                yield self.first_row + seen - 1, row
        if seen < end:
            self._ended(seen)
            self._too_short(stop)

    def batches(self, start: int | None = None, stop: int | None = None) -> Iterator[Batch]:
        """Rows start..stop (all by default) as tables of at most 1,000 rows."""
        start = self.first_row + 1 if start is None else start
        whole = stop is None and start == self.first_row + 1
        rows = self.rows() if whole else self.slice(start, self._last() if stop is None else stop)
        pending: list[tuple[int, Row]] = []
        size = 0
        for item in rows:
            pending.append(item)
            size += len(item[1].raw) if isinstance(item[1], Bad) else sum(len(v) for v in item[1].values() if v)
            if len(pending) == BATCH_ROWS or size > BATCH_BYTES:
                yield self._batch(pending)
                pending, size = [], 0
        if pending:
            yield self._batch(pending)

    def candidates(self, seed: int, below: Callable[[], int]) -> Iterator[Candidate]:
        """Rows whose key is below the limit; see the package's docstring."""
        rows = self.rows()
        while block := list(itertools.islice(rows, BATCH_ROWS)):
            contents = (row.raw.encode() if isinstance(row, Bad) else canonical(row) for _, row in block)
            keys = draw_keys(np.fromiter((content_hash(c) for c in contents), np.uint64, len(block)), seed)
            for i in chosen(keys, below()):
                yield Candidate(int(keys[i]), *block[i])

    def estimated_rows(self) -> int | None:
        """About how many rows there are, within a few per cent, from a few looks into the files; None when unknown."""
        return self.num_rows

    def glance(self) -> Iterator[list[Row]]:
        """A few rows from each of a few places spread evenly over the files; nothing where the layout has no such looks."""
        return iter(())

    def _batch(self, pending: Sequence[tuple[int, Row]]) -> Batch:
        good = [(i, row) for i, row in pending if not isinstance(row, Bad)]
        arrays = [pa.array([row[c] for _, row in good], pa.large_string()) for c in self.columns]
        table = pa.RecordBatch.from_arrays(arrays, names=list(self.columns))
        wrong = [(i, r) for i, r in pending if isinstance(r, Bad)]
        return Batch(pending[0][0], table, [i for i, _ in good], row_digests(table), wrong)

    def _last(self) -> int:
        """The 1-based number of the last row; may read the whole source once."""
        if self.num_rows is None:
            self._ended(sum(1 for _ in self._read()))
        return self.first_row + (self.num_rows or 0)

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """Rows start..stop of the source as begin..end-1 of these files."""
        if not self.first_row < start <= stop:
            raise ValueError(
                f"source {self.name!r}: rows {start} to {stop} are no slice of files that begin with row "
                f"{self.first_row + 1}; start there or later, stop not before"
            )
        return start - 1 - self.first_row, stop - self.first_row

    def _ended(self, count: int) -> None:
        if count == 0:
            raise ValueError(
                f"source {self.name!r}: {self._listed()} hold no rows; at least one is wanted, check the source's files"
            )
        self.num_rows = count

    def _too_short(self, stop: int) -> None:
        last = self._last()
        raise ValueError(
            f"source {self.name!r}: has {last:,} rows but the slice stops at {stop:,}; lower stop to {last} or less"
        )

    def _listed(self) -> str:
        names = [f.name for f in self.files]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")


def windows(file: Path) -> Iterator[bytes]:
    """Some pieces of a file, spread evenly over it."""
    size = file.stat().st_size
    with file.open("rb", buffering=0) as f:
        for i in range(WINDOWS):
            f.seek(i * size // WINDOWS)
            yield f.read(min(WINDOW_BYTES, size // WINDOWS + 1))


def estimate(files: Sequence[Path], count: Callable[[bytes], int]) -> int:
    """Occurrences in all files together, from `count` on evenly spaced windows."""
    total = 0.0
    for file in files:
        found = [(len(data), count(data)) for data in windows(file)]
        total += file.stat().st_size * sum(n for _, n in found) / max(sum(size for size, _ in found), 1)
    return round(total)


def chosen(keys: np.ndarray, limit: int) -> list[int]:
    """Indexes of the keys below `limit`; 2**64 takes all.

    >>> chosen(np.array([5, 1, 9], np.uint64), 6)
    [0, 1]
    """
    if limit > 2**64 - 1:
        return list(range(len(keys)))
    return np.flatnonzero(keys < np.uint64(max(limit, 0))).tolist()
