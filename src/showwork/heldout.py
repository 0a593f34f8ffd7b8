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
from pathlib import Path
from typing import Any

import pyarrow as pa

from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
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
    """Choose the prompts and write them."""
    share, wanted, seed = settings["share"], settings["prompts"], settings["seed"]
    found: dict[str, dict[str, Any]] = {}
    asked: set[str] = set()
    records = held = 0
    for manifest in args.records:
        for batch in read_rows(read_checked(manifest, "records")):
            questions = batch.column("question_id").to_pylist()
            mine = [i for i, q in enumerate(questions) if is_held_out(q, share)]
            records, held = records + len(questions), held + len(mine)
            asked.update(questions)
            for row in batch.take(pa.array(mine, pa.int64())).to_pylist():
                best = found.get(row["question_id"])
                if best is None or row["record_id"] < best["record_id"]:
                    found[row["question_id"]] = row
    if len(found) < wanted:
        enough = 1.2 * wanted * max(share / max(len(found), 1), 1 / max(len(asked), 1))
        raise ValueError(
            f"held_out: {len(found):,} questions of {len(asked):,} fall below the share {share:g} but prompts is {wanted:,}. "
            + (f"Lower held_out.prompts to {len(found):,}, or raise" if found else "Raise")
            + f" held_out.share to about {min(math.ceil(enough * 1000) / 1000, 0.5):g}."
        )
    chosen = [q for _, q in heapq.nsmallest(wanted, zip(order_keys(seed, list(found)).tolist(), found, strict=True))]
    rows = [{**{name: found[q][name] for name in PROMPT.names if name != "prompt_id"}, "prompt_id": q} for q in chosen]
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


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
