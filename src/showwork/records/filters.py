"""Filters: keep a row, or drop it with a reason. Declared per source, applied in one order, all of them counted.

Takes:  what a source declares, and the texts of its rows:

    filters: {language: en, loops: true, prose: true, length: {max_trace: 20000}, where: "type = 'CoT'"}

Leaves: None, or Rejected(reason, detail): the reason is the filter's name, the detail the value that failed.

The order is fixed (where, then the format, then length, loops, prose, language): cheap ones first, so that a row that fails
several gets the same reason whatever the order in the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from showwork.records.formats import Texts
from showwork.records.language import foreign
from showwork.records.loops import find_loop
from showwork.records.parse import Rejected, shown
from showwork.records.prose import not_prose

NAMES = ("where", "length", "loops", "prose", "language")
LENGTHS = tuple(f"{bound}_{text}" for text in ("question", "trace", "answer") for bound in ("min", "max"))

Test = Callable[[Texts], str | None]


def filters_of(declared: Mapping[str, Any]) -> dict[str, Test]:
    """{filter: function from texts to the value that failed, or None} in the order in which they apply, `where` apart.

    Raises: ValueError naming a filter or setting that there is not.
    """
    on = {name: value for name, value in declared.items() if value not in (None, False) and value != {}}
    for name in on:
        if name not in NAMES:
            raise ValueError(f"filter {name!r}: there is none of this name; the filters are {', '.join(NAMES)}")
    made: dict[str, Test] = {}
    if "length" in on:
        made["length"] = _length(on["length"])
    if "loops" in on:
        made["loops"] = lambda t: find_loop(t.trace) or find_loop(t.answer)
    if "prose" in on:
        made["prose"] = lambda t: not_prose(t.question, t.trace, t.answer)
    if "language" in on:
        if on["language"] != "en":
            raise ValueError(
                f"filter 'language': is {on['language']!r}, expected en, the one language it can tell; write en"
            )
        made["language"] = lambda t: foreign(t.question, t.trace, t.answer)
    return made


def verdict(texts: Texts, tests: Mapping[str, Test]) -> Rejected | None:
    """The first filter that drops a row, with the value that failed."""
    for name, test in tests.items():
        if (failed := test(texts)) is not None:
            return Rejected(name, shown(failed))
    return None


def _length(bounds: Mapping[str, int]) -> Test:
    for key in bounds:
        if key not in LENGTHS:
            raise ValueError(
                f"filter 'length': there is no bound {key!r}; the bounds are {', '.join(LENGTHS)} (characters)"
            )
    wanted = [(key[4:], key[:3], limit) for key, limit in bounds.items() if limit is not None]

    def test(texts: Texts) -> str | None:
        for text, bound, limit in sorted(wanted):
            size = len(getattr(texts, text))
            if (size < limit) if bound == "min" else (size > limit):
                return f"{text} has {size:,} characters, {bound} {limit:,}"
        return None

    return test


class Where:
    """An SQL condition over the source's own columns, run by duckdb on batches, cut off from files and network."""

    def __init__(self, condition: str, source: str) -> None:
        import duckdb

        self._condition, self._source, self._duckdb = condition, source, duckdb
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "enable_external_access": False,
            },
        )
        self._connection.execute("SET lock_configuration=true")

    def keeps(self, rows: Sequence[Mapping[str, str | None]]) -> list[bool]:
        """For each row whether the condition is true; unknown (null) is not true.

        Raises: ValueError for what duckdb refuses, for two statements, or a condition that is neither true nor false.
        """
        import pyarrow as pa

        if not rows:
            return []
        columns = list(rows[0])
        table = pa.table({c: pa.array([row[c] for row in rows], pa.string()) for c in columns})
        self._connection.register("source_rows", table)
        try:
            statements = self._connection.extract_statements(f"SELECT ({self._condition}) FROM source_rows")
            if len(statements) != 1:
                raise ValueError(f"filter 'where': {self._condition!r} is more than one statement; write one condition")
            found = self._connection.execute(statements[0]).fetchall()
        except self._duckdb.Error as e:
            said = " ".join(str(e).split("LINE 1")[0].split())
            raise ValueError(
                f"filter 'where': source {self._source!r} declares {self._condition!r} but duckdb says: {said}; "
                f"the columns are {', '.join(columns)} (all text), write a condition over them"
            ) from e
        finally:
            self._connection.unregister("source_rows")
        if len(found) != len(rows) or any(type(value) not in (bool, type(None)) for (value,) in found):
            raise ValueError(
                f"filter 'where': {self._condition!r} is no condition, it gave {found[0][0]!r}; write one that is true or false"
            )
        return [value is True for (value,) in found]
