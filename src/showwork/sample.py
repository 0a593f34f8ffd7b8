"""Chooses rows of one source: full, random, reservoir or first_n.

Takes:  the files that results/download/<sample>.json lists.
Leaves: results/sample/<sample>.parquet (the source's own columns, row_id, source_row), <sample>.dropped.parquet (the rows that
        were looked at and left out, each with its reason) and a manifest whose counts add up to the rows of the source.

    python -m showwork.sample --settings JSON --download results/download/x.json --rows results/sample/x.parquet
        --dropped results/sample/x.dropped.parquet --manifest results/sample/x.json

`full` and `first_n` (counted from 1, both ends included) take rows as they stand, in file order; a row that cannot be read is
dropped with its text. `random` and `reservoir` are one draw: uniform without replacement among the rows that pass the source's
format and filters, by hash of seed and content, in one pass; rows come out in the order of the draw, so the first rows of a
sample are the smaller sample. Rows above the last one drawn were never looked at: they are counted as `not_reached`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from showwork.foundation.manifest import read_manifest, write_manifest
from showwork.foundation.overlap import Behind
from showwork.foundation.schema import DROPPED
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import ParquetSink
from showwork.records.draw import draw
from showwork.records.guard import listed
from showwork.records.selection import Entry
from showwork.sources.identity import RowIds
from showwork.sources.layouts import Bad, Source, open_source

DROPPED_WITH_RAW = DROPPED.append(pa.field("raw", pa.large_string()))
"""`raw` is the text of a row that could not be read; other rows lie in the source, under their source_row."""

OWN = ("row_id", "source_row")
Settings = dict[str, Any]
Counts = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--download", type=Path, required=True, help="manifest of the source's files")
    parser.add_argument("--rows", type=Path, required=True, help="parquet to write: the rows taken")
    parser.add_argument("--dropped", type=Path, required=True, help="parquet to write: the rows left out")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Choose the rows, count them, write them.

    Raises: ValueError when the source has a column named as one that is added; else what its reader and filters raise.
    """
    download = read_manifest(args.download)
    source = open_blobs(download, settings)
    for name in set(OWN) & set(source.columns):
        raise ValueError(
            f"sample {settings['name']!r}: source {source.name!r} has a column {name!r} of its own, the name of one that is "
            "added here; rename it in the source"
        )
    schema = pa.schema(
        [*((c, pa.large_string()) for c in source.columns), ("row_id", pa.string()), ("source_row", pa.int64())]
    )
    take = _draw if settings["method"] in {"random", "reservoir"} else _as_they_stand
    with ParquetSink(args.rows, schema) as rows, ParquetSink(args.dropped, DROPPED_WITH_RAW) as dropped:
        counts = take(source, settings, rows, dropped, say)
        source.check()
    write_manifest(
        args.manifest,
        stage="sample",
        name=settings["name"],
        settings=settings,
        inputs={"download": args.download},
        files={"rows": rows.file, "dropped": dropped.file},
        counts=counts,
        digest=rows.digest,
        columns=list(source.columns),
        origin={"hub": download.get("hub"), "revision": download.get("revision")},
    )
    say(f"{counts['taken']:,} rows taken of {counts['rows_in_reach']:,}; {listed(counts['dropped']) or 'none'} dropped")


def open_blobs(download: dict[str, Any], settings: Settings) -> Source:
    """The reader of a download's files; its `check` is called before anything gets its final name.

    Raises: ValueError when a column that the source declares is not there; else as `layouts.read`.
    """
    held = [download["files"][name] for name in download.get("order") or sorted(download["files"])]
    source = open_source(
        settings["layout"],
        [Path(e["path"]) for e in held],
        name=settings["source"],
        first_row=download.get("first_row", 0),
        entries=held,
    )
    for role, column in (settings.get("columns") or {}).items():
        head = column.split(".")[0].split("[")[0]
        if head not in source.columns and column not in source.columns:
            raise ValueError(
                f"source {source.name!r}: no column {head!r}, which its columns name for {role!r}; it has "
                f"{', '.join(source.columns)}; correct sources.{source.name}.columns"
            )
    return source


def _as_they_stand(source: Source, settings: Settings, rows: ParquetSink, dropped: ParquetSink, say: Say) -> Counts:
    """full and first_n: every row of the slice, but for those that cannot be read."""
    start, stop = settings["start"], settings["stop"]
    ids, reasons, seen = RowIds(), Counter[str](), 0
    total = stop - start + 1 if stop else source.estimated_rows() or 0
    with Behind(depth=1) as later:
        for batch in source.batches(start, stop):
            table = batch.table
            names = [ids.of_digest(d) for d in batch.digests]
            columns = [*table.columns, pa.array(names), pa.array(list(batch.source_rows), pa.int64())]
            later(rows.write, pa.RecordBatch.from_arrays(columns, names=[*table.schema.names, *OWN]))
            later(dropped.write, [_unreadable(source.name, i, bad, ids) for i, bad in batch.bad])
            reasons.update(bad.reason for _, bad in batch.bad)
            seen += table.num_rows + len(batch.bad)
            say.progress(seen, total, "rows")
    return {
        "rows_in_reach": seen,
        "looked_at": seen,
        "taken": rows.rows,
        "dropped": dict(sorted(reasons.items())),
        "not_reached": 0,
    }


def _unreadable(source: str, source_row: int, bad: Bad, ids: RowIds) -> dict[str, Any]:
    return {
        "source": source, "source_row": source_row, "row_id": ids.of({"raw": bad.raw}), "reason": bad.reason,
        "detail": bad.detail, "raw": bad.raw,
    }  # fmt: skip


def _draw(source: Source, settings: Settings, rows: ParquetSink, dropped: ParquetSink, say: Say) -> Counts:
    """random and reservoir: n rows that pass, by hash."""
    drawn = draw(source, settings, say.progress)
    with Behind(depth=1) as later:
        for batch in _batches(drawn.taken):
            later(rows.write, [{**e.row, "row_id": e.row_id, "source_row": e.source_row} for e in batch])
        for batch in _batches(drawn.left_out):
            later(dropped.write, [_dropped(source.name, e) for e in batch])
    in_source, looked_at = source.num_rows or 0, len(drawn.taken) + len(drawn.left_out)
    return {
        "rows_in_reach": in_source,
        "looked_at": looked_at,
        "taken": len(drawn.taken),
        "dropped": dict(sorted(drawn.reasons.items())),
        **({"over_cap": drawn.over_cap} if settings["per_task"] else {}),
        "not_reached": in_source - looked_at - drawn.over_cap,
    }


def _dropped(source: str, entry: Entry) -> dict[str, Any]:
    assert entry.why is not None
    return {
        "source": source, "source_row": entry.source_row, "row_id": entry.row_id, "reason": entry.why.reason,
        "detail": entry.why.detail, "raw": entry.row,
    }  # fmt: skip


def _batches(entries: Sequence[Entry], size: int = 1000) -> Iterator[Sequence[Entry]]:
    yield from (entries[i : i + size] for i in range(0, len(entries), size))


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
