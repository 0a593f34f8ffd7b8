"""Compares the runs of a sweep: one table with intervals, as data and as a page.

*Takes*  the evaluations of the base and of every run, their trainings and verdicts, what the judge said where there is one.
*Leaves* results/sweep/<sweep>.json: every run with what it varies, its measures and its paired difference from the base;
         results/sweep/<sweep>.html: the same to look at, one file without a network.

    python -m showwork.sweep --settings JSON --inputs results/evaluate/base/manifest.json … --table T --page P
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from showwork.foundation.files import write_text
from showwork.foundation.manifest import write_manifest
from showwork.foundation.stage import Say, run_stage
from showwork.page.groups import group
from showwork.page.inputs import Inputs, evaluated
from showwork.page.render import render_comparison
from showwork.page.side_by_side import leading, over_seeds, plain, values_said


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, help="manifests of the base and of every run")
    parser.add_argument("--table", type=Path, required=True, help="JSON to write")
    parser.add_argument("--page", type=Path, required=True, help="HTML to write")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Read, compare, write.

    Raises:
        ValueError: a run's manifest is not among the inputs; evaluations of other versions of the tasks.
    """
    inputs, name, runs = Inputs(args.inputs, settings["name"]), settings["name"], settings["runs"]
    sessions = list(dict.fromkeys(run["session"] for run in runs.values()))
    about = {run["session"]: values_said(run["values"]) for run in runs.values()}
    block, drawn = group(inputs, sessions, id="runs", title="Runs", what="runs", about=about, pages={})
    base, models = evaluated(inputs, "base"), {s: evaluated(inputs, s) for s in sessions}
    block["seeds"] = over_seeds(runs, models)
    measure, ranked = leading(list(models.values()))
    lead = f"{len(runs)} runs of the sweep {name}, each a copy of {settings['session']} but for what stands beneath its name."
    sections = {
        "title": f"Sweep {name}",
        "sentence": block["sentence"],
        "lead": lead,
        "groups": [block | {"sentence": "What each run varies stands beneath its name."}],
        "glossary": block["glossary"],
    }
    write_text(args.page, render_comparison(sections, drawn))
    write_manifest(
        args.table,
        stage="sweep",
        name=name,
        settings=settings,
        inputs={str(i): path for i, path in enumerate(sorted(args.inputs))},
        files={},
        counts={"runs": len(runs)},
        ranked_by=measure.key,
        ranked=[model.name for model in ranked],
        base=plain(base, base),
        runs={
            run: {
                **how,
                "steps": inputs.one("train", how["session"]).manifest["counts"]["steps"],
                "underperforms": inputs.one("verdict", how["session"]).manifest["underperforms"],
                "measures": plain(base, models[how["session"]]),
            }
            for run, how in runs.items()
        },
    )
    say(block["sentence"])


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
