"""Draws n rows that pass, uniformly without replacement, in one pass over rows that come in any order.

Takes:  candidates (a row and its key, a hash of seed and content) and a judge.
Leaves: the n passing rows of lowest key, in key order, and the rows below the last of them that did not pass.

That is a walk through all rows in hash order that stops at the nth row that passes, but made in one pass: rows wait in a
buffer and are judged from the lowest key upwards only when the buffer is full, and each time the nth passing key becomes the
limit above which rows need not be offered any more. The result does not depend on when that happens, on the order of the
rows, nor on how they are cut into files; a larger n keeps all rows of a smaller one. Rows above the limit are `not_reached`.

With a cap the walk passes over a row whose group (a value of a column) has its `at_most` rows already, without judging it:
these are `over_cap`. More rows only fill groups sooner, so a row that was over the cap stays so, and nothing of it is kept.

Source: bottom-k sampling (Cohen and Kaplan, 2007); ours judges lazily.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from showwork.records.parse import Rejected

ALL = 1 << 300
"""A limit above every key, uniform or weighted."""


@dataclass(slots=True)
class Entry:
    """A row in the buffer. `passed` is None until it is judged; a row that failed keeps its reason and not its texts."""

    key: int
    source_row: int
    row: Any
    group: Hashable = None
    digest: bytes = b""
    passed: bool | None = None
    why: Rejected | None = None
    row_id: str = ""


@dataclass
class BottomN:
    """The draw. Offer every candidate whose key is below `below()`, then call `finish`.

    `judge` gives None (keep) or Rejected for each row of a batch; `digest` a row's 16 bytes, which order rows of equal key;
    `size` its bytes, `keep` what to keep of a row that failed. `limit` is a key below which n rows are expected to pass: if fewer
    do, draw again without it. `patience` is how many times n rows wait before they are judged: more means fewer are judged in vain.
    `group` and `at_most` are the cap.
    """

    n: int
    judge: Callable[[Sequence[Any]], Sequence[Rejected | None]]
    digest: Callable[[Any], bytes]
    size: Callable[[Any], int]
    keep: Callable[[Any], Any] = lambda row: None
    patience: int = 4
    wait_bytes: int = 192 << 20
    limit: int = ALL
    group: Callable[[Any], Hashable] = lambda row: None
    at_most: int | None = None
    offered: int = 0
    _entries: list[Entry] = field(default_factory=list)
    _over: list[int] = field(default_factory=list)
    _waiting: int = 0
    _waiting_bytes: int = 0

    def below(self) -> int:
        """Keys from here on cannot be drawn any more."""
        return self.limit

    def offer(self, key: int, source_row: int, row: Any) -> None:
        """Take one candidate into account."""
        self.offered += 1
        if key >= self.limit:
            return
        self._entries.append(Entry(key, source_row, row, self.group(row)))
        self._waiting += 1
        self._waiting_bytes += self.size(row)
        if self._waiting > self.patience * self.n + 256 or self._waiting_bytes > self.wait_bytes:
            self._settle()

    def finish(self) -> tuple[list[Entry], list[Entry]]:
        """(rows drawn, rows looked at and dropped), both in key order. Fewer than n are drawn when no more pass."""
        self._settle()
        return [e for e in self._entries if e.passed], [e for e in self._entries if not e.passed]

    @property
    def over_cap(self) -> int:
        """How many rows were passed over because their group was full; final after `finish`."""
        return len(self._over)

    def _settle(self) -> None:
        """Judge from the lowest key until n have passed; forget all above the nth, and what is over the cap."""
        self._sort()
        passed, at = 0, 0
        taken: Counter[Hashable] = Counter()
        walked: list[Entry] = []
        while at < len(self._entries) and passed < self.n:
            ahead = self._entries[at : at + max(32, min(1000, self.n - passed))]
            self._judge([e for e in ahead if e.passed is None and not self._full(taken, e)])
            for entry in ahead:
                at += 1
                if self._full(taken, entry):
                    self._over.append(entry.key)
                    continue
                walked.append(entry)
                if entry.passed:
                    passed += 1
                    taken[entry.group] += 1
                    if passed == self.n:
                        break
        self._entries = walked
        if passed == self.n:
            # A row of the same key, if it comes later, may go before the last one by its digest: hence + 1.
            self.limit = walked[-1].key + 1
            self._over = [key for key in self._over if key < self.limit]
        self._waiting = self._waiting_bytes = 0

    def _full(self, taken: Counter[Hashable], entry: Entry) -> bool:
        return self.at_most is not None and taken[entry.group] >= self.at_most

    def _judge(self, entries: list[Entry]) -> None:
        for entry, why in zip(entries, self.judge([e.row for e in entries]), strict=True):
            entry.digest = entry.digest or self.digest(entry.row)
            entry.passed, entry.why = why is None, why
            if why is not None:
                entry.row = self.keep(entry.row)

    def _sort(self) -> None:
        """By key, rows of equal key by digest; digests are made only where they are needed."""
        self._entries.sort(key=lambda e: e.key)
        for before, entry in zip(self._entries, self._entries[1:], strict=False):
            if before.key == entry.key:
                for e in (before, entry):
                    e.digest = e.digest or self.digest(e.row)
        self._entries.sort(key=lambda e: (e.key, e.digest))
