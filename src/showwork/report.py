"""Writes the page of one session: what went in, what was lost, how it trained, what it can do now.

*Takes*  the manifests of every stage of the session, and the files that lie beside them.
*Leaves* results/report/<session>.html: one file below 3 MB that opens without a network.

    python -m showwork.report --settings JSON --session session1 --page results/report/session1.html
        --inputs results/download/*.json results/sample/*.json … results/export/session1/certificate.json

A manifest says by its stage and name what it is, so the order of --inputs does not matter. The plan, the
verdict, the judge's scores, the export and the timing of the training (timing.jsonl, beside its history) may be missing; their parts
of the page are then left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from showwork.foundation.files import read_json, write_text
from showwork.foundation.manifest import read_checked
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import read_rows
from showwork.page import charts, funnel, training
from showwork.page.cells import count
from showwork.page.comparison import Evaluated, chart_values, comparison
from showwork.page.examples import loss_examples
from showwork.page.generations import generations_section
from showwork.page.inputs import Inputs, evaluated, judged_by, same_tasks
from showwork.page.judged import judge_section, judged_section
from showwork.page.lengths import fill_values, lengths_section, segments_values, whole_lengths
from showwork.page.provenance import Read, export_section, provenance_section
from showwork.page.render import MOST_BYTES, render
from showwork.page.verdict import tiles, verdict_sentence

Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--session", required=True, help="whose page")
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, help="manifests of every stage of the session")
    parser.add_argument("--page", type=Path, required=True, help="HTML to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Read everything, draw everything, write one file.

    Raises:
        ValueError: a manifest that the page cannot do without is not among the inputs.
    """
    inputs = Inputs(args.inputs, args.session)
    base, session = evaluated(inputs, "base"), evaluated(inputs, args.session)
    others = [r.manifest["name"] for r in inputs.all("evaluate") if r.manifest["name"] not in ("base", args.session)]
    models = [base, *(evaluated(inputs, name) for name in others), session]
    same_tasks(models)
    samples = inputs.all("sample")
    pack, mix, trained = (
        inputs.one("pack", settings["mix"]),
        inputs.one("mix", settings["mix"]),
        inputs.one("train", args.session),
    )
    ledger = read_ledger(read_checked(pack.path, "ledger"))
    sources = sorted(pack.manifest["counts"]["by_source"])
    limit = pack.manifest["settings"]["template"]["max_seq_length"]

    steps = funnel.steps_by_source(
        [r.manifest for r in samples], [r.manifest for r in inputs.all("standardize")], mix.manifest, pack.manifest
    )
    examples = loss_examples(
        [read_checked(r.path, "dropped") for r in samples],
        [read_checked(r.path, "rejected") for r in inputs.all("standardize")],
        read_checked(mix.path, "removed"),
        [read_checked(r.path, "records") for r in inputs.all("standardize")],
        read_checked(pack.path, "ledger"),
        read_checked(mix.path, "train"),
    )
    history = read_lines(read_checked(trained.path, "history"))
    clock = read_checked(trained.path, "history").with_name("timing.jsonl")
    timing = read_lines(clock) if clock.is_file() else []
    mixed, mix_values = funnel.mix_section(pack.manifest, settings["licenses"])
    measures, by_source_title, by_source = chart_values(models)
    curves = training.curves(history, timing)
    drawn = {
        "measures": charts.intervals(measures, [m.name for m in models], "measure"),
        "sources": charts.intervals(by_source, [m.name for m in models], "source") if by_source else None,
        "funnel": charts.funnel(funnel.chart_values(steps), funnel.FATES),
        "mix": charts.mix(mix_values, sources),
        "lengths": charts.lengths(charts.length_bins(whole_lengths(ledger), limit), sources, limit),
        "fill": charts.fill(fill_values(ledger, pack.manifest["counts"], limit)),
        "segments": charts.segments(segments_values(ledger)),
        **{name: charts.curve(points, name) for name, points in curves.items()},
    }
    base_files = inputs.one("download", "base").manifest
    sections = {
        "session": args.session,
        "verdict": {
            "sentence": verdict_sentence(base, session),
            "lead": lead(settings, trained.manifest, pack.manifest),
            "tiles": tiles(base, session),
            "judged": judged_section(inputs.maybe("verdict")),
        },
        "judge": judge_section(judged_by(inputs, ["base", args.session])),
        "comparison": comparison(models) | {"sources_title": by_source_title},
        "questions": [
            {"name": name, **comparison(own)}
            for name, own in own_questions([inputs.one("evaluate", model.name) for model in models]).items()
        ],
        "funnel": funnel.funnel(steps, examples),
        "mix": mixed,
        "lengths": lengths_section(ledger, pack.manifest["counts"], limit),
        "training": training.training_section(history, timing, trained.manifest, inputs.plan()),
        "export": export_section(
            inputs.maybe("export"),
            f"results/export/{args.session}",
            base_files.get("hub") or base_files["settings"]["path"],
        ),
        "provenance": provenance_section(inputs.reads, settings["licenses"], settings),
        "generations": None,
    }
    drawn = {name: spec for name, spec in drawn.items() if spec}
    room = MOST_BYTES - len(render(sections, drawn).encode()) - 10_000
    page = render(sections | {"generations": generations_section(models, room)}, drawn)
    write_text(args.page, page)
    say(f"{args.page}: {len(page.encode()) / 1e6:.2f} MB; {sections['verdict']['sentence']}")


def own_questions(reads: Sequence[Read]) -> dict[str, list[Evaluated]]:
    """{file: every model's evaluation on it} of the user's own questions, the base's first."""
    found: dict[str, list[Evaluated]] = {}
    for read in reads:
        blocks = read_json(read_checked(read.path, "metrics")).get("questions", {})
        file = read_checked(read.path, "questions") if blocks else None
        rows = [row for batch in read_rows(file) for row in batch.to_pylist()] if file else []
        for name, block in blocks.items():
            modes: dict[str, dict[str, dict[str, Any]]] = {}
            for row in rows:
                if row["source"] == name:
                    modes.setdefault(row["mode"], {})[row["prompt_id"]] = row
            found.setdefault(name, []).append(Evaluated(read.manifest["name"], block, modes))
    for models in found.values():
        same_tasks(models)
    return found


def read_ledger(path: Path) -> dict[str, np.ndarray]:
    """The columns of the ledger that lengths need, as arrays."""
    names = ["source", "packed_row", "num_tokens", "tokens_cut"]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for batch in read_rows(path, names, batch_rows=10_000):
        for name, column in columns.items():
            column += batch.column(name).to_pylist()
    return {n: np.array(c, str if n == "source" else np.int64) for n, c in columns.items()}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def lead(settings: Settings, trained: Mapping[str, Any], pack: Mapping[str, Any]) -> str:
    """What the first sentence stands on, in one line."""
    counts = pack["counts"]
    start = settings["start_from"]
    if not trained["counts"]["steps"]:
        return f"Nothing was trained: the verdict on {start} asked for nothing that this session could do, so its adapter is handed on."
    if trained["settings"]["train"]["method"] == "grpo":
        return (
            f"Trained from {settings['base'] if start == 'base' else start} on rewards for what it wrote to "
            f"{count(trained['counts']['prompts'])} questions, {count(trained['counts']['rollout_tokens'])} tokens of "
            f"rollouts, in {count(trained['counts']['steps'])} steps."
        )
    return (
        f"Trained from {settings['base'] if start == 'base' else start} on {count(counts['examples'])} records of "
        f"{count(len(counts['by_source']))} sources, packed into {count(counts['rows'])} rows, in "
        f"{count(trained['counts']['steps'])} steps."
    )


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
