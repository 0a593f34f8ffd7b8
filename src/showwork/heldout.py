"""Chooses the held-out questions that the base and every session are asked.

Takes:  the records of all samples that may be asked about.
Leaves: results/heldout/prompts.parquet: N questions that no session trains on, each with its gold trace and answer.

    python -m showwork.heldout --settings JSON --records results/standardize/a.json results/standardize/b.json
        --prompts results/heldout/prompts.parquet --manifest results/heldout/prompts.json

A question is held out by its own hash alone (records/split.py), in every sample and session. Of the held-out questions the N of
lowest hash of seed and question are asked, each with the record of lowest id, so neither order nor sharding of samples matters.
"""

from __future__ import annotations

import argparse
import heapq
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.overlap import ahead
from showwork.foundation.schema import PROMPT
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import read_rows, write_table
from showwork.records.ids import order_keys
from showwork.records.split import is_held_out

Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--records", type=Path, nargs="+", required=True, help="manifests of standardized samples")
    parser.add_argument("--prompts", type=Path, required=True, help="parquet to write")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Choose the prompts and write them.

    Raises: ValueError when fewer questions than `prompts` fall below the share.
    """
    share, wanted, seed = settings["share"], settings["prompts"], settings["seed"]
    files = [read_checked(manifest, "records") for manifest in args.records]
    found: dict[str, str] = {}
    asked: set[str] = set()
    records = held = 0
    for file in files:
        for batch in read_rows(file, ["question_id", "record_id"], batch_rows=10_000):
            questions, ids = (column.to_pylist() for column in batch.columns)
            mine = [(q, r) for q, r in zip(questions, ids, strict=True) if is_held_out(q, share)]
            records, held = records + len(questions), held + len(mine)
            asked.update(questions)
            for question, record in mine:
                found[question] = min(found.get(question, record), record)
    if len(found) < wanted:
        enough = 1.2 * wanted * max(share / max(len(found), 1), 1 / max(len(asked), 1))
        raise ValueError(
            f"held_out: {len(found):,} questions of {len(asked):,} fall below the share {share:g} but prompts is {wanted:,}. "
            + (f"Lower held_out.prompts to {len(found):,}, or raise" if found else "Raise")
            + f" held_out.share to about {min(math.ceil(enough * 1000) / 1000, 0.5):g}."
        )
    chosen = [q for _, q in heapq.nsmallest(wanted, zip(order_keys(seed, list(found)).tolist(), found, strict=True))]
    told = _records({found[question] for question in chosen}, files)
    rows = [{**told[found[question]], "prompt_id": question} for question in chosen]
    sink = write_table(args.prompts, PROMPT, [rows])
    write_manifest(
        args.manifest,
        stage="heldout",
        name=settings["name"],
        settings=settings,
        inputs={read_manifest(m)["name"]: m for m in args.records},
        files={"prompts": sink.file},
        counts={
            "records": records,
            "questions": len(asked),
            "held_out_records": held,
            "held_out_questions": len(found),
            "prompts": len(rows),
            "by_source": dict(sorted(Counter(row["source"] for row in rows).items())),
        },
        digest=sink.digest,
    )
    say(f"{len(rows):,} prompts of {len(found):,} held-out questions ({len(asked):,} questions in all)")


def _records(wanted: set[str], files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """{record id: its columns} of the records wanted; only row groups that hold one are read."""
    columns = [name for name in PROMPT.names if name != "prompt_id"]
    told: dict[str, dict[str, Any]] = {}
    for file in files:
        groups = [
            number
            for number in range(pq.read_metadata(file).num_row_groups)
            for batch in read_rows(file, ["record_id"], batch_rows=10_000, row_groups=[number])
            if not wanted.isdisjoint(batch.column(0).to_pylist())
        ]
        for batch in ahead(read_rows(file, columns, row_groups=groups)):
            places = [i for i, name in enumerate(batch.column("record_id").to_pylist()) if name in wanted]
            for row in batch.take(pa.array(places, pa.int64())).to_pylist():
                told.setdefault(row["record_id"], row)
    return told


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
