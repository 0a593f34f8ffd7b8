"""auto: trains a session as the verdict on the session it starts from says, and records why.

Takes   results/verdict/<start>.json and all that any choice needs: the start's packed rows and adapter, the session's own records,
        the base.
Leaves  results/train/<session>/ as train and grpo do, and choice.json: what was chosen, why, and the command that ran or, for what
        needs another mix, the one to type.
Command python -m showwork.auto --settings JSON --verdict V --pack P --mix M --base B --start S --work work/train --adapter A
        --history H --choice C --manifest M

    none            nothing is trained: the start's adapter is handed on
    grpo            rewards, from the start
    grpo_from_base  rewards, from the base
    more_epochs     the start's packed rows once more, from the start
    quality_filter  nothing is trained: it needs another mix, so the command is printed

What is chosen runs in place of this process, as the same command that a rule of its own would run; stages do not import each other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from showwork.foundation.files import atomic, canonical, read_json, write_json, write_text
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.stage import Say, run_stage

Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command line beside --settings and --log."""
    parser.add_argument("--verdict", type=Path, required=True, help="verdict on the session that this one starts from")
    parser.add_argument("--pack", type=Path, required=True, help="manifest of that session's packed rows")
    parser.add_argument("--mix", type=Path, required=True, help="manifest of this session's records")
    parser.add_argument("--base", type=Path, required=True, help="manifest of the base")
    parser.add_argument("--start", type=Path, required=True, help="manifest of the training that this one starts from")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; not an output")
    for name in ("adapter", "history", "choice", "manifest"):
        parser.add_argument(f"--{name}", type=Path, required=True)


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Choose, record, and become the chosen stage; or hand the start's adapter on."""
    found = read_json(args.verdict)
    fallback = found["fallback"]
    command = command_of(fallback, args, settings)
    write_json(
        args.choice,
        {
            "name": settings["name"],
            "start": found["name"],
            "chosen": fallback,
            "because": found["because"],
            "stage": command[2] if command else None,
            "to_type": found["command"] if fallback == "quality_filter" else None,
        },
    )
    say(f"{fallback}, because {found['because']}")
    if command:
        sys.stderr.flush()
        os.execv(command[0], command)
    if fallback == "quality_filter":
        say(f"it needs another mix, so nothing is trained here; type: {found['command']}")
    hand_on(args, settings)


def command_of(fallback: str, args: argparse.Namespace, settings: Settings) -> list[str] | None:
    """The command line of the stage that a fallback needs; None when nothing is to be trained."""
    if fallback in ("none", "quality_filter"):
        return None
    stage, rows = ("train", "pack") if fallback == "more_epochs" else ("grpo", "mix")
    chosen = settings["sft" if stage == "train" else "grpo"]
    command = [sys.executable, "-m", f"showwork.{stage}", "--settings", canonical(chosen)]
    command += ["--log", str(args.log)] if args.log else []
    command += [] if fallback == "grpo_from_base" else ["--start", str(args.start)]
    for name in (rows, "base", "work", "adapter", "history", "manifest"):
        command += [f"--{name}", str(getattr(args, name))]
    return command


def hand_on(args: argparse.Namespace, settings: Settings) -> None:
    """The start's adapter under this session's name, with a history of no steps."""
    start = read_manifest(args.start)
    with atomic(args.adapter) as part:
        shutil.copyfile(read_checked(args.start, "adapter"), part)
    write_json(args.adapter.with_suffix(".json"), start["adapter"])
    write_text(args.history, "")
    counts = {"steps": 0, "skipped": 0, "tokens": 0, "loss_tokens": 0, "parameters": start["counts"]["parameters"]}
    write_manifest(
        args.manifest,
        stage="train",
        name=settings["name"],
        settings=settings["sft"],
        inputs={"verdict": args.verdict, "base": args.base, "start": args.start},
        files={"adapter": args.adapter, "history": args.history},
        counts=counts,
        adapter=start["adapter"],
        identity=start["identity"],
        parts=start["parts"],
    )


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
