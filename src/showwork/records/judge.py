"""The judge: one verdict per row, by the source's condition, its format and its filters. Sampling and standardizing share it.

Takes:  rows of a source (dicts of text), what the source declares.
Leaves: Texts for a row that is kept, Rejected with a typed reason for one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from showwork.records.filters import Where, filters_of, verdict
from showwork.records.formats import Texts, format_of
from showwork.records.parse import Rejected, shown

Row = Mapping[str, str | None]


class Judge:
    """Judges batches of rows. `columns` are the source's columns that its format reads."""

    def __init__(
        self,
        source: str,
        declared: str | Mapping[str, Any],
        columns: Mapping[str, str] | None,
        filters: Mapping[str, Any] | None,
    ) -> None:
        filters = filters or {}
        self.format = format_of(declared, columns)
        self.columns = self.format.needs
        self._tests = filters_of(filters)
        self._condition = filters.get("where") or ""
        self._where = Where(self._condition, source) if self._condition else None

    @property
    def filters(self) -> list[str]:
        """The names of the filters that are on."""
        return [*(["where"] if self._where else []), *self._tests]

    def __call__(self, rows: Sequence[Row]) -> list[Texts | Rejected]:
        """A verdict for each row, in order."""
        if self._where is None:
            return [self._of(found) for found in self.format.texts_of(rows)]
        kept = self._where.keeps(rows)
        told = iter(self.format.texts_of([row for row, keep in zip(rows, kept, strict=True) if keep]))
        dropped = Rejected("where", shown(self._condition))
        return [self._of(next(told)) if keep else dropped for keep in kept]

    def _of(self, found: Texts | Rejected) -> Texts | Rejected:
        if isinstance(found, Rejected) or not self._tests:
            return found
        return verdict(found, self._tests) or found
