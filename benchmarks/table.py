"""The README's tables and sentences with measured numbers, from the results.

Takes:  benchmarks/results/*.json.
Leaves: the blocks on stdout, an empty line between two; a test holds the README to each.

    python benchmarks/table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RACES = (
    ("10,000 rows drawn from one JSON object of 2.2 GB", "cot-reservoir", "showwork.sample", "json.load + sample"),
    ("rows 30,001 to 130,000 of parquet shards", "glaive-slice", "showwork.sample", "datasets streaming"),
    ("20,000 English rows drawn from 77,685", "openo1-english", "showwork.sample", "datasets"),
    ("62,925 rows standardized, one core", "standardize", "showwork, one core", "datasets, one core"),
    ("62,925 rows standardized, two cores", "standardize", "showwork, two cores", "datasets, two cores"),
    ("session 1 mixed", "mix", "showwork", "datasets"),
    ("sessions 1 and 2, from raw files through the mixes", "end-to-end", "showwork", "datasets"),
)
"""(what, result, ours, the peer)."""


def result(name: str) -> tuple[str, dict[str, Any]]:
    """The file's name and what it holds."""
    (file,) = RESULTS.glob(f"*-*-*-{name}.json")
    return file.name, json.loads(file.read_text())


def races() -> list[str]:
    """One line for each race: how many times faster, the memory of both sides."""
    lines = ["| step | against | times faster | memory, ours | memory, theirs |", "|---|---|--:|--:|--:|"]
    for what, name, ours, theirs in RACES:
        file, told = result(name)
        mine, other = (told["contestants"][c] for c in (ours, theirs))
        wall = sorted(t["wall_s"] / m["wall_s"] for m, t in zip(mine["runs"], other["runs"], strict=True))
        faster = wall[len(wall) // 2] if len(wall) % 2 else sum(wall[len(wall) // 2 - 1 : len(wall) // 2 + 1]) / 2
        peer = "`json.load`" if "json" in theirs else "`datasets`"
        memory = (f"{c['median']['memory_mb']:,.0f} MB" for c in (mine, other))
        lines.append(f"| [{what}](benchmarks/results/{file}) | {peer} | {faster:.1f} × | {' | '.join(memory)} |")
    return lines


def detectors() -> list[str]:
    """One line for each detector: right on the held-out half, beside what else one would take."""
    lines = ["| what is told apart | ours | others |", "|---|--:|---|"]
    file, told = result("language")
    lines.append(
        f"| [English from the rest](benchmarks/results/{file}) | {told['showwork, held_out']['right']:.1%} right | lingua "
        f"{told['lingua, held_out']['right']:.1%}, any CJK character {told['any CJK character, held_out']['right']:.1%} |"
    )
    file, told = result("prose")
    ours, keywords = told["showwork, held_out"], told["keywords, held_out"]
    lines.append(
        f"| [maths and code from prose](benchmarks/results/{file}) | {ours['recall']:.1%} found, {ours['false_alarms']:.1%} of "
        f"clean prose lost | a list of keywords {keywords['recall']:.1%}, {keywords['false_alarms']:.1%} |"
    )
    file, told = result("loops")
    lines.append(
        f"| [loops from tables, code, lists, songs](benchmarks/results/{file}) | {told['held_out']['recall']:.1%} found, "
        f"{told['held_out']['false_alarms']:.1%} false alarms | |"
    )
    file, told = result("near-duplicates")
    lines.append(
        f"| [near duplicates, 2 to 10 % of words changed](benchmarks/results/{file}) | {told['recall']:.1%} found, "
        f"{told['false']:.2%} false | the exact Jaccard similarity {told['exact_finds'] / told['pairs']:.1%} |"
    )
    return lines


def training() -> list[str]:
    """One line for each race of the training step: LoRA, float32, one CPU core."""
    lines = ["| training and decoding, on one CPU core | against | ratio |", "|---|---|--:|"]
    file, told = result("training-tunix")
    times = ", ".join(f"{told[kind]['times_tunix']:.1f} × ({kind})" for kind in ("mix", "session1-like", "short"))
    lines.append(f"| [real tokens a second](benchmarks/results/{file}) | tunix 0.1.7, which pads | {times} |")
    lines.append(f"| [the same padded rows](benchmarks/results/{file}) | tunix 0.1.7 | {told['per_slot']:.1f} × |")
    file, told = result("training-trl")
    for kind in ("packed", "dynamic"):
        name = "packed" if kind == "packed" else "dynamic padding"
        times = f"{told['times'][f'TRL, {kind}']:.1f} × (mix)"
        lines.append(f"| [real tokens a second](benchmarks/results/{file}) | TRL and PEFT, {name} | {times} |")
    file, told = result("training-memory")
    shares = ", ".join(f"{told[m]['share']:.3f} ({v} ids)" for m, v in (("m16k", "16,384"), ("v256k", "262,144")))
    lines.append(f"| [temporary memory](benchmarks/results/{file}) | the step in its textbook form | {shares} |")
    file, told = result("training-decode")
    for name in ("tunix", "transformers"):
        lines.append(f"| [greedy decoding](benchmarks/results/{file}) | {name} | {told['times'][name]:.2f} × |")
    return lines


def demo() -> list[str]:
    """What the demo costs and learns, a column for each seed."""
    file, told = result("demo")
    cost, seeds = told["cost"], told["seeds"]
    base = next(iter(seeds.values()))
    rows = (
        ("strictly well-formed answers", f"{base['base_well_formed']:.1%}", [f"{s['well_formed']:.1%}" for s in seeds.values()]),
        ("right answers", f"{base['base_direct_accuracy']:.1%} when asked directly", [f"{s['accuracy']:.1%}" for s in seeds.values()]),
        ("probability of stopping at the true end", "", [f"{s['p_stop']:.3f}" for s in seeds.values()]),
        ("looping answers", "", [f"{s['loop_rate']:.1%}" for s in seeds.values()]),
    )  # fmt: skip
    return [
        f"`make demo` took {cost['wall_s']:.0f} seconds, {cost['cpu_s']:.0f} CPU seconds and {cost['peak_gb']:.1f} GB on "
        f"{told['cpus']} cores (load {told['load']:.1f} before it began); what it learns:",
        "",
        f"| 300 held-out questions, greedy | base | {' | '.join(f'session 1, seed {seed}' for seed in seeds)} |",
        f"|---|--:|{'--:|' * len(seeds)}",
        *(f"| {what} | {before} | {' | '.join(after)} |" for what, before, after in rows),
        "",
        f"Measured by `make campaign` on {told['date']} at {told['commit'][:7]}: "
        f"[`benchmarks/results/{file}`](benchmarks/results/{file}).",
    ]


def full_run() -> list[str]:
    """Rows, tokens and hours of every session of the recipe, at most."""
    file, told = result("full-run")
    devices = list(told["peak_tflops"])
    best, worst = told["shares"]
    lines = [
        f"| [training, at most](benchmarks/results/{file}) | source rows | tokens | {' | '.join(f'hours on one {d}' for d in devices)} |",
        f"|---|--:|--:|{'--:|' * len(devices)}",
    ]
    for name, session in told["sessions"].items():
        hours = " | ".join("{:.1f} to {:.1f}".format(*session["hours_at_most"][d]) for d in devices)
        lines.append(f"| {name} | {session['rows']:,} | {session['tokens_at_most'] / 1e6:,.0f} million | {hours} |")
    peaks = ", ".join(f"{peak} TFLOP/s ({device})" for device, peak in told["peak_tflops"].items())
    return [
        *lines,
        "",
        f"By formula and not measured: every source row taken to fill its {told['length']:,} tokens, and a step to reach {worst:.0%} to "
        f"{best:.0%} of the data sheet's {peaks}.",
    ]


def blocks() -> list[str]:
    """Each text that stands in the README as it is."""
    return ["\n".join(made()) for made in (demo, full_run, races, detectors, training)]


if __name__ == "__main__":
    print("\n\n".join(blocks()))
