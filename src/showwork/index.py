"""Writes the page that compares all: every session of the plan and the runs of every sweep, side by side.

*Takes*  the evaluations of the base and of every session, their trainings and verdicts, what the judge said where there is one.
*Leaves* results/report/index.html: one file below 3 MB that opens without a network, with links to the pages of the sessions.

    python -m showwork.index --settings JSON --inputs results/evaluate/base/manifest.json … --page results/report/index.html
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from showwork.foundation.files import write_text
from showwork.foundation.stage import Say, run_stage
from showwork.page.groups import group
from showwork.page.inputs import Inputs, evaluated
from showwork.page.render import render_comparison
from showwork.page.side_by_side import over_seeds, values_said


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument(
        "--inputs", type=Path, nargs="+", required=True, help="manifests of the base and of every session"
    )
    parser.add_argument("--page", type=Path, required=True, help="HTML to write")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Read, compare, write one file.

    Raises:
        ValueError: a manifest is not among the inputs; evaluations of other versions of the tasks; the page grows too large.
    """
    inputs, sessions = Inputs(args.inputs, "index"), settings["sessions"]
    about = {name: f"from {start}" for name, start in sessions.items()}
    pages = {name: f"{name}.html" for name in sessions}
    first, drawn = group(
        inputs, list(sessions), id="sessions", title="Sessions", what="sessions", about=about, pages=pages
    )
    groups = [first]
    for name, sweep in settings["sweeps"].items():
        runs = sweep["runs"]
        of = list(dict.fromkeys(run["session"] for run in runs.values()))
        about = {run["session"]: values_said(run["values"]) for run in runs.values()}
        block, more = group(
            inputs,
            of,
            id=f"sweep-{name}",
            title=f"Sweep {name}",
            what="runs",
            about=about,
            pages={},
        )
        block["page"] = f"../sweep/{name}.html"
        block["seeds"] = over_seeds(runs, {s: evaluated(inputs, s) for s in of})
        groups.append(block)
        drawn |= more
    glossary = {measure.key: measure for block in groups for measure in block["glossary"]}
    sections = {
        "title": "All sessions side by side",
        "sentence": first["sentence"],
        "lead": f"All from {settings['base']}, asked the same held-out questions, none of which any session trains on.",
        "groups": [first | {"sentence": "Each session's own page tells how it came about."}, *groups[1:]],
        "glossary": list(glossary.values()),
    }
    page = render_comparison(sections, drawn)
    write_text(args.page, page)
    say(f"{args.page}: {len(page.encode()) / 1e6:.2f} MB; {first['sentence']}")


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
