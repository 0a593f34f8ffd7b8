"""Lets another model grade what the base or a session wrote to the held-out questions, by a rubric. Off by default.

*Takes*  results/evaluate/<base or session>/manifest.json; an OpenAI-compatible endpoint; for a session, what the judge said of
         the base. The key is read from the environment.
*Leaves* results/judge/<base or session>/: scores.parquet (each reply with its scores), metrics.json (means, paired differences
         from the base, tokens and cost), manifest.json. Replies are kept in work/judge, so that no answer is paid for twice and
         a judge that goes down loses nothing: the same command goes on.

    python -m showwork.judge --settings JSON --evaluation results/evaluate/session1/manifest.json --base results/judge/base/manifest.json
        --work work/judge --scores S --metrics M --manifest OUT
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from showwork.foundation.files import write_json
from showwork.foundation.manifest import read_checked, write_manifest
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import read_rows, write_table
from showwork.judging.endpoint import Judge
from showwork.judging.rubric import RUBRIC, messages, scores
from showwork.learn.statistics import paired_bootstrap
from showwork.sources.patience import Stopped

SCORED = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("source", pa.string()),
        *[(name, pa.int32()) for name in RUBRIC],
        ("why", pa.large_string()),
        ("problem", pa.string()),
        ("reply", pa.large_string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
    ]
)
"""What a judge said of one completion. Scores are null, and `problem` says why, where its reply could not be read."""

Settings = dict[str, Any]
Row = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--evaluation", type=Path, required=True, help="manifest of the model's evaluation")
    parser.add_argument(
        "--base", type=Path, help="manifest of what the judge said of the base; none for the base itself"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps replies; not an output")
    parser.add_argument("--scores", type=Path, required=True, help="parquet to write: every reply")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write: means, differences, cost")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Have the greedy completions of the first `prompts` questions graded.

    Raises:
        ValueError: the endpoint refuses or stays down; too few replies can be read.
    """
    how = settings["judge"]
    asked = [
        row
        for batch in read_rows(read_checked(args.evaluation, "generations"))
        for row in batch.to_pylist()
        if row["mode"] == "greedy"
    ][: how["prompts"]]
    judge = Judge(how["url"], how["model"], how["max_tokens"], how["key_variable"], args.work, say)

    def one(row: Row) -> Row:
        try:
            return judge.ask(messages(row["question"], row["gold_answer"], row["completion"]), scores)
        except ValueError:
            judge.patience.stop.set()  # here, so that this thread does not begin another request
            raise

    said: list[Row] = []
    with ThreadPoolExecutor(how["at_once"]) as pool:
        replies = [pool.submit(one, row) for row in asked]
        try:
            for reply in replies:
                said.append(reply.result())
                say.progress(len(said), len(asked), "completions judged")
        except (ValueError, Stopped):
            pool.shutdown(cancel_futures=True)
            errors = [reply.exception() for reply in replies if not reply.cancelled()]
            raise next(error for error in errors if isinstance(error, ValueError)) from None
    rows = [scored_row(row, reply) for row, reply in zip(asked, said, strict=True)]
    unread = [row for row in rows if row["problem"]]
    if len(unread) > (1 - how["min_kept"]) * len(rows):
        raise ValueError(
            f"judge {how['model']!r}: {len(unread):,} of {len(rows):,} replies cannot be read, the first because "
            f"{unread[0]['problem']}; judge.min_kept is {how['min_kept']:g}. Take a model that follows the form, or lower it"
        )
    sink = write_table(args.scores, SCORED, [rows])
    found = measures(rows, how) | {"name": settings["name"], "model": how["model"]}
    if args.base:
        base = [row for batch in read_rows(read_checked(args.base, "scores")) for row in batch.to_pylist()]
        found["against_base"] = differences(base, rows)
    write_json(args.metrics, found)
    inputs = {"evaluation": args.evaluation, **({"base": args.base} if args.base else {})}
    write_manifest(
        args.manifest, stage="judge", name=settings["name"], settings=settings, inputs=inputs,
        files={"scores": args.scores, "metrics": args.metrics},
        counts={"judged": len(rows) - len(unread), "unread": len(unread)}, digest=sink.digest,
    )  # fmt: skip
    fresh = sum(not reply["cached"] for reply in said)
    means = ", ".join(f"{name} {found['means'][name]}" for name in RUBRIC)
    cost = "" if found["cost"] is None else f", cost {found['cost']:.4f}"
    say(f"{means}; {len(unread)} unread; {fresh} asked now, {len(said) - fresh} kept from before{cost}")


def scored_row(row: Row, said: Row) -> Row:
    """One line of scores.parquet."""
    found = said["scores"] or {**dict.fromkeys(RUBRIC), "why": ""}
    kept = {key: said[key] for key in ("problem", "reply", "input_tokens", "output_tokens")}
    return {"prompt_id": row["prompt_id"], "source": row["source"], **found, **kept}


def measures(rows: Sequence[Row], how: Settings) -> dict[str, Any]:
    """Means of the replies that could be read, tokens of all, and what they cost where the prices are known."""
    tokens = {key: sum(row[key] for row in rows) for key in ("input_tokens", "output_tokens")}
    prices = how["price_per_million_input_tokens"], how["price_per_million_output_tokens"]
    known = [row for row in rows if not row["problem"]]
    paid = None if None in prices else sum(n * p / 1e6 for n, p in zip(tokens.values(), prices, strict=True))
    return {
        "num_judged": len(known),
        "num_unread": len(rows) - len(known),
        "means": {name: round(sum(r[name] for r in known) / len(known), 6) if known else None for name in RUBRIC},
        **tokens,
        "cost": None if paid is None else round(paid, 6),
    }


def differences(before: Sequence[Row], after: Sequence[Row]) -> dict[str, Any]:
    """{criterion: after minus before with its interval} over the questions where both replies could be read."""
    base = {row["prompt_id"]: row for row in before if not row["problem"]}
    pairs = [(base[row["prompt_id"]], row) for row in after if not row["problem"] and row["prompt_id"] in base]
    found = {}
    for name in RUBRIC if pairs else ():
        change = paired_bootstrap([x[name] for x, _ in pairs], [y[name] for _, y in pairs], seed=0)
        found[name] = dataclasses.asdict(change)
    return found


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
