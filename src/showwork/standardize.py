"""Turns the rows of a sample into records: question, trace, answer, or a typed reason why a row is none.

Takes:  results/sample/<sample>.parquet in the source's own columns; the source's format and filters.
Leaves: results/standardize/<sample>.parquet (records), <sample>.rejected.parquet (every other row, whole, with its reason) and a
        manifest. Rows in = records + rejected. Control tokens and our own tags inside the texts are made harmless and counted.

    python -m showwork.standardize --settings JSON --sample results/sample/x.json --records results/standardize/x.parquet
        --rejected results/standardize/x.rejected.parquet --manifest results/standardize/x.json

Rows that a sample drew among those that pass the same format and filters are parsed again but not filtered again. Where the
prose filter is off, what it would have dropped is measured on about a thousand records, those of lowest id.
"""

from __future__ import annotations

import argparse
import json
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.overlap import Behind, ahead
from showwork.foundation.schema import RECORD, REJECTED
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import ParquetSink, read_rows
from showwork.records.formats import Texts
from showwork.records.guard import listed, require
from showwork.records.ids import question_id, record_id
from showwork.records.judge import Judge
from showwork.records.lengths import percentiles
from showwork.records.parse import Rejected
from showwork.records.prose import not_prose

OWN = ("row_id", "source_row")
BATCH_ROWS = 250
"""Rows judged at a time: more is no faster and holds more texts in memory."""
MEASURED = 1000
"""Records, about, on which the prose filter is measured."""
Settings = dict[str, Any]
Write = Callable[..., None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--sample", type=Path, required=True, help="manifest of the sample")
    parser.add_argument("--records", type=Path, required=True, help="parquet to write: the records")
    parser.add_argument("--rejected", type=Path, required=True, help="parquet to write: the rows that became none")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Judge every row; write records and rejected rows; fail when too few are left."""
    sample = read_manifest(args.sample)
    source = settings["source"]
    drawn = sample["settings"]["method"] in {"random", "reservoir"} and all(
        sample["settings"].get(key) == settings.get(key) for key in ("format", "columns", "filters")
    )
    judge = Judge(source, settings["format"], settings.get("columns"), {} if drawn else settings["filters"])
    rows = read_checked(args.sample, "rows")
    missing = [c for c in judge.columns if c not in sample["columns"]]
    if missing:
        raise ValueError(
            f"standardize {settings['name']!r}: source {source!r} has no column {missing[0]!r}, which its format reads; it has "
            f"{', '.join(sample['columns'])}; say in sources.{source}.columns which of these it is"
        )
    total, done = sample["counts"]["taken"], 0
    measured = 0.0 if settings["filters"].get("prose") else MEASURED / max(total, MEASURED)
    tally = Tally(source, judge, measured)
    with (
        ParquetSink(args.records, RECORD) as records,
        ParquetSink(args.rejected, REJECTED) as rejected,
        Behind(depth=2) as later,
    ):
        for batch in ahead(read_rows(rows, batch_rows=BATCH_ROWS), depth=2):
            good, bad = tally.add(batch)
            later(records.write, good)
            later(rejected.write, bad)
            done += batch.num_rows
            say.progress(done, total, "rows")
        later(_enough, settings, tally)
    counts = tally.counts(records.rows, rejected.rows)
    write_manifest(
        args.manifest,
        stage="standardize",
        name=settings["name"],
        settings=settings,
        inputs={"sample": args.sample},
        files={"records": records.file, "rejected": rejected.file},
        counts=counts,
        digest=records.digest,
        characters={name: percentiles(lengths) for name, lengths in sorted(tally.lengths.items())},
        sample={"counts": sample["counts"], **{k: sample["settings"][k] for k in ("method", "n", "start", "stop")}},
        origin=sample["origin"],
    )
    mended = counts["neutralized"] or counts["recovered"]
    say(
        f"{records.rows:,} records of {done:,} rows; rejected: {listed(counts['rejected']) or 'none'}"
        + (f"; made harmless: {listed(counts['neutralized'])}" if counts["neutralized"] else "")
        + (f"; mended: {listed(counts['recovered'])}" if mended and counts["recovered"] else "")
    )


def _enough(settings: Settings, tally: Tally) -> None:
    """Fail before anything gets its final name when too little is left."""
    kept, lost = tally.kept, sum(tally.reasons.values())
    who = f"standardize {settings['name']!r}: source {settings['source']!r}"
    require(settings["min_kept"], who=who, looked_at=kept + lost, kept=kept, reasons=tally.reasons, what="Rejected")
    if not kept:
        raise ValueError(
            f"{who}: none of {lost:,} rows became a record. Rejected: {listed(tally.reasons)}. "
            "Check the source's format and columns."
        )


class Tally:
    """Judges batches and remembers what became of them; `measured` is the share of records shown to the prose filter."""

    def __init__(self, source: str, judge: Judge, measured: float) -> None:
        self.source, self.judge = source, judge
        self._measured = f"{min(int(measured * 2**32), 2**32 - 1):08x}"
        self.kept = 0
        self.reasons: Counter[str] = Counter()
        self.neutralized: Counter[str] = Counter()
        self.recovered: Counter[str] = Counter()
        self.prose: Counter[str] = Counter()
        self.lengths: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))

    def add(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[dict[str, Any]]]:
        """(records, rejected rows) of one batch, in order."""
        own = [c for c in batch.schema.names if c not in OWN]
        read = own if "where" in self.judge.filters else self.judge.columns
        lists = [batch.column(c).to_pylist() for c in read]
        verdicts = self.judge([dict(zip(read, values, strict=True)) for values in zip(*lists, strict=True)])
        row_ids, source_rows = batch.column("row_id").to_pylist(), batch.column("source_row").to_pylist()
        good: list[list[Any]] = [[] for _ in RECORD]
        bad = []
        for i, found in enumerate(verdicts):
            if isinstance(found, Rejected):
                raw = batch.select(own).slice(i, 1).to_pylist()[0]
                bad.append(
                    {
                        "source": self.source, "source_row": source_rows[i], "row_id": row_ids[i], "reason": found.reason,
                        "detail": found.detail, "raw": json.dumps(raw, ensure_ascii=False),
                    }
                )  # fmt: skip
                self.reasons[found.reason] += 1
                continue
            name = record_id(found.question, found.trace, found.answer)
            values = (name, question_id(found.question), self.source, source_rows[i], row_ids[i], *found[:3])
            for column, value in zip(good, values, strict=True):
                column.append(value)
            self._note(name, found)
        self.kept += len(good[0])
        return pa.RecordBatch.from_arrays(
            [pa.array(c, f.type) for c, f in zip(good, RECORD, strict=True)], schema=RECORD
        ), bad

    def _note(self, name: str, found: Texts) -> None:
        for text in ("question", "trace", "answer"):
            self.lengths[text].append(len(getattr(found, text)))
        if found.neutralized:
            self.neutralized.update(found.neutralized)
        if found.recovered:
            self.recovered.update(found.recovered)
        if name[:8] < self._measured:
            verdict = not_prose(*found[:3])
            self.prose["measured"] += 1
            self.prose[verdict.split()[0] if verdict else "prose"] += 1

    def counts(self, kept: int, lost: int) -> dict[str, Any]:
        """The counts of the manifest. Raises ArithmeticError when rows were lost on the way."""
        if kept != self.kept or lost != sum(self.reasons.values()):
            raise ArithmeticError(
                f"{self.kept} records judged, {kept} written; {sum(self.reasons.values())} rejected, {lost} written"
            )
        return {
            "rows": kept + lost,
            "records": kept,
            "rejected": dict(sorted(self.reasons.items())),
            "neutralized": dict(sorted(self.neutralized.items())),
            "recovered": dict(sorted(self.recovered.items())),
            "prose": dict(sorted(self.prose.items())),
        }


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
