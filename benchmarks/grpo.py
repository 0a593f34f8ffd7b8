"""Does GRPO move what it is paid for, and does it polish? The demo's session 1, then session 3 on rewards, on held-out questions.

Takes:  the repository, installed.
Leaves: benchmarks/results/<date>-grpo-<bars>.json and a line a seed; exit status 1 when a bar is missed.
    moves   session 3 is paid for its form and for every token it does not write, 30 updates: the mean length of its held-out
            completions falls by at least 30 %, and at least 95 % stay well formed
    polish  workflow/recipes/grpo-polish.yaml, its demo-sized twin: right answers rise by at least 5 points on average, p < 0.05 in
            at least 3 of 5 seeds (paired bootstrap), at least 95 % well formed, at most 2 % looping, at most 6 minutes each
Command: python benchmarks/grpo.py moves|polish [--seeds 42 43 …] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.learn.statistics import paired_bootstrap

REPO = Path(__file__).resolve().parents[1]
RECIPES = REPO / "workflow/recipes"
SHORTER = """
sessions:
  session3:
    samples: [glaiveai_further_100k]
    start_from: session1
    train:
      method: grpo
      learning_rate: 5.0e-4
      schedule: constant
      warmup_steps: 2
      epochs: null
      max_steps: 30
      beta2: 0.95
      remat: none
      grpo:
        prompts_per_batch: 8
        max_new_tokens: 80
        soft_limit_tokens: 0
        slots: 64
        kl: 0.0
        reference: null
        rewards: {format: 1.0, length: 1.0, answer: 0.0, loop: 0.0}
"""
WITHIN_S = 360
ADAPTER = "results/train/{}/adapter/adapter.safetensors"
METRICS = "results/evaluate/{}/metrics.json"


def layers(bars: str, folder: Path, seed: int) -> list[str]:
    """The configuration files of a run, the last one wins."""
    own = folder / f"{bars}-{seed}.yaml"
    own.write_text(f"train: {{seed: {seed}}}\n" + (SHORTER if bars == "moves" else ""))
    polish = [RECIPES / "grpo-polish.yaml", RECIPES / "demo/grpo-polish.yaml"]
    return [str(f) for f in (RECIPES / "demo.yaml", *(polish if bars == "polish" else []), own)]


def build(folder: Path, files: list[str], *targets: str) -> dict[str, float]:
    """Wall and CPU seconds, of this command and its children, and the peak memory of the largest so far."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *targets, "--directory", str(folder)]
    done = subprocess.run([*command, "--configfile", *files], cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": time.perf_counter() - start, "cpu_s": cpu, "peak_gb": after.ru_maxrss * 1024 / 1e9}


def answers(folder: Path, model: str) -> dict[str, dict[str, Any]]:
    """{prompt: its greedy row} of a model."""
    rows = pq.read_table(folder / f"results/evaluate/{model}/generations.parquet").to_pylist()
    return {row["prompt_id"]: row for row in rows if row["mode"] == "greedy"}


def compared(folder: Path, field: str, seed: int) -> dict[str, Any]:
    """Means of a field before and after, their paired difference, and the form and loops after."""
    before, after = answers(folder, "session1"), answers(folder, "session3")
    pairs = [[float(rows[prompt][field]) for prompt in before] for rows in (before, after)]
    change = paired_bootstrap(*pairs, seed=seed)
    total = json.loads((folder / METRICS.format("session3")).read_text())["total"]["greedy"]
    return {
        "before": statistics.fmean(pairs[0]),
        "after": statistics.fmean(pairs[1]),
        "change": change.mean,
        "low": change.low,
        "high": change.high,
        "p": change.p_value,
        "well_formed": total["well_formed"]["share"],
        "looping": total["looping"]["share"],
    }


def history(folder: Path) -> list[dict[str, Any]]:
    """Of session 3: what was paid, batch by batch."""
    keys = ("step", "reward", "length", "same_reward_groups", "entropy", "correct", "well_formed")
    lines = (folder / "results/train/session3/history.jsonl").read_text().splitlines()
    return [{k: json.loads(line)[k] for k in keys} for line in lines]


def missed(bars: str, seeds: dict[int, dict[str, Any]]) -> list[str]:
    """A sentence for each bar that is not met."""
    found = []
    for seed, got in seeds.items():
        if got["well_formed"] < 0.95:
            found.append(f"seed {seed}: {got['well_formed']:.1%} well formed, expected at least 95 %")
        if got["looping"] > 0.02:
            found.append(f"seed {seed}: {got['looping']:.1%} looping, expected at most 2 %")
        if bars == "moves" and -got["change"] < 0.3 * got["before"]:
            found.append(f"seed {seed}: length {got['before']:.1f} to {got['after']:.1f}, expected 30 % less")
        if bars == "polish" and got["cost"]["wall_s"] > WITHIN_S:
            found.append(f"seed {seed}: {got['cost']['wall_s']:.0f} s, expected at most {WITHIN_S}")
    if bars == "polish":
        mean = statistics.fmean(got["change"] for got in seeds.values())
        clear = sum(got["p"] < 0.05 and got["change"] > 0 for got in seeds.values())
        if mean < 0.05:
            found.append(f"right answers change by {100 * mean:.1f} points on average, expected at least 5")
        if clear < 0.6 * len(seeds):
            found.append(f"p < 0.05 in {clear} of {len(seeds)} seeds, expected 3 of 5")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", choices=("moves", "polish"))
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--keep", type=Path, help="a folder to run in and keep, instead of a temporary one")
    args = parser.parse_args()
    seeds = args.seeds or ([42] if args.bars == "moves" else [42, 43, 44, 45, 46])
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch) / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            files = layers(args.bars, folder, seed)
            build(folder, files, METRICS.format("session1"), "results/mix/session3/manifest.json")
            cost = build(folder, files, ADAPTER.format("session3"))
            build(folder, files, METRICS.format("session3"))
            field = "num_tokens" if args.bars == "moves" else "correct"
            found[seed] = compared(folder, field, seed) | {"cost": cost, "history": history(folder)}
            print(
                seed, {k: v if isinstance(v, dict) else round(v, 4) for k, v in found[seed].items() if k != "history"}
            )
    failures = missed(args.bars, found)
    print(*failures, sep="\n")
    write(args.bars, {"seeds": found, "missed": failures})
    return 1 if failures else 0


def write(bars: str, result: dict[str, Any]) -> None:
    """Keep the result with its date, commit and machine."""
    described = ["git", "describe", "--always", "--dirty"]
    date = datetime.date.today().isoformat()
    kept = {
        "date": date,
        "commit": subprocess.run(described, cwd=REPO, capture_output=True, text=True, check=True).stdout.strip(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "command": f"python benchmarks/grpo.py {bars}",
        **result,
    }
    path = REPO / f"benchmarks/results/{date}-grpo-{bars}.json"
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(f"kept in {path.relative_to(REPO)}")


if __name__ == "__main__":
    sys.exit(main())
