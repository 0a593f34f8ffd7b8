"""How the rows of each source became trained rows, and every loss on the way with its reason.

*Takes* the manifests of a session's samples, standardized samples, mix and pack, and example rows that the report found.
*Leaves* a table of steps, a list of losses, the values of a chart. Rows are followed by source: packing counts by source,
and a session may take two samples of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from showwork.page.cells import cell, column, count, number_cell, percent
from showwork.records.keeping import REASONS as REMOVED
from showwork.records.parse import REASONS as UNPARSED

FATES = ("trained whole", "trained, trace trimmed", "held out", "duplicate", "malformed or filtered", "too long")
"""What became of a selected row, in the order in which the bar is drawn."""

MEANINGS = {
    **UNPARSED,
    **REMOVED,
    "language": "not English",
    "loops": "the text goes round in circles",
    "prose": "mathematics or code rather than prose",
    "length": "outside the lengths that the source allows",
    "where": "does not meet the source's own condition",
    "null": "a column that must hold text is empty",
    "not_text": "a column that must hold text holds something else",
    "empty_question": "the question is nothing but white space",
    "only_control_tokens": "nothing is left once control tokens are made harmless",
    "answer_too_long": "does not fit a packed row even with the trace cut to its minimum, because of the answer",
    "question_too_long": "does not fit a packed row even with the trace cut to its minimum, because of the question",
    "trace_below_minimum": "the trace cannot be cut to fit without going below its minimum",
    "overlong": "longer than a packed row",
}

WHOLE = {"sample": "looked_at", "standardize": "taken", "mix": "records", "pack": "mixed"}
"""What the losses of a stage are a share of: the rows that came into it."""

STAGES = tuple(WHOLE)
Losses = dict[tuple[str, str, str], int]
Examples = Mapping[tuple[str, str, str], Sequence[dict[str, Any]]]


def steps_by_source(
    samples: Sequence[Mapping[str, Any]],
    standardized: Sequence[Mapping[str, Any]],
    mix: Mapping[str, Any],
    pack: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """{source: rows at every step and the losses of each stage by reason}, summed over the source's samples."""
    found: dict[str, dict[str, Any]] = {}
    records_of = {m["name"]: m for m in standardized}
    for sample in samples:
        source, name, counts = sample["settings"]["source"], sample["name"], sample["counts"]
        one = found.setdefault(
            source,
            {"samples": [], "in_reach": 0, "looked_at": 0, "taken": 0, "records": 0, "mixed": 0,
             "trained": 0, "trimmed": 0, "lost": {stage: Counter() for stage in STAGES}},
        )  # fmt: skip
        one["samples"].append(name)
        one["in_reach"] += counts["rows_in_reach"]
        one["looked_at"] += counts["looked_at"]
        one["taken"] += counts["taken"]
        one["lost"]["sample"].update(counts["dropped"])
        if name in records_of:
            one["records"] += records_of[name]["counts"]["records"]
            one["lost"]["standardize"].update(records_of[name]["counts"]["rejected"])
        branch = mix["counts"]["samples"][name]
        one["mixed"] += branch["train"]
        one["lost"]["mix"].update(branch["removed"])
    for source, packed in pack["counts"]["by_source"].items():
        if source in found:
            found[source]["trained"] = packed["kept"]
            found[source]["trimmed"] = packed["trimmed"]
            found[source]["lost"]["pack"].update(packed["dropped"])
    return found


def funnel(steps: Mapping[str, Mapping[str, Any]], examples: Examples) -> dict[str, Any]:
    """The section: sentence, table of steps, losses with their examples."""
    taken, trained = sum(s["taken"] for s in steps.values()), sum(s["trained"] for s in steps.values())
    rows = []
    for source, s in steps.items():
        rows.append(
            [
                cell(source, under=", ".join(s["samples"])),
                number_cell(s["in_reach"]),
                number_cell(s["looked_at"]),
                number_cell(s["taken"]),
                number_cell(s["records"]),
                number_cell(s["mixed"]),
                number_cell(s["trained"], f"{percent(s['trained'] / s['taken'] if s['taken'] else None)} of selected"),
            ]
        )
    heads = ("Rows in reach", "Looked at", "Selected", "Records", "In the mix", "Trained")
    return {
        "sentence": (
            f"{count(taken)} rows were selected and {count(trained)} are trained on "
            f"({percent(trained / taken if taken else None)}). Every row in between has a reason below."
        ),
        "columns": [column("Source"), *(column(head, number=True) for head in heads)],
        "rows": rows,
        "sources": list(steps),
        "losses": _losses(steps, examples),
        "shares": "Shares are of the rows that came into the stage.",
    }


def _losses(steps: Mapping[str, Mapping[str, Any]], examples: Examples) -> list[dict[str, Any]]:
    """One line per stage and reason, its rows in total and of each source; the largest first."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for source, s in steps.items():
        for stage in STAGES:
            for reason, rows in s["lost"][stage].items():
                if rows:
                    found.setdefault((stage, reason), {})[source] = rows
    losses = []
    for (stage, reason), by_source in found.items():
        total, whole = sum(by_source.values()), {source: s[WHOLE[stage]] for source, s in steps.items()}
        cells = [number_cell(total, percent(total / (sum(whole.values()) or 1)))]
        cells += [
            number_cell(by_source[source], percent(by_source[source] / (whole[source] or 1)))
            if source in by_source
            else cell("–")
            for source in steps
        ]
        shown = [example for source in steps for example in examples.get((stage, source, reason), ())]
        meaning = MEANINGS.get(reason, "")
        losses.append(
            {"stage": stage, "reason": reason, "meaning": meaning, "cells": cells, "examples": shown, "rows": total}
        )
    return sorted(losses, key=lambda loss: (-loss["rows"], loss["stage"], loss["reason"]))


def chart_values(steps: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{"sample": source, "fate", "rows", "share" of the selected rows in percent, "order"}."""
    values = []
    for source, s in steps.items():
        lost = s["lost"]
        held_out = lost["mix"].get("held_out", 0)
        rows = (
            s["trained"] - s["trimmed"],
            s["trimmed"],
            held_out,
            sum(lost["mix"].values()) - held_out,
            sum(lost["standardize"].values()),
            sum(lost["pack"].values()),
        )
        values += [
            {"sample": source, "fate": fate, "rows": n, "share": round(100 * n / s["taken"], 3), "order": order}
            for order, (fate, n) in enumerate(zip(FATES, rows, strict=True))
            if n and s["taken"]
        ]
    return values


def mix_section(
    pack: Mapping[str, Any], licenses: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The table of the mix with licences, and its chart's values."""
    by_source = pack["counts"]["by_source"]
    kept, tokens = sum(s["kept"] for s in by_source.values()), sum(s["loss_tokens"] for s in by_source.values())
    rows, values = [], []
    for source, s in by_source.items():
        license_ = licenses.get(source, {})
        shares = (s["kept"] / kept if kept else None, s["loss_tokens"] / tokens if tokens else None)
        rows.append(
            [
                cell(source),
                cell(license_.get("license") or "–", under=license_.get("note") or ""),
                number_cell(s["kept"], percent(shares[0])),
                number_cell(s["loss_tokens"], percent(shares[1])),
                number_cell(round(s["tokens"] / s["kept"]) if s["kept"] else None),
            ]
        )
        for of, share, n in (("records", shares[0], s["kept"]), ("trained tokens", shares[1], s["loss_tokens"])):
            values.append({"of": of, "source": source, "share": round(100 * (share or 0), 2), "count": n})
    heads = ("Records trained", "Trained tokens", "Mean tokens, prompt included")
    table = {
        "caption": "What the session is trained on, by source.",
        "columns": [column("Source"), column("Licence"), *(column(h, number=True) for h in heads)],
        "rows": rows,
    }
    return table, values
