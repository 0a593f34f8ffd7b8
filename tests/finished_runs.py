"""Finished trainings to compare, and what a judge said of them: small, of the shape that the stages leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from finished_session import _evaluate, _train

from showwork.foundation.files import read_json, write_json
from showwork.foundation.manifest import write_manifest
from showwork.foundation.tables import write_table
from showwork.judge import SCORED, differences, measures, scored_row
from showwork.judging.rubric import RUBRIC

RUNS = ("rates_a", "rates_b")
HOW = {
    run: {"session": run, "values": {"learning_rate": rate, "seed": 1}}
    for run, rate in zip(RUNS, (1e-5, 2e-5), strict=True)
}
SWEEP = {"name": "rates", "session": "session1", "runs": HOW}
INDEX = {"name": "index", "base": "b", "sessions": dict.fromkeys(RUNS, "base"), "sweeps": {"rates": SWEEP}}
PRICES = {"price_per_million_input_tokens": 1.0, "price_per_million_output_tokens": 2.0}
"""Of the judge."""


def finish_runs(results: Path, num_prompts: int = 24) -> list[Path]:
    """Write the evaluations, trainings and verdicts of RUNS and of the base; their manifests."""
    found = [_evaluate(results / "evaluate" / name, name, name != "base", num_prompts) for name in ("base", *RUNS)]
    found += [_train(results / "train" / run, run, 10, Random(1)) for run in RUNS]
    found += [_verdict(results / f"verdict/{run}.json", run, ["looping"] * (run == "rates_b")) for run in RUNS]
    return found


def judge_models(results: Path, names: Sequence[str], num_prompts: int = 24) -> list[Path]:
    """Write what a judge said of each model, the base first: better by a point where it was trained. One reply is unread."""
    found: list[Path] = []
    before: list[dict[str, Any]] = []
    for name in names:
        random, folder = Random(7), results / "judge" / name
        rows = []
        for at in range(num_prompts):
            given = {mark: random.randint(1, 4) + (name != "base") for mark in RUBRIC}
            reply = {
                "scores": {**given, "why": "<b>because</b>"} if at else None,
                "problem": None if at else "no number",
            }
            said = {**reply, "reply": "…", "input_tokens": 500, "output_tokens": 60}
            rows.append(scored_row({"prompt_id": f"p{at}", "source": "raiden"}, said))
        told: dict[str, Any] = {"model": "a <judge>", **measures(rows, PRICES)}
        if name == "base":
            before = rows
        else:
            told["against_base"] = differences(before, rows)
        write_table(folder / "scores.parquet", SCORED, [rows])
        write_json(folder / "metrics.json", told)
        write_manifest(
            folder / "manifest.json", stage="judge", name=name, settings={}, inputs={},
            files={"scores": folder / "scores.parquet", "metrics": folder / "metrics.json"}, counts={"judged": num_prompts},
        )  # fmt: skip
        found.append(folder / "manifest.json")
    assert read_json(found[0].with_name("metrics.json"))["num_unread"] == 1
    return found


def _verdict(path: Path, name: str, missed: list[str]) -> Path:
    measure = {
        "key": "looping", "value": 0.1, "low": 0.05, "high": 0.2, "wanted": 0.02, "above": False,
        "found": "missed" if missed else "met",
    }  # fmt: skip
    write_manifest(
        path, stage="verdict", name=name, settings={}, inputs={}, files={}, counts={}, underperforms=bool(missed),
        measures=[measure], missed=missed, fallback="quality_filter" if missed else "none", because="", also=[], command=None,
    )  # fmt: skip
    return path
