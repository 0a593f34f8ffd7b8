"""The tables and sentences with measured numbers in the README and in docs/scaling.md, from the results.

Takes:  benchmarks/results/*.json.
Leaves: the blocks on stdout, an empty line between two; tests hold the README and the page to each.

    python benchmarks/table.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
    (file,) = [f for f in RESULTS.glob(f"*-{name}.json") if f.stem[11:] == name]
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
    file, told = result("training-256k")
    for kind, name in (("tunix, padded", "tunix 0.1.7, which pads"), ("TRL, packed", "TRL and PEFT, packed")):
        ratio = f"{told[kind]['times']:.1f} ×, in {told[kind]['memory_share']:.2f} of the memory"
        lines.append(f"| [real tokens a second, 262,144 ids](benchmarks/results/{file}) | {name} | {ratio} |")
    file, told = result("training-memory")
    shares = ", ".join(f"{told[m]['share']:.3f} ({v} ids)" for m, v in (("m16k", "16,384"), ("v256k", "262,144")))
    lines.append(f"| [temporary memory](benchmarks/results/{file}) | the step in its textbook form | {shares} |")
    file, told = result("training-decode")
    for name in ("tunix", "transformers"):
        lines.append(f"| [greedy decoding](benchmarks/results/{file}) | {name} | {told['times'][name]:.2f} × |")
    file, told = result("rollout-mixed")
    for name in ("tunix", "transformers"):
        lines.append(
            f"| [rollouts of mixed lengths](benchmarks/results/{file}) | {name} | {told['times'][name]:.2f} × |"
        )
    file, told = result("rollout-step")
    lines.append(f"| [a GRPO step](benchmarks/results/{file}) | tunix's GRPOLearner | {told['times']:.2f} × |")
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


def growing(parts: dict[str, str], name: str, unit: str) -> list[str]:
    """A line for each size of a part of growth.json: CPU seconds and memory of each kind; `parts`: {kind: its heading}."""
    file, told = result("growth")
    found = told[name]["found"]
    heads = " | ".join(f"{head}: CPU seconds | MB" for head in parts.values())
    lines = [f"| [{unit}](../benchmarks/results/{file}) | {heads} |", f"|--:|{'--:|' * 2 * len(parts)}"]
    for size in sorted(found[next(iter(parts))], key=int):
        cells = [f"{found[kind][size]['cpu_s']:.1f} | {found[kind][size]['memory_mb']:,.0f}" for kind in parts]
        lines.append(f"| {int(size):,} | {' | '.join(cells)} |")
    return lines


def growing_rows() -> list[str]:
    """Sampling by rows of the source, and what a further row takes."""
    _, told = result("growth")
    drawn = {"parquet": "10,000 rows drawn of parquet", "JSON object": "of one JSON object"}
    lines = growing({**drawn, "parquet, every row": "every row of parquet taken"}, "rows", "rows of the source")
    found = told["rows"]["found"]["parquet, every row"]
    few, many = sorted(found, key=int)[-2:]
    bytes_a_row = (found[many]["memory_mb"] - found[few]["memory_mb"]) * 1e6 / (int(many) - int(few))
    return [
        *lines,
        "",
        f"Where every row is taken, a further one holds {bytes_a_row:.0f} bytes of memory: its digest, to tell equal rows apart, and the footer of the file that is written.",
    ]


def growing_mixes() -> list[str]:
    """Records standardized and mixed."""
    heads = {"standardize": "standardized", "mix": "mixed, without searches", "mix, as shipped": "mixed as shipped"}
    return growing(heads, "mixes", "records")


def growing_plans() -> list[str]:
    """The time of a plan by sessions."""
    heads = {"from the base": "all from the base", "each from the one before": "each from the one before"}
    return growing(heads, "sessions", "sessions planned")


def forced_devices() -> list[str]:
    """How far losses are apart by devices, and the seconds of a step."""
    file, told = result("growth")
    found = told["devices"]["found"]
    lines = [
        f"| [devices cut out of one CPU](../benchmarks/results/{file}) | rows split: seconds a step | losses apart | "
        "weights split too: seconds a step | losses apart |",
        "|--:|--:|--:|--:|--:|",
    ]
    for count in sorted(found["data"], key=int):
        cells = [
            f"{kind[count]['seconds_a_step']:.2f} | {kind[count]['losses_apart']:.1e}" if count in kind else " | "
            for kind in (found["data"], found["fsdp"])
        ]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return lines


def recipe_data() -> list[str]:
    """The data of the recipe on two cores."""
    file, told = result("end-to-end")
    ours = told["contestants"]["showwork"]["median"]
    kept = sum(count for name, count in told["facts"].items() if name.endswith("showwork"))
    return [
        f"The recipe's own data, sessions 1 and 2 from raw files through the mixes ({kept:,} records): "
        f"[{ours['wall_s']:.0f} seconds, {ours['cpu_s']:.0f} CPU seconds, {ours['memory_mb']:,.0f} MB]"
        f"(../benchmarks/results/{file}) on {told['machine']['cores']} cores."
    ]


def cpu_training() -> list[str]:
    """What a CPU core reaches."""
    flops, told = result("training-flops")
    start, began = result("training-start")
    return [
        f"On a CPU core a step does [{told['share']:.0%} of what a plain matrix product does](../benchmarks/results/{flops}); a second "
        f"start, with compiled programs kept, takes [{began['share']:.0%} of the first's CPU time](../benchmarks/results/{start})."
    ]


def absent_memory() -> list[str]:
    """What the compiler counts for the described device."""
    file, told = result("absent-device")
    lines = [f"| [{told['model']}](../benchmarks/results/{file}) | held, GB | temporary, GB |", "|---|--:|--:|"]
    for rows, memory in told["memory"].items():
        count, length = rows.split("x")
        lines.append(
            f"| {count} rows of {length} tokens at a time | {memory['held_gb']:.2f} | {memory['temporary_gb']:.2f} |"
        )
    return lines


def gpu_steps() -> list[str]:
    """What the step reached on a GPU."""
    file, told = result("accelerator")
    lines = [
        f"| [{told['device']}, the same step](../benchmarks/results/{file}) | tokens a second | of a plain product's speed | "
        "compiled, GB | at the peak, GB |",
        "|---|--:|--:|--:|--:|",
    ]
    for cell in sorted((c for c in told["cells"] if "mfu" in c), key=lambda c: c["micro"]):
        lines.append(
            f"| {cell['micro']} rows of {cell['length']} tokens at a time | {cell['tokens_per_s']:,.0f} | {cell['mfu']:.1%} | "
            f"{cell['arguments_gb'] + cell['temporary_gb']:.2f} | {cell['peak_gb']:.2f} |"
        )
    return lines


def full_run_beside() -> list[str]:
    """full_run() for a page in docs/."""
    return [line.replace("](benchmarks/", "](../benchmarks/") for line in full_run()]


def eight_gpus() -> list[str]:
    """The same hours divided by eight: a bound, no prediction."""
    file, told = result("full-run")
    hours = {name: session["hours_at_most"]["H100 or H200"] for name, session in told["sessions"].items()}
    said = ", ".join(f"{name} {best / 8:.2f} to {worst / 8:.2f}" for name, (best, worst) in hours.items())
    return [
        f"By [the same formula](../benchmarks/results/{file}), divided by eight as if dividing cost nothing: {said} hours."
    ]


def written(*made: Callable[[], list[str]]) -> list[str]:
    """Each block as one text."""
    return ["\n".join(block()) for block in made]


def blocks() -> list[str]:
    """Each text that stands in the README as it is."""
    return written(demo, full_run, races, detectors, training)


def scaling() -> list[str]:
    """Each text that stands in docs/scaling.md as it is."""
    return written(
        growing_rows, growing_mixes, recipe_data, growing_plans, cpu_training, absent_memory, gpu_steps, full_run_beside, forced_devices, eight_gpus
    )  # fmt: skip


if __name__ == "__main__":
    print("\n\n".join([*blocks(), *scaling()]))
