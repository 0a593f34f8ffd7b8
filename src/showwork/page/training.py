"""The training section: curves, and the plan beside what happened.

*Takes* history.jsonl (the same on every run), timing.jsonl (what the clock said; may be absent), the plan and the train
manifest. *Leaves* a sentence, chart values, a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from showwork.page.cells import cell, column, count, percent, size
from showwork.page.charts import smoothed

MOST_POINTS = 600  # of a curve; more cannot be seen and would not fit the page
CURVES = (
    ("loss", "loss", "Loss", "per trained token, in nats; the strong line is a moving median."),
    ("learning_rate", "lr", "Learning rate", ""),
    ("grad_norm", "grad_norm", "Gradient norm", "before clipping; logarithmic."),
    ("tokens_per_s", "tokens_per_s", "Tokens per second", "by the clock of the machine that trained."),
    ("share_moved", "share_moved", "Share of adapter entries that moved", "from their start."),
)
REWARD_CURVES = (
    (
        "reward",
        "reward",
        "Reward",
        "of a batch's rollouts, all parts with their weights; the strong line is a moving median.",
    ),
    ("length", "length", "Length of rollouts", "in tokens."),
    ("kl", "kl", "Distance from the reference", "per token written, in nats (the k3 estimate)."),
    ("entropy", "entropy", "Entropy", "per token written, in nats."),
    ("same_reward_groups", "same_reward_groups", "Groups that teach nothing", "share whose rewards are all equal."),
    ("clip_share", "clip_share", "Tokens clipped", "share in the last update on a batch."),
    *CURVES[1:4],
)
"""Of a session that learns from rewards; its loss is near 0 by construction and says nothing."""


def curves_of(history: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, str, str], ...]:
    """What is drawn of a history: (name, field, title, text)."""
    return REWARD_CURVES if history and "reward" in history[0] else CURVES


def curves(
    history: Sequence[Mapping[str, Any]], timing: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """{curve: [{"step", value…}]}, thinned to MOST_POINTS; a curve without two points is left out."""
    lines: list[Mapping[str, Any]] = [*history]
    for line in timing:
        if line.get("seconds"):
            lines.append({"step": line["step"], "tokens_per_s": line["tokens"] / line["seconds"]})
    found = {}
    for name, field, _, _ in curves_of(history):
        points = [
            {"step": line["step"], name: line[field]} for line in lines if isinstance(line.get(field), int | float)
        ]
        if len(points) < 2:
            continue
        if name in ("loss", "reward"):
            medians = smoothed([p[name] for p in points])
            points = [p | {"smooth": m} for p, m in zip(points, medians, strict=True)]
        stride = -(-len(points) // MOST_POINTS)
        found[name] = [{k: v if k == "step" else float(f"{v:.5g}") for k, v in p.items()} for p in points[::stride]]
    return found


def training_section(
    history: Sequence[Mapping[str, Any]],
    timing: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    plan: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Sentence, table of plan beside fact, titles of the charts."""
    counts, chosen = manifest["counts"], manifest["settings"]["train"]
    seconds = sum(line["seconds"] for line in timing)
    last = history[-max(1, len(history) // 20) :]
    how = "all weights" if chosen["adapter"] is None else f"an adapter of rank {chosen['adapter']['rank']}"
    sentence = f"{count(counts['steps'])} steps trained {how} ({count(counts['parameters'])} parameters); {went(history, last)}"
    if budget := manifest.get("time_budget"):
        sentence += (
            f" {count(budget['steps'])} is the most that was measured to fit into {budget['time_budget']}, "
            f"{duration(budget['predicted_seconds'])} with checkpoints and an evaluation at its longest."
        )
    if counts.get("skipped"):
        sentence += f" {count(counts['skipped'])} steps were skipped because their loss or gradient was not finite."
    fact = {
        "steps": counts["steps"],
        "tokens": counts["tokens"],
        "loss_tokens": counts["loss_tokens"],
        "parameters": counts["parameters"],
        "seconds": seconds or None,
        "peak_bytes": max((line.get("peak_bytes", 0) for line in timing), default=0) or None,
    }
    caption, columns, rows = plan_beside_fact(None if plan is None else planned(plan), fact, chosen)
    return {
        "sentence": sentence,
        "charts": [(name, title, text) for name, _, title, text in curves_of(history)],
        "caption": caption,
        "columns": columns,
        "rows": rows,
    }


def went(history: Sequence[Mapping[str, Any]], last: Sequence[Mapping[str, Any]]) -> str:
    """Where the quantity that is trained for began and ended: the reward of rollouts, or the loss."""
    if not history:
        return "nothing was trained: the adapter is the one it started from."
    if "reward" in history[0]:
        fifth = max(1, len(history) // 5)  # a batch asks few questions, some of them harder than others
        ends = [sum(line["reward"] for line in part) / fifth for part in (history[:fifth], history[-fifth:])]
        return (
            f"the reward of its own rollouts went from {ends[0]:.3f}, the mean of the first {count(fifth)} batches, to "
            f"{ends[1]:.3f}, that of the last {count(fifth)}."
        )
    loss = sum(line["loss"] * line["loss_tokens"] for line in last) / max(1, sum(line["loss_tokens"] for line in last))
    return f"the loss went from {history[0]['loss']:.3f} to {loss:.3f}, the mean of the last {count(len(last))} steps."


def planned(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan's numbers for the whole session, under the names of the facts."""
    epochs = plan["epochs_seen"]
    return {
        "steps": plan["steps"],
        "tokens": round(plan["tokens"] * epochs),
        "loss_tokens": round(plan["loss_tokens"] * epochs),
        "parameters": plan["trained_parameters"],
        "seconds": plan["time"]["seconds"],
        "peak_bytes": plan["memory"]["total_bytes"],
    }


def plan_beside_fact(
    plan: Mapping[str, Any] | None, fact: Mapping[str, Any], chosen: Mapping[str, Any]
) -> tuple[str, list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Caption, columns and rows; a dash where one of the two is not known, and no plan's columns without a plan."""
    lines = (
        ("Optimizer steps", "steps", count),
        ("Tokens", "tokens", count),
        ("Trained tokens", "loss_tokens", count),
        ("Trained parameters", "parameters", count),
        ("Time", "seconds", duration),
        ("Peak memory (planned: the step alone)", "peak_bytes", size),
    )
    rows = []
    for label, key, write in lines:
        planned, found = (plan or {}).get(key), fact.get(key)
        ratio = found / planned if planned and found else None
        row = [cell(label), cell("–" if found is None else write(found), found)]
        if plan is not None:
            row.insert(1, cell("–" if planned is None else write(planned), planned))
            row.append(cell("–" if ratio is None else percent(ratio), ratio))
        rows.append(row)
    batch = f"{count(chosen['batch_size'] * chosen['gradient_accumulation'])} packed rows a step"
    if "grpo" in chosen:
        asked = chosen["grpo"]
        batch = f"{count(asked['prompts_per_batch'])} prompts x {count(asked['group_size'])} rollouts a batch"
    how = f"{chosen['schedule']} schedule from {chosen['learning_rate']:g}, {chosen['warmup_steps']} warm-up steps"
    what = "What happened" if plan is None else "The plan beside what happened"
    heads = ("Happened",) if plan is None else ("Planned", "Happened", "Of the plan")
    columns = [column("Quantity"), *(column(head, number=True) for head in heads)]
    return f"{what}; {batch}, {how}.", columns, rows


def duration(seconds: float) -> str:
    """`duration(3725)` -> '1 h 02 min'; `duration(75)` -> '1 min 15 s'; `duration(9.4)` -> '9.4 s'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
