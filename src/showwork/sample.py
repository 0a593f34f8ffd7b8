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
from showwork.records.formats import Texts
from showwork.records.guard import grouped, listed, require
from showwork.records.judge import Judge
from showwork.records.parse import Rejected
from showwork.records.selection import ALL, BottomN, Entry
from showwork.sources.identity import RowIds, row_digest
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
    """Choose the rows, count them, write them."""
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
    """The reader of a download's files; its `check` is called before anything gets its final name."""
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
    judge = Judge(source.name, settings["format"], settings["columns"], settings["filters"])
    missing = [c for c in judge.columns if c not in source.columns]
    if missing:
        raise ValueError(
            f"source {source.name!r}: no column {missing[0]!r}, which its format reads; it has {', '.join(source.columns)}; "
            f"say in sources.{source.name}.columns which of these it is"
        )
    for limit in dict.fromkeys((_sure_to_do(source, settings), ALL)):
        draw = BottomN(
            settings["n"],
            judge=lambda batch: _reasons(judge, batch),
            digest=lambda row: row_digest(_content(row)),
            size=lambda row: sum(len(v) for v in _content(row).values() if v),
            keep=lambda row: row.raw if isinstance(row, Bad) else None,
            limit=limit,
            patience=4 if judge.filters else 1,
        )
        for candidate in source.candidates(settings["seed"], draw.below):
            draw.offer(candidate.key, candidate.source_row, candidate.row)
        taken, left_out = draw.finish()
        if len(taken) == settings["n"]:
            break
    in_source = source.num_rows or 0
    reasons = Counter(entry.why.reason for entry in left_out if entry.why)
    who, looked_at = f"sample {settings['name']!r}: source {source.name!r}", len(taken) + len(left_out)
    require(settings["min_kept"], who=who, looked_at=looked_at, kept=len(taken), reasons=reasons, what="Dropped")
    if len(taken) < settings["n"]:
        relax = f", or relax: {_relax(reasons)}" if reasons else ""
        raise ValueError(
            f"{who} has {len(taken):,} rows that pass its filters but n is {settings['n']:,}. Lower n to {len(taken):,}{relax}."
        )
    ids = RowIds()
    for entry in sorted([*taken, *left_out], key=lambda e: (e.key, e.digest, e.source_row)):
        entry.row_id = ids.of_digest(entry.digest)
    for batch in _batches(taken):
        rows.write([{**e.row, "row_id": e.row_id, "source_row": e.source_row} for e in batch])
    for batch in _batches(left_out):
        dropped.write([_dropped(source.name, e) for e in batch])
    return {
        "rows_in_reach": in_source,
        "looked_at": looked_at,
        "taken": len(taken),
        "dropped": dict(sorted(reasons.items())),
        "not_reached": in_source - looked_at,
    }


def _sure_to_do(source: Source, settings: Settings) -> int:
    """A key below which n rows pass, if as many do as min_kept demands: it spares decoding most of the others.

    If the estimate was too low the draw is made again without it; the rows drawn do not depend on it.
    """
    rows, needed = source.estimated_rows() or 0, settings["n"] / (settings["min_kept"] or 0.5)
    share = 1.2 * (needed + 6 * needed**0.5 + 20) / max(rows, 1)
    return ALL if share >= 1 else int(share * ALL)


def _relax(reasons: Counter[str]) -> str:
    """`language dropped 51,003, well_formed 12,470`."""
    name, _, rest = listed(grouped(reasons)).partition(" ")
    return f"{name} dropped {rest}"


def _reasons(judge: Judge, batch: Sequence[dict[str, str | None] | Bad]) -> list[Rejected | None]:
    """For each row None when it passes, else why not; a row that cannot be read has its reader's reason."""
    verdicts: Iterator[Texts | Rejected] = iter(judge([row for row in batch if not isinstance(row, Bad)]))
    found = [Rejected(row.reason, row.detail) if isinstance(row, Bad) else next(verdicts) for row in batch]
    return [v if isinstance(v, Rejected) else None for v in found]


def _content(row: dict[str, str | None] | Bad) -> dict[str, str | None]:
    return {"raw": row.raw} if isinstance(row, Bad) else row


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
