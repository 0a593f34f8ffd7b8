"""Draws a sample from a source: random and reservoir, by hash, among the rows that pass the source's format and filters.

Takes:  a source, the sample's settings.
Leaves: the rows drawn, the rows looked at and left out, how many a cap passed over; the draw itself is records/selection.py.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from showwork.records.formats import Texts
from showwork.records.guard import grouped, listed, require
from showwork.records.judge import Judge
from showwork.records.parse import Rejected
from showwork.records.selection import ALL, BottomN, Entry
from showwork.records.weights import Weights
from showwork.sources.identity import RowIds, row_digest
from showwork.sources.layouts import Bad, Row, Source

Settings = Mapping[str, Any]
Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Drawn:
    """The rows drawn and those left out, in the order of the draw, with their row ids; `over_cap` rows were passed over."""

    taken: list[Entry]
    left_out: list[Entry]
    over_cap: int

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were left out, by reason."""
        return Counter(entry.why.reason for entry in self.left_out if entry.why)


def draw(source: Source, settings: Settings, progress: Progress) -> Drawn:
    """The `n` rows of the sample.

    Raises: ValueError when a column is not there, when too few rows pass for `min_kept`, or fewer than n.
    """
    judge = Judge(source.name, settings["format"], settings["columns"], settings["filters"])
    _columns_are_there(source, judge, settings)
    weights = Weights(settings["weights"], f"sample {settings['name']!r}") if settings["weights"] else None
    capped = settings["per_task"]
    for limit in dict.fromkeys((ALL if weights or capped else _likely_limit(source, settings, judge), ALL)):
        chosen = BottomN(
            settings["n"],
            judge=lambda batch: _reasons(judge, batch),
            digest=lambda row: row_digest(_content(row)),
            size=lambda row: sum(len(v) for v in _content(row).values() if v),
            keep=lambda row: row.raw if isinstance(row, Bad) else None,
            limit=limit,
            patience=4 if judge.filters else 1,
            group=(lambda row: None if isinstance(row, Bad) else row[capped["column"]]) if capped else lambda row: None,
            at_most=capped["at_most"] if capped else None,
        )
        _offer_all(source, settings["seed"], weights, chosen, progress)
        taken, left_out = chosen.finish()
        if len(taken) == settings["n"]:
            break
    drawn = Drawn(taken, left_out, chosen.over_cap)
    _enough(source, settings, drawn)
    ids = RowIds()
    for entry in sorted([*taken, *left_out], key=lambda e: (e.key, e.digest, e.source_row)):
        entry.row_id = ids.of_digest(entry.digest)
    return drawn


def _offer_all(source: Source, seed: int, weights: Weights | None, chosen: BottomN, progress: Progress) -> None:
    rows = source.estimated_rows() or 0
    below = (lambda: weights.uniform(chosen.below())) if weights else chosen.below
    for candidate in source.candidates(seed, below):
        key: int | None = candidate.key
        if weights:
            key = weights.key(candidate.key, None if isinstance(candidate.row, Bad) else candidate.row)
        if key is not None:
            chosen.offer(key, candidate.source_row, candidate.row)
        progress(candidate.source_row - source.first_row, rows, "rows")


def _columns_are_there(source: Source, judge: Judge, settings: Settings) -> None:
    place = f"sources.{source.name}.columns"
    named = [(column, "which its format reads", place) for column in judge.columns]
    for key in ("weights", "per_task"):
        if settings[key]:
            named.append((settings[key]["column"], f"which {key} names", f"samples.{settings['name']}.{key}.column"))
    for column, why, where in named:
        if column not in source.columns:
            raise ValueError(
                f"source {source.name!r}: no column {column!r}, {why}; it has {', '.join(source.columns)}; say in {where} "
                "which of these it is"
            )


def _likely_limit(source: Source, settings: Settings, judge: Judge) -> int:
    """A key below which n rows pass, if the whole source is as a few looks into it: it spares decoding most of the others.

    The share that passes is taken four standard errors lower than seen, as the windows differ. If it was too high even so the
    draw is made again without it; the rows drawn do not depend on it.
    """
    rows, least = source.estimated_rows() or 0, settings["min_kept"] or 0.5
    passing = [1 - sum(why is not None for why in _reasons(judge, window)) / len(window) for window in source.glance()]
    if len(passing) > 15:
        error = statistics.stdev(passing) / len(passing) ** 0.5
        least = max(least, statistics.fmean(passing) - 4 * error - 0.01)
    needed = settings["n"] / least
    share = 1.05 * (needed + 6 * needed**0.5 + 20) / max(rows, 1)
    return ALL if share >= 1 else int(share * 2**64)


def _enough(source: Source, settings: Settings, drawn: Drawn) -> None:
    """Raise ValueError when too few rows pass."""
    reasons, taken, n = drawn.reasons, len(drawn.taken), settings["n"]
    who, looked_at = f"sample {settings['name']!r}: source {source.name!r}", taken + len(drawn.left_out)
    require(settings["min_kept"], who=who, looked_at=looked_at, kept=taken, reasons=reasons, what="Dropped")
    if taken < n:
        relax = f", or relax: {_relax(reasons)}" if reasons else ""
        most = ""
        if capped := settings["per_task"]:
            most = f", at most {capped['at_most']:,} for each {capped['column']},"
            relax = f", raise per_task.at_most ({drawn.over_cap:,} rows were over it){relax}"
        raise ValueError(
            f"{who} has {taken:,} rows that pass its filters{most} but n is {n:,}. Lower n to {taken:,}{relax}."
        )


def _relax(reasons: Counter[str]) -> str:
    """`language dropped 51,003, well_formed 12,470`."""
    name, _, rest = listed(grouped(reasons)).partition(" ")
    return f"{name} dropped {rest}"


def _reasons(judge: Judge, batch: Sequence[Row]) -> list[Rejected | None]:
    """For each row None when it passes, else why not; a row that cannot be read has its reader's reason."""
    verdicts: Iterator[Texts | Rejected] = iter(judge([row for row in batch if not isinstance(row, Bad)]))
    found = [Rejected(row.reason, row.detail) if isinstance(row, Bad) else next(verdicts) for row in batch]
    return [v if isinstance(v, Rejected) else None for v in found]


def _content(row: Row) -> dict[str, str | None]:
    return {"raw": row.raw} if isinstance(row, Bad) else row
