"""What the verdict and the judge said, as a sentence and as tables.

*Takes* results/verdict/<session>.json and the metrics of results/judge/. *Leaves* the sentence, tables of cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from showwork.judging.rubric import RUBRIC
from showwork.page.cells import cell, column, count, signed

KINDS = {"met": "good", "missed": "bad", "unclear": "caution"}
LABELS = {
    "well_formed": "well-formed answers", "gain_over_direct": "right answers, above the base asked directly",
    "looping": "looping answers", "loss_rise": "held-out loss, above the base's", "rejected": "source rows rejected",
}  # fmt: skip
FITS = {
    "grpo": "GRPO from this session", "more_epochs": "more epochs on the same rows", "quality_filter": "a stricter filter",
    "grpo_from_base": "GRPO from the base",
}  # fmt: skip


def sentence(verdict: Mapping[str, Any]) -> str:
    """The verdict in one sentence: underperforms or not, by which measures, and what fits."""
    name, missed = verdict["name"], verdict["missed"]
    unclear = [m["key"] for m in verdict["measures"] if m["found"] == "unclear"]
    if missed:
        fits = FITS.get(verdict["fallback"])
        tail = f"; what fits is {fits}" if fits else ""
        return f"{name} underperforms by {_listed(missed)}{tail}."
    rest = f"; not settled by its interval: {_listed(unclear)}" if unclear else ""
    return f"{name} does not underperform: no measure of {len(verdict['measures'])} is missed{rest}."


def _listed(keys: list[str]) -> str:
    return " and ".join(LABELS.get(key, key.replace("_", " ")) for key in keys)


def judged_section(verdict: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The sentence, the measures against their thresholds, the command to type; None without a verdict."""
    if verdict is None:
        return None
    rows = []
    for m in verdict["measures"]:
        label = LABELS.get(m["key"], m["key"].replace("_", " "))
        interval = f"{m['low']:.3f} to {m['high']:.3f}".replace("-", "\N{MINUS SIGN}")
        wanted = f"at {'least' if m['above'] else 'most'} {m['wanted']:g}"
        value = cell(f"{m['value']:.3f}".replace("-", "\N{MINUS SIGN}"), m["value"], interval)
        rows.append(
            [
                cell(label[0].upper() + label[1:]),
                value,
                cell(wanted, m["wanted"]),
                cell(m["found"], None, "", KINDS[m["found"]]),
            ]
        )
    return {
        "sentence": sentence(verdict),
        "columns": [column("Measure"), column("Value", number=True), column("Wanted", number=True), column("Found")],
        "rows": rows,
        "command": verdict["command"],
    }


def judge_section(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The judge's mean scores of each model and the paired differences from the base; None where nobody judged."""
    if not metrics:
        return None
    asked = next(iter(metrics.values()))["means"]  # JSON has it by the alphabet
    names = sorted(asked, key=lambda name: list(RUBRIC).index(name) if name in RUBRIC else len(RUBRIC))
    rows = []
    for model, found in metrics.items():
        row = [
            cell(model),
            cell(count(found["num_judged"]), found["num_judged"], f"{count(found['num_unread'])} unread"),
        ]
        for name in names:
            mean, change = found["means"][name], found.get("against_base", {}).get(name)
            clear = change and (change["low"] > 0 or change["high"] < 0)
            under = (
                f"{_signed(change['mean'])} ({_signed(change['low'])} to {_signed(change['high'])})" if change else ""
            )
            kind = ("good" if change["mean"] > 0 else "bad") if change and clear else ""
            row.append(cell("–") if mean is None else cell(f"{mean:.2f}", mean, under, kind))
        rows.append(row)
    costs = [found["cost"] for found in metrics.values()]
    paid = "" if None in costs else f" All of it cost {sum(costs):.2f}."
    return {
        "caption": f"Mean scores from 1 to 5 by {next(iter(metrics.values()))['model']}; underneath the difference from the base with "
        f"its 95 % interval (paired bootstrap).{paid}",
        "columns": [
            column("Model"),
            column("Judged", number=True),
            *(column(n.capitalize(), number=True) for n in names),
        ],
        "rows": rows,
    }


def _signed(number: float) -> str:
    return signed(number, ".2f")
