"""Judges the rows of a sample, a batch at a time, and remembers what became of them.

Takes:  batches in a source's own columns with row_id and source_row.
Leaves: for each the records and the rejected rows, in order; counts that add up, also over several tallies of one sample.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from showwork.foundation.schema import RECORD, REJECTED
from showwork.records.formats import Texts
from showwork.records.ids import question_id, record_id
from showwork.records.judge import Judge
from showwork.records.lengths import percentiles
from showwork.records.parse import Rejected
from showwork.records.prose import not_prose

OWN = ("row_id", "source_row")
TEXTS = ("question", "trace", "answer")
COUNTERS = ("rejected", "neutralized", "recovered", "prose")


class Tally:
    """Judges batches; `measured` is the share of records that are shown to the prose filter."""

    def __init__(self, source: str, judge: Judge, measured: float) -> None:
        self.source, self.judge = source, judge
        self._measured = f"{min(int(measured * 2**32), 2**32 - 1):08x}"
        self.kept = 0
        self.counters = {name: Counter[str]() for name in COUNTERS}
        self.lengths: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were rejected, by reason."""
        return self.counters["rejected"]

    def add(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """(records, rejected rows) of one batch, in order."""
        own = [c for c in batch.schema.names if c not in OWN]
        read = own if "where" in self.judge.filters else self.judge.columns
        lists = [batch.column(c).to_pylist() for c in read]
        verdicts = self.judge([dict(zip(read, values, strict=True)) for values in zip(*lists, strict=True)])
        row_ids, source_rows = batch.column("row_id").to_pylist(), batch.column("source_row").to_pylist()
        good: list[list[Any]] = [[] for _ in RECORD]
        bad: list[list[Any]] = [[] for _ in REJECTED]
        for i, found in enumerate(verdicts):
            values: tuple[Any, ...]
            if isinstance(found, Rejected):
                raw = json.dumps(batch.select(own).slice(i, 1).to_pylist()[0], ensure_ascii=False)
                into, values = bad, (self.source, source_rows[i], row_ids[i], found.reason, found.detail, raw)
                self.reasons[found.reason] += 1
            else:
                name = record_id(found.question, found.trace, found.answer)
                into = good
                values = (name, question_id(found.question), self.source, source_rows[i], row_ids[i], *found[:3])
                self._note(name, found)
            for column, value in zip(into, values, strict=True):
                column.append(value)
        self.kept += len(good[0])
        return _batch(good, RECORD), _batch(bad, REJECTED)

    def _note(self, name: str, found: Texts) -> None:
        for text in TEXTS:
            self.lengths[text].append(len(getattr(found, text)))
        if found.neutralized:
            self.counters["neutralized"].update(found.neutralized)
        if found.recovered:
            self.counters["recovered"].update(found.recovered)
        if name[:8] < self._measured:
            verdict = not_prose(*found[:3])
            self.counters["prose"]["measured"] += 1
            self.counters["prose"][verdict.split()[0] if verdict else "prose"] += 1

    def state(self) -> dict[str, Any]:
        """All that was counted, to be merged into another tally of the same sample."""
        lengths = {name: values.tobytes() for name, values in self.lengths.items()}
        return {"kept": self.kept, "counters": self.counters, "lengths": lengths}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add what another tally counted; the order does not matter."""
        self.kept += state["kept"]
        for name, counter in state["counters"].items():
            self.counters[name].update(counter)
        for name, values in state["lengths"].items():
            self.lengths[name].frombytes(values)

    def counts(self, kept: int, lost: int) -> dict[str, Any]:
        """The counts of the manifest. Raises ArithmeticError when rows were lost on the way."""
        rejected = sum(self.reasons.values())
        if kept != self.kept or lost != rejected:
            raise ArithmeticError(f"{self.kept} records judged, {kept} written; {rejected} rejected, {lost} written")
        counted = {name: dict(sorted(counter.items())) for name, counter in self.counters.items()}
        return {"rows": kept + lost, "records": kept, **counted}

    def characters(self) -> dict[str, dict[str, int]]:
        """Percentiles of the lengths of question, trace and answer."""
        return {name: percentiles(np.frombuffer(values, np.int64)) for name, values in sorted(self.lengths.items())}


def _batch(columns: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
