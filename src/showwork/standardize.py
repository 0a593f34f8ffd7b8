"""Turns the rows of a sample into records: question, trace, answer, or a typed reason why a row is none.

Takes:  results/sample/<sample>.parquet in the source's own columns; the source's format and filters.
Leaves: results/standardize/<sample>.parquet (records), <sample>.rejected.parquet (every other row, whole, with its reason) and a
        manifest. Rows in = records + rejected. Control tokens and our own tags inside the texts are made harmless and counted.

    python -m showwork.standardize --settings JSON --sample results/sample/x.json --records results/standardize/x.parquet
        --rejected results/standardize/x.rejected.parquet --manifest results/standardize/x.json --threads 2

Rows that a sample drew among those that pass the same format and filters are parsed again but not filtered again. Where the
prose filter is off, what it would have dropped is measured on about a thousand records, those of lowest id. Large samples are
judged in as many processes as there are threads; the files are the same bytes at any number.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from showwork.foundation.crew import Crew, Made, Piece
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.overlap import Behind, ahead
from showwork.foundation.schema import RECORD, REJECTED
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import ParquetSink, read_rows
from showwork.records.guard import listed, require
from showwork.records.judge import Judge
from showwork.records.tally import Tally

BATCH_ROWS = 250
"""Rows judged at a time: more is no faster and holds more texts in memory."""
SEVERAL_BYTES = 24 << 20
"""Samples whose file is of this size or larger are judged in several processes; starting these takes as long as judging 5,000 rows."""
MEASURED = 1000
"""Records, about, on which the prose filter is measured."""
Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--sample", type=Path, required=True, help="manifest of the sample")
    parser.add_argument("--records", type=Path, required=True, help="parquet to write: the records")
    parser.add_argument("--rejected", type=Path, required=True, help="parquet to write: the rows that became none")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")
    parser.add_argument("--threads", type=int, default=1, help="processes that judge rows, at most")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Judge every row; write records and rejected rows; fail when too few are left.

    Raises: ValueError when a column that the format reads is not there, or fewer than `min_kept` are left.
    """
    sample = read_manifest(args.sample)
    filters = {} if _drawn(sample, settings) else settings["filters"]
    total, done = sample["counts"]["taken"], 0
    measured = 0.0 if settings["filters"].get("prose") else MEASURED / max(total, MEASURED)
    tally = _tally(settings, filters, measured)
    missing = [c for c in tally.judge.columns if c not in sample["columns"]]
    if missing:
        raise ValueError(
            f"standardize {settings['name']!r}: source {settings['source']!r} has no column {missing[0]!r}, which its format "
            f"reads; it has {', '.join(sample['columns'])}; say in sources.{settings['source']}.columns which of these it is"
        )
    file = sample["files"]["rows"]
    several = args.threads if file["bytes"] >= SEVERAL_BYTES else 1
    rows = args.sample.parent / file["name"]
    with (
        Crew(judged, several, rows=rows, settings=settings, filters=filters, measured=measured) as crew,
        ParquetSink(args.records, RECORD) as records,
        ParquetSink(args.rejected, REJECTED) as rejected,
        Behind(depth=1) as later,
    ):
        read_checked(
            args.sample, "rows"
        )  # while the other processes start; they open it when they are asked for a part
        for good, bad in crew.pieces(pq.read_metadata(rows).num_row_groups):
            later(records.write, good)
            later(rejected.write, bad)
            done += good.num_rows + bad.num_rows
            say.progress(done, total, "rows")
        for state in crew.told:
            tally.merge(state)
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
        characters=tally.characters(),
        sample={"counts": sample["counts"], **{k: sample["settings"][k] for k in ("method", "n", "start", "stop")}},
        origin=sample["origin"],
    )
    say(
        f"{records.rows:,} records of {done:,} rows; rejected: {listed(counts['rejected']) or 'none'}"
        + (f"; made harmless: {listed(counts['neutralized'])}" if counts["neutralized"] else "")
        + (f"; mended: {listed(counts['recovered'])}" if counts["recovered"] else "")
    )


def judged(*, rows: Path, settings: Settings, filters: Settings, measured: float) -> Made:
    """What makes the (records, rejected rows) of one row group; and what tells what was counted, at the end."""
    tally = _tally(settings, filters, measured)

    def piece(group: int) -> Piece:
        made = [tally.add(batch) for batch in ahead(read_rows(rows, batch_rows=BATCH_ROWS, row_groups=[group]), 1)]
        return [
            pa.Table.from_batches([pair[i] for pair in made], schema) for i, schema in enumerate((RECORD, REJECTED))
        ]

    return piece, tally.state


def _tally(settings: Settings, filters: Settings, measured: float) -> Tally:
    judge = Judge(settings["source"], settings["format"], settings.get("columns"), filters)
    return Tally(settings["source"], judge, measured)


def _drawn(sample: dict[str, Any], settings: Settings) -> bool:
    """Whether the rows were drawn among those that pass this very format and these filters."""
    return sample["settings"]["method"] in {"random", "reservoir"} and all(
        sample["settings"].get(key) == settings.get(key) for key in ("format", "columns", "filters")
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


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
