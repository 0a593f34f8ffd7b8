"""verdict: whether a session underperforms, by which measure and interval, and which fallback fits.

Takes   the evaluations of the base and of a session, its training's manifest and history, its mix's counts.
Leaves  results/verdict/<session>.json: every measure with its interval, the fallback with its reason and the command to type.
Command python -m showwork.verdict --settings JSON --base B --session S --train T --mix M --verdict V
Source  learn/verdict.py says how it is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import read_rows
from showwork.learn.verdict import Measure, verdict

RECIPES = {
    "none": None,
    "grpo": "grpo-polish",
    "more_epochs": "more-epochs",
    "quality_filter": "quality-filter",
    "grpo_from_base": "grpo-from-base",
}
"""The recipe of each fallback, in workflow/recipes."""
TARGETS = {"more_epochs": "session1", "quality_filter": "session1"}
CHOICE_NOT_QUALITY = ("language", "prose", "length", "where")
"""Rows left out by choice: they say nothing about a source's quality."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    for name, what in (("base", "evaluation of the base"), ("session", "evaluation of the session")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"manifest of the {what}")
    parser.add_argument("--train", type=Path, required=True, help="manifest of the session's training")
    parser.add_argument("--mix", type=Path, required=True, help="manifest of the session's mix")
    parser.add_argument("--verdict", type=Path, required=True, help="JSON to write")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Read, judge, write, say.

    Raises:
      ValueError: evaluations of other prompts or of other versions of the tasks.
    """
    base, session = (read_manifest(path) for path in (args.base, args.session))
    if base["inputs"]["prompts"] != session["inputs"]["prompts"] or base["tasks"] != session["tasks"]:
        raise ValueError(
            f"verdict {settings['name']!r}: {args.base} and {args.session} are of other prompts or other versions of the "
            "tasks, whose numbers cannot be compared; evaluate both again"
        )
    history = [json.loads(line) for line in read_checked(args.train, "history").read_text("utf-8").splitlines()]
    rejected = rejected_rows(read_manifest(args.mix)["counts"]["samples"])
    found = verdict(generations(args.base), generations(args.session), history, rejected, settings["verdict"])
    command = command_of(found["fallback"])
    write_manifest(
        args.verdict,
        stage="verdict",
        name=settings["name"],
        settings=settings,
        inputs={"base": args.base, "session": args.session, "train": args.train, "mix": args.mix},
        files={},
        counts={"missed": len(found["missed"])},
        **found,
        command=command,
    )
    for measure in found["measures"]:
        say(Measure(**{k: v for k, v in measure.items() if k != "found"}).sentence())
    judged = "underperforms" if found["underperforms"] else "does not underperform"
    say(f"{settings['name']} {judged}; fallback: {found['fallback']}, because {found['because']}")
    if command:
        say(f"to try it: {command}")


def generations(manifest: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{mode: {prompt id: row}} of an evaluation."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for batch in read_rows(read_checked(manifest, "generations")):
        for row in batch.to_pylist():
            found.setdefault(row["mode"], {})[row["prompt_id"]] = row
    return found


def rejected_rows(samples: dict[str, dict[str, Any]]) -> tuple[int, int]:
    """(source rows that made no record, rows looked at) over a mix's samples; what was left out by choice is in neither.

    >>> rejected_rows({"a": {"records": 8, "rejected": {"no_close": 2}, "dropped": {"language": 5}}})
    (2, 10)
    """
    lost = sum(
        number
        for sample in samples.values()
        for reasons in (sample["rejected"], sample["dropped"])
        for reason, number in reasons.items()
        if reason not in CHOICE_NOT_QUALITY
    )
    return lost, lost + sum(sample["records"] for sample in samples.values())


def command_of(fallback: str) -> str | None:
    """What a person types to try a fallback over the shipped configuration."""
    recipe = RECIPES[fallback]
    if recipe is None:
        return None
    return f"snakemake --cores 8 {TARGETS.get(fallback, 'session3')} --configfile workflow/recipes/{recipe}.yaml"


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
