"""Many models side by side: one line each, with intervals, and the difference of each from the base.

*Takes* evaluations, the base's first, and what to write beside each name. *Leaves* tables of cells, values of charts, and the same
numbers as plain values. Nothing is read from files.
Source: Wilson's interval and the paired bootstrap of `showwork.learn.statistics`; 95 % throughout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from showwork.page.cells import cell, column, percent
from showwork.page.comparison import MEASURES, Evaluated, Measure, difference, difference_cell, measured, shown

KEYS = ("well_formed", "accuracy", "direct_accuracy", "loss", "stop_probability", "looping", "truncated", "tokens")
SHOWN = tuple(measure for key in KEYS for measure in MEASURES if measure.key == key)


def present(models: Sequence[Evaluated]) -> list[Measure]:
    """The measures of the table that any of the models has."""
    return [m for m in SHOWN if any(measured(e.metrics["total"], m) is not None for e in models)]


def leading(models: Sequence[Evaluated]) -> tuple[Measure, list[Evaluated]]:
    """The measure to rank by and the models, best first: right answers where they are measured, else the held-out loss."""
    by_key = {m.key: m for m in SHOWN}
    right = by_key["accuracy"]
    measure = right if all(_number(measured(e.metrics["total"], right)) is not None for e in models) else by_key["loss"]

    def rank(model: Evaluated) -> float:
        number = _number(measured(model.metrics["total"], measure))
        return float("inf") if number is None else -measure.better * number

    return measure, sorted(models, key=rank)


def sentence(base: Evaluated, models: Sequence[Evaluated], what: str) -> str:
    """Which of the models does best, and whether the second is shown to do worse."""
    measure, ranked = leading(models)
    best, before = ranked[0], _before(base, measure)
    said = f"{best.name} is best of {len(models)} {what} by {measure.label.lower()}: {_said(best, measure)}, {before}"
    if len(ranked) < 2:
        return f"{best.name}: {measure.label.lower()} {_said(best, measure)}, {before}."
    change = difference(ranked[1], best, measure)
    clear = change is not None and (change.low > 0 or change.high < 0)
    second = f"{ranked[1].name} ({_said(ranked[1], measure)})"
    return f"{said}; {second} is {'clearly worse' if clear else 'not shown to be worse'}."


def _before(base: Evaluated, measure: Measure) -> str:
    """The base's number: asked directly where that was measured, because it has no right answer in tags that it never writes."""
    direct = next(m for m in SHOWN if m.key == "direct_accuracy")
    if measure.key == "accuracy" and measured(base.metrics["total"], direct) is not None:
        return f"{base.name} asked directly {_said(base, direct)}"
    return f"{base.name} {_said(base, measure)}"


def _said(model: Evaluated, measure: Measure) -> str:
    number = _number(measured(model.metrics["total"], measure))
    return "–" if number is None else percent(number) if measure.kind == "share" else f"{number:.3f}"


def _number(value: Any) -> float | None:
    return value["share"] if isinstance(value, dict) else value


def tables(models: Sequence[Evaluated], about: Mapping[str, str]) -> dict[str, Any]:
    """Columns and rows of the measures, and of the differences from the first model.

    Args:
        about: {name: a smaller line beneath it}.
    """
    first, measures = models[0], present(models)
    rows, changes = [], []
    for model in models:
        name = cell(model.name, None, about.get(model.name, ""))
        rows.append([name, *(shown(measured(model.metrics["total"], m), m.kind) for m in measures)])
        if model is not first:
            changes.append([name, *(_change(first, model, m) for m in measures)])
    columns = [column("Model"), *(column(m.label, number=True) for m in measures)]
    return {"columns": columns, "rows": rows, "changes": changes, "first": first.name, "glossary": measures}


def _change(first: Evaluated, model: Evaluated, measure: Measure) -> dict[str, Any]:
    """The difference with its interval alone; the p-values are in the table's JSON."""
    found = difference_cell(difference(first, model, measure), measure)
    return found | {"under": found["under"].partition(", p")[0]}


def chart_values(models: Sequence[Evaluated], key: str) -> list[dict[str, Any]]:
    """A share of each model with its interval, in percent; empty where it was not measured."""
    (measure,) = [m for m in SHOWN if m.key == key]
    found = []
    for model in models:
        value = measured(model.metrics["total"], measure)
        if isinstance(value, dict) and value["share"] is not None:
            found.append({"model": model.name} | {k: round(100 * value[k], 2) for k in ("share", "low", "high")})
    return found


def plain(first: Evaluated, model: Evaluated) -> dict[str, Any]:
    """The numbers of one line: every measure, shares with low and high, and its paired difference from `first`."""
    found = {}
    for m in present([first, model]):
        change = difference(first, model, m) if model is not first else None
        value = measured(model.metrics["total"], m)
        found[m.key] = {
            **(value if isinstance(value, dict) else {"value": value}),
            "against_base": dataclasses.asdict(change) if change else None,
        }
    return found


def over_seeds(runs: Mapping[str, Mapping[str, Any]], models: Mapping[str, Evaluated]) -> dict[str, Any] | None:
    """Mean, lowest and highest of each measure over the runs that differ in their seed alone; None without a swept seed.

    Args:
        runs: {run: {"session", "values"}}.
        models: {session: its evaluation}.
    """
    groups: dict[str, list[Evaluated]] = {}
    for run in runs.values():
        if "seed" in run["values"]:
            rest = ", ".join(f"{k} {_short(v)}" for k, v in run["values"].items() if k != "seed") or "every seed"
            groups.setdefault(rest, []).append(models[run["session"]])
    if not groups:
        return None
    measures = present([model for group in groups.values() for model in group])
    rows = []
    for name, group in groups.items():
        row = [cell(name), cell(str(len(group)), len(group))]
        for m in measures:
            values = [v for v in (_number(measured(e.metrics["total"], m)) for e in group) if v is not None]
            write = percent if m.kind == "share" else ("{:,.1f}" if m.kind == "tokens" else "{:.3f}").format
            mean = sum(values) / len(values) if values else None
            row.append(
                cell("–") if mean is None else cell(write(mean), mean, f"{write(min(values))} to {write(max(values))}")
            )
        rows.append(row)
    return {
        "columns": [column("Setting"), column("Seeds", number=True), *(column(m.label, number=True) for m in measures)],
        "rows": rows,
    }


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)


def values_said(values: Mapping[str, Any]) -> str:
    """What a run varies, in words: `{"adapter.rank": 8}` -> 'adapter.rank 8'."""
    return "; ".join(f"{key} {_short(value)}" for key, value in values.items())
