"""Where rows of a source went, and why: dropped (where, for what reason), or place in the mix, packed row, training step.

    showwork why openo1:1234                    row 1234 of source openo1, counted from 0
    showwork why 3fa9c1                         a row_id, record_id or question_id, whole or its beginning
    showwork why --text "Why is the sky blue?"  by question; letter case, white space and Unicode form do not count

A row is numbered as `source_row` in every file of results/: from 0, over the source's files in their order. It counts rows, not
lines: a CSV cell may hold newlines. `start` and `stop` in config.yaml count from 1, so openo1:0 is their row 1.

Every sample of the source and every session are answered for, from results/ alone; what is not built yet is said, with the
command that builds it. Exit status 1: nothing was found.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from showwork.look.fates import Fates, Step, Story
from showwork.look.results import Results
from showwork.look.search import Place, by_id, by_text
from showwork.look.terminal import console, harmless, labelled, line, written
from showwork.look.told import conclusions, told

STYLES = {
    "trained": "bold green",
    "held out": "bold cyan",
    "lost": "bold red",
    "open": "bold yellow",
    "elsewhere": "bold",
}
COUNTED = "Rows, packed rows and prompts are counted from 0, segments, steps and epochs from 1, as in the files."
LEAST_DIGITS = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked, and of which run."""
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("row", nargs="?", help="source:row, counted from 0, or at least 6 digits of an id")
    asked.add_argument("--text", help="a question, word for word")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder that holds results/ (default: this one)")
    parser.add_argument(
        "--most", type=int, default=10, metavar="N", help="rows to answer for when several match (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print everything that is known, for programs")


def work(args: argparse.Namespace) -> int:
    """Find the rows, tell their stories.

    Raises: ValueError, FileNotFoundError: nothing was found, or there is nothing to look in.
    """
    fates = Fates(Results(args.directory))
    places = find(fates, args.row, args.text)
    shown = places[: args.most]
    stories = {source: fates.of(source, [row for name, row in shown if name == source]) for source, _ in shown}
    if args.json:
        print(json.dumps(as_json(fates, shown, stories), ensure_ascii=True, indent=1))
        return 0
    out = console()
    for source, row in shown:
        tell(out, fates.results, source, row, stories[source][row])
    if more := len(places) - len(shown):
        matches = "more row matches" if more == 1 else "more rows match"
        out.print(f"{more:,} {matches}; show all with --most {len(places)}.\n")
    out.print(COUNTED, style="dim")
    for sentence in fates.results.older():
        out.print(Text(f"Note: {sentence}", "yellow"), soft_wrap=True)
    return 0


def find(fates: Fates, row: str | None, text: str | None) -> list[Place]:
    """The rows that are asked for, at least one.

    Raises: ValueError that says what was looked for, and where.
    """
    sources = fates.results.sources()
    if not sources:
        raise ValueError(
            f"{fates.results.directory / 'results'}: no sample is there yet; build the data first: {fates.results.command('data')}"
        )
    samples = sum(map(len, sources.values()))
    if text is not None:
        if not (places := by_text(fates, text)):
            raise ValueError(
                f"no record and no rejected row of {samples} samples asks {harmless(line(text, 100))!r}; rows that were dropped while "
                "sampling keep no text, so ask for them by number"
            )
        return places
    assert row is not None
    if match := re.fullmatch(r"(.+):(-?[0-9]+)", row):
        return [_numbered(fates, match[1], int(match[2]))]
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},32}}", row):
        raise ValueError(
            f"{harmless(row)!r} is no row; write source:row, as {next(iter(sources))}:0 (the sources are {', '.join(sources)}), "
            f"or {LEAST_DIGITS} to 32 hex digits of an id, or --text and a question"
        )
    if not (places := by_id(fates, row)):
        raise ValueError(f"no row_id, record_id or question_id of {samples} samples begins with {row}")
    return places


def _numbered(fates: Fates, source: str, row: int) -> Place:
    sources = fates.results.sources()
    if source not in sources:
        near = difflib.get_close_matches(source, sources, n=1)
        raise ValueError(
            f"source {harmless(source)!r}: there is none in {fates.results.directory / 'results'}"
            f"{f', did you mean {near[0]}?' if near else ''}; it holds samples of {', '.join(sources)}"
        )
    num_rows = fates.num_rows(source)
    if row < 0 or (num_rows is not None and row >= num_rows):
        there = (
            f"has {num_rows:,} rows, {source}:0 to {source}:{num_rows - 1}" if num_rows else "counts its rows from 0"
        )
        raise ValueError(f"{source}:{row}: there is no such row; source {source!r} {there}")
    return source, row


def tell(out: Console, results: Results, source: str, row: int, stories: Sequence[Story]) -> None:
    """Print the stories of one row."""
    found = dict.fromkeys(c for story in stories for c in conclusions(story))
    for style, sentence in sorted(found, key=lambda c: c[0] == "elsewhere"):
        out.print(Text.assemble((f"{source}:{row}", "bold"), "  →  ", (sentence, STYLES[style])))
    if question := next(
        (step.facts["question"] for story in stories for step in story.steps if "question" in step.facts), ""
    ):
        out.print(Text("  “").append_text(written(line(question, 160))).append("”"))
    commands: dict[str, None] = {}
    for story in stories:
        out.print(Text(f"\n  {story.sample}", "bold"))
        labelled(out, [(f"    {label(step)}", written(told(step))) for step in story.steps])
        commands |= {command(results, step): None for step in story.steps if step.outcome == "not_built"}
    if to_read := reading(results, row, stories):
        out.print(Text(f"\n  To read it:  {to_read}", "dim"), soft_wrap=True)
    for sentence in commands:
        out.print(f"\n  To build what is not there yet:  {sentence}", soft_wrap=True)
    out.print()


def reading(results: Results, row: int, stories: Sequence[Story]) -> str:
    """The command that prints the row's texts, from the last stage that keeps them."""
    for step in (step for story in stories for step in reversed(story.steps)):
        file = results.directory / "results" / step.stage / step.name
        match step.outcome:
            case "record":
                return shlex.join(["showwork", "inspect", f"{file}.parquet", "--id", step.facts["record_id"]])
            case "rejected":
                return shlex.join(["showwork", "inspect", f"{file}.rejected.parquet", "--where", f"source_row = {row}"])
            case "taken":
                return shlex.join(["showwork", "inspect", f"{file}.parquet", "--where", f"source_row = {row}"])
            case "dropped" if step.stage == "sample" and step.facts["raw"] is not None:
                return shlex.join(["showwork", "inspect", f"{file}.dropped.parquet", "--where", f"source_row = {row}"])
    return ""


def label(step: Step) -> str:
    """`mix session1`; the sample, whose name stands above, is not named again."""
    return f"{step.stage} {step.name}" if step.stage in ("mix", "pack", "train", "evaluate") else step.stage


def command(results: Results, step: Step) -> str:
    """What builds the step that has not been built."""
    return results.command_for(step.stage, step.name) if step.name else results.command("data")


def as_json(fates: Fates, places: Sequence[Place], stories: dict[str, dict[int, list[Story]]]) -> list[dict]:
    """Everything that is known, for programs."""
    return [
        {
            "source": source,
            "source_row": row,
            "samples": [
                {
                    "sample": story.sample,
                    "conclusions": [{"kind": kind, "sentence": said} for kind, said in conclusions(story)],
                    "steps": [asdict(step) | _next(fates.results, step) for step in story.steps],
                }
                for story in stories[source][row]
            ],
            "notes": fates.results.older(),
        }
        for source, row in places
    ]


def _next(results: Results, step: Step) -> dict[str, str]:
    return {"command": command(results, step)} if step.outcome == "not_built" else {}
