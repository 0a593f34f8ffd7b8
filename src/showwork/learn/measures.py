"""From graded generations to the measures that are compared: shares with intervals, means, losses.

*Takes* rows of generations as the evaluate stage keeps them (`GENERATION`). *Leaves* nested plain numbers, in total and by
source. No files, no timing: equal generations give equal numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from showwork.foundation.files import canonical
from showwork.learn.statistics import wilson

TASKS: dict[str, tuple[str, ...]] = {
    "greedy": ("max_new_tokens", "answer_match_max_characters"),
    "sampled": ("max_new_tokens", "answer_match_max_characters", "temperature"),
    "direct": ("direct_prompt", "answer_match_max_characters"),
    "gold": (),
}
"""The settings below `evaluate` that each task's number depends on, beside what they all depend on."""

GENERATION = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("source", pa.string()),
        ("mode", pa.string()),
        ("question", pa.large_string()),
        ("gold_answer", pa.large_string()),
        ("completion", pa.large_string()),
        ("trace", pa.large_string()),
        ("answer", pa.large_string()),
        ("reason", pa.string()),
        ("well_formed", pa.bool_()),
        ("graded", pa.float64()),
        ("correct", pa.bool_()),
        ("looping", pa.bool_()),
        ("truncated", pa.bool_()),
        ("answer_copied", pa.bool_()),
        ("language_switched", pa.bool_()),
        ("stop_reason", pa.string()),
        ("num_tokens", pa.int32()),
        ("gold_loss", pa.float64()),
        ("gold_tokens", pa.int32()),
        ("stop_probability", pa.float64()),
    ]
)
"""One completion of one prompt. `mode`: greedy | sampled | direct. `reason` is the parser's (empty: well formed). `correct` is
null where the gold answer is long. The last three belong to the gold completion and stand in the greedy rows: summed loss in
nats, tokens (0 where it does not fit a packed row), probability of stopping at its end."""


def task_version(task: str, settings: Mapping[str, Any], prompts: str, code: str) -> str:
    """12 hex digits that change whenever the same model could get another number.

    With the code of the evaluation, the template, the prompts and the task's own settings. Numbers of different
    versions are not to be compared.

    Args:
        settings: the slice of the configuration that the evaluation sees.
        prompts: digest of the questions asked.
        code: `code_version` of the evaluation.
    """
    how = settings["evaluate"]
    depends = {
        "code": code,
        "prompts": prompts,
        "dtype": settings["dtype"],
        "template": settings["template"],
        "seed": settings["seed"] if task == "sampled" else None,
        **{key: how[key] for key in TASKS[task]},
    }
    return hashlib.sha256(canonical(depends).encode()).hexdigest()[:12]


ANSWERED = pa.schema([*GENERATION, ("gold_answers", pa.list_(pa.large_string())), ("tags", pa.list_(pa.string()))])
"""One completion of one of the user's own questions: `source` is the name of their file, `gold_answers` all its references,
`gold_answer` the first or nothing. Nothing is known of a gold trace, so that nothing is scored."""

WRITTEN = ("well_formed", "looping", "truncated", "answer_copied", "language_switched")
"""Columns of which the share of completions is a measure."""


def measures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"num_prompts", "total", "by_source"} of the rows of one model; a task that was not asked is absent."""
    sources = sorted({row["source"] for row in rows})
    return {
        "num_prompts": len({row["prompt_id"] for row in rows}),
        "total": _block(rows),
        "by_source": {source: _block([row for row in rows if row["source"] == source]) for source in sources},
    }


def measures_of_questions(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{file: {"num_prompts", "total", "by_source"}} of `ANSWERED` rows; by_source is by tag, a question may have several."""
    found = {}
    for name in sorted({row["source"] for row in rows}):
        mine = [row for row in rows if row["source"] == name]
        tags = sorted({tag for row in mine for tag in row["tags"]})
        found[name] = {
            "num_prompts": len({row["prompt_id"] for row in mine}),
            "total": _block(mine),
            "by_source": {tag: _block([row for row in mine if tag in row["tags"]]) for tag in tags},
        }
    return found


def _block(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    by_mode = {mode: [row for row in rows if row["mode"] == mode] for mode in ("greedy", "sampled", "direct")}
    block: dict[str, Any] = {"num_prompts": len({row["prompt_id"] for row in rows})}
    for mode in ("greedy", "sampled"):
        if by_mode[mode]:
            block[mode] = _written(by_mode[mode])
    if by_mode["direct"]:
        block["direct"] = {"accuracy": _share(by_mode["direct"], "correct"), **_lengths(by_mode["direct"])}
    if any(row["gold_tokens"] is not None for row in by_mode["greedy"]):
        block["gold"] = _gold(by_mode["greedy"])
    return block


def _written(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{name: _share(rows, name) for name in WRITTEN},
        "accuracy": _share(rows, "correct"),
        "graded": _mean([row["graded"] for row in rows]),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        **_lengths(rows),
    }


def _gold(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    scored = [row for row in rows if row["gold_tokens"]]
    tokens = sum(row["gold_tokens"] for row in scored)
    probabilities = [row["stop_probability"] for row in scored]
    above = wilson(sum(p > 0.5 for p in probabilities), len(probabilities))
    return {
        "loss": round(sum(row["gold_loss"] for row in scored) / tokens, 6) if tokens else None,
        "tokens": tokens,
        "num_scored": len(scored),
        "num_too_long": len(rows) - len(scored),
        "stop_probability": _mean(probabilities),
        "stop_above_half": _rounded(above),
    }


def _share(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    known = [row[name] for row in rows if row[name] is not None]
    return _rounded(wilson(sum(known), len(known)))


def _rounded(share: Any) -> dict[str, Any]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in dataclasses.asdict(share).items()}


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 6) if len(values) else None


def _lengths(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    lengths = sorted(row["num_tokens"] for row in rows)
    percentiles = {f"p{p}": lengths[(len(lengths) - 1) * p // 100] for p in (10, 50, 90, 100)}
    return {"tokens": _mean(lengths), "token_percentiles": percentiles}
