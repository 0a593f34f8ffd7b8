"""The evaluation tables: every model on the same prompts, with intervals, and paired differences from the base.

*Takes* for each model its metrics (as the evaluate stage writes them) and its rows of generations. *Leaves* tables of
cells, a verdict sentence and the values that the charts draw. Nothing is read from files.
Source: the paired bootstrap of `showwork.learn.statistics`; 95 % throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from showwork.learn.statistics import Difference, paired_bootstrap
from showwork.page.cells import cell, column, count, percent, points, signed

SEED = 0  # of the bootstrap: the page must not change when nothing did


@dataclass(frozen=True)
class Evaluated:
    """One model's evaluation: its name, metrics.json, and {mode: {prompt_id: row}} of its generations."""

    name: str
    metrics: dict[str, Any]
    modes: dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Measure:
    """One line of the table: where its number stands in the metrics and in a row, and which way is better."""

    key: str
    label: str
    task: str  # greedy | sampled | direct | gold
    row_mode: str
    row_value: Callable[[dict[str, Any]], float | None]
    better: int  # +1 more is better, -1 less is better, 0 neither
    help: str
    kind: str = "share"  # share | mean | loss | tokens
    weight: str | None = None


def _flag(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda row: None if row[name] is None else float(row[name])


def _loss(row: dict[str, Any]) -> float | None:
    return row["gold_loss"] / row["gold_tokens"] if row["gold_tokens"] else None


MEASURES = (
    Measure(
        "well_formed",
        "Well-formed",
        "greedy",
        "greedy",
        _flag("well_formed"),
        +1,
        "The whole completion is exactly <reasoning>…</reasoning> and <answer>…</answer> and then stops, by the strict "
        "parser that also made the training data.",
    ),
    Measure(
        "graded",
        "Form, graded",
        "greedy",
        "greedy",
        _flag("graded"),
        +1,
        "Mean share of the five parts of the form that are in place: the opening, the end of the trace, the two answer "
        "tags, the stop.",
        "mean",
    ),
    Measure(
        "accuracy",
        "Right answers",
        "greedy",
        "greedy",
        _flag("correct"),
        +1,
        "Among questions whose gold answer is short: the text in <answer> equals it after case, spaces and a final full "
        "stop are ignored. A malformed completion has no answer and counts as wrong.",
    ),
    Measure(
        "direct_accuracy",
        "Right, asked directly",
        "direct",
        "direct",
        _flag("correct"),
        +1,
        "The same questions as plain text, “Question: … Answer:”, without tags or trace; the first line counts.",
    ),
    Measure(
        "looping",
        "Looping",
        "greedy",
        "greedy",
        _flag("looping"),
        -1,
        "The completion repeats itself, by the detector that also filters training data.",
    ),
    Measure(
        "truncated",
        "Truncated",
        "greedy",
        "greedy",
        _flag("truncated"),
        -1,
        "The completion reached the limit of new tokens without stopping.",
    ),
    Measure(
        "answer_copied",
        "Answer copied",
        "greedy",
        "greedy",
        _flag("answer_copied"),
        -1,
        "The answer is long and stands word for word in the trace. Short answers are expected to and do not count.",
    ),
    Measure(
        "language_switched",
        "Language switched",
        "greedy",
        "greedy",
        _flag("language_switched"),
        -1,
        "The completion, or either half of a long one, is in another language than the question; code and formulas have none.",
    ),
    Measure(
        "stop_probability",
        "P(stop) at the gold end",
        "gold",
        "greedy",
        _flag("stop_probability"),
        +1,
        "Mean probability of <end_of_turn> after a gold completion.",
        "mean",
    ),
    Measure(
        "loss",
        "Held-out loss",
        "gold",
        "greedy",
        _loss,
        -1,
        "Cross-entropy per token of the gold completions, in nats; every token counts the same.",
        "loss",
        "gold_tokens",
    ),
    Measure(
        "tokens",
        "Tokens written",
        "greedy",
        "greedy",
        _flag("num_tokens"),
        0,
        "Mean length of a completion.",
        "tokens",
    ),
    Measure(
        "sampled_well_formed",
        "Well-formed, sampled",
        "sampled",
        "sampled",
        _flag("well_formed"),
        +1,
        "The same at the configured temperature instead of greedy.",
    ),
    Measure(
        "sampled_accuracy",
        "Right answers, sampled",
        "sampled",
        "sampled",
        _flag("correct"),
        +1,
        "The same at the configured temperature instead of greedy.",
    ),
    Measure(
        "sampled_looping",
        "Looping, sampled",
        "sampled",
        "sampled",
        _flag("looping"),
        -1,
        "The same at the configured temperature instead of greedy.",
    ),
)


def measured(block: dict[str, Any], measure: Measure) -> Any:
    """The value of a measure in one block of metrics (total, or one source), or None where it was not measured."""
    return block.get(measure.task, {}).get(measure.key.removeprefix("sampled_").removeprefix("direct_"))


def difference(
    before: Evaluated, after: Evaluated, measure: Measure, before_measure: Measure | None = None
) -> Difference | None:
    """After minus before over the prompts that both have a value for; None where there is none."""
    before_measure = before_measure or measure
    mine, theirs = after.modes.get(measure.row_mode, {}), before.modes.get(before_measure.row_mode, {})
    triples = []
    for prompt_id in sorted(mine.keys() & theirs.keys()):
        x, y = before_measure.row_value(theirs[prompt_id]), measure.row_value(mine[prompt_id])
        if x is not None and y is not None:
            triples.append((x, y, mine[prompt_id][measure.weight] if measure.weight else 1))
    if not triples:
        return None
    x, y, w = zip(*triples, strict=True)
    return paired_bootstrap(x, y, w if measure.weight else None, seed=SEED)


def shown(value: Any, kind: str) -> dict[str, Any]:
    """A measured value as a cell: the number, its interval underneath, the value to sort by."""
    if value is None or (isinstance(value, dict) and value.get("share") is None):
        return cell("–")
    if isinstance(value, dict):
        return cell(percent(value["share"]), value["share"], f"{100 * value['low']:.1f}–{100 * value['high']:.1f}")
    if kind == "mean":
        return cell(f"{value:.3f}", value)
    return cell(f"{value:.3f}" if kind == "loss" else f"{value:,.1f}", value)


def difference_cell(change: Difference | None, measure: Measure) -> dict[str, Any]:
    """A paired difference as a cell, coloured only when its interval leaves out zero."""
    if change is None:
        return cell("–")
    write = points if measure.kind == "share" else partial(signed, form=",.1f" if measure.kind == "tokens" else ".3f")
    clear = change.low > 0 or change.high < 0
    kind = "" if not clear or not measure.better else "good" if change.mean * measure.better > 0 else "bad"
    p = f"p < {change.p_value:.1g}" if change.p_value < 0.001 else f"p = {change.p_value:.2g}"
    return cell(write(change.mean), change.mean, f"{write(change.low)} to {write(change.high)}, {p}", kind)


def headline_gain(base: Evaluated, session: Evaluated) -> Difference | None:
    """Right answers of the session in its tags minus right answers of the base asked directly, over the same prompts."""
    by_key = {measure.key: measure for measure in MEASURES}
    return difference(base, session, by_key["accuracy"], by_key["direct_accuracy"])


def comparison(models: Sequence[Evaluated]) -> dict[str, Any]:
    """The tables of the page, base (or the first model) first.

    Returns:
        columns, rows of all measures; source_columns, source_rows; the glossary of the measures shown.
    """
    first, rest = models[0], models[1:]
    present = [m for m in MEASURES if any(measured(e.metrics["total"], m) is not None for e in models)]
    rows = []
    for measure in present:
        row = [cell(measure.label)] + [shown(measured(e.metrics["total"], measure), measure.kind) for e in models]
        rows.append(row + [difference_cell(difference(first, e, measure), measure) for e in rest])
        if measure.key == "direct_accuracy":
            row = [
                cell(f"Right answers, against {first.name} asked directly"),
                shown(measured(first.metrics["total"], measure), "share"),
            ]
            row += [shown(measured(e.metrics["total"], MEASURES[2]), "share") for e in rest]
            rows.append(row + [difference_cell(headline_gain(first, e), measure) for e in rest])
    columns = [column("Measure")] + [column(e.name, number=True) for e in models]
    columns += [column(f"{e.name} – {first.name}", number=True) for e in rest]
    source_columns, source_rows = _by_source(models, present)
    return {
        "num_prompts": count(first.metrics["num_prompts"]),
        "columns": columns,
        "rows": rows,
        "source_columns": source_columns,
        "source_rows": source_rows,
        "of": f"{models[-1].name}, with {first.name} underneath.",
        "glossary": present,
    }


def _by_source(models: Sequence[Evaluated], present: Sequence[Measure]) -> tuple[list, list]:
    """The last model's measures by source, the first one's underneath."""
    chosen = [m for m in present if m.key in ("well_formed", "accuracy", "looping", "truncated", "loss")]
    columns = [column("Source"), column("Prompts", number=True), *(column(m.label, number=True) for m in chosen)]
    first, last = models[0], models[-1]
    rows = []
    for source, before in sorted(first.metrics["by_source"].items()):
        after = last.metrics["by_source"].get(source, {})
        row = [cell(source), cell(count(before["num_prompts"]), before["num_prompts"])]
        for measure in chosen:
            now, was = shown(measured(after, measure), measure.kind), shown(measured(before, measure), measure.kind)
            row.append(cell(now["text"], now["value"], f"{first.name} {was['text']}"))
        rows.append(row)
    return columns, rows


def chart_values(models: Sequence[Evaluated]) -> tuple[list[dict[str, Any]], str, list[dict[str, Any]]]:
    """What the two interval charts draw: shares by measure; the title of the second; its measure by source."""
    measures = []
    for measure in MEASURES:
        for model in models:
            value = measured(model.metrics["total"], measure)
            if measure.kind == "share" and isinstance(value, dict) and value["share"] is not None:
                measures.append(_point(value, model.name, measure=measure.label))
    sources: list[dict[str, Any]] = []
    title = "Right answers"
    for title, key in (("Right answers", "accuracy"), ("Well-formed", "well_formed")):  # noqa: B007, it is returned
        for source in sorted(models[0].metrics["by_source"]):
            for model in models:
                value = model.metrics["by_source"].get(source, {}).get("greedy", {}).get(key)
                if value and value["share"] is not None:
                    sources.append(_point(value, model.name, source=source))
        if sources:
            break
    return measures, title, sources


def _point(value: dict[str, Any], model: str, **names: str) -> dict[str, Any]:
    return {**names, "model": model} | {key: round(100 * value[key], 2) for key in ("share", "low", "high")}
