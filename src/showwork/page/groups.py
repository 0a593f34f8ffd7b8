"""One block of a page that compares: a sentence, the tables, the charts, verdicts and what a judge said.

*Takes* the inputs of the page, the names of its sessions and a line about each. *Leaves* the block and its charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from showwork.page import charts
from showwork.page.cells import cell, column
from showwork.page.inputs import Inputs, evaluated, judged_by, same_tasks
from showwork.page.judged import judge_section
from showwork.page.judged import sentence as verdict_said
from showwork.page.side_by_side import chart_values, sentence, tables

CHARTS = ("accuracy", "well_formed")


def group(
    inputs: Inputs,
    sessions: Sequence[str],
    *,
    id: str,
    title: str,
    what: str,
    about: Mapping[str, str],
    pages: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the block, its charts by name).

    Args:
        what: what the sessions are, in the plural ("runs").
        about: {session: a line about it}.
        pages: {session: the address of its own page}.
    """
    base = evaluated(inputs, "base")
    models = [base, *(evaluated(inputs, name) for name in sessions)]
    same_tasks(models)
    verdicts = [inputs.one("verdict", name).manifest for name in sessions]
    block = {
        "id": id,
        "title": title,
        "sentence": sentence(base, models[1:], what),
        "verdicts": [
            {"name": v["name"], "page": pages[v["name"]], "sentence": verdict_said(v).removeprefix(v["name"]).strip()}
            for v in verdicts
            if v["name"] in pages
        ],
        **with_verdicts(tables(models, about), verdicts),
        "page": None,
        "seeds": None,
        "judge": judge_section(judged_by(inputs, ["base", *sessions])),
    }
    drawn = {f"{id}-{key}": charts.ladder(values) for key in CHARTS if (values := chart_values(models, key))}
    return block, drawn


def with_verdicts(found: dict[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table with a last column: whether a session underperforms; the base's cell is a dash."""
    said = [cell("–")]
    for verdict in verdicts:
        missed = ", ".join(key.replace("_", " ") for key in verdict["missed"])
        said.append(cell("underperforms", 1, missed, "bad") if missed else cell("holds", 0, "", "good"))
    rows = [[*row, one] for row, one in zip(found["rows"], said, strict=True)]
    return found | {"columns": [*found["columns"], column("Verdict")], "rows": rows, "change_columns": found["columns"]}
