"""The demo's bars: what it learns on three training seeds, what it costs, how fast a plan is.

Takes:  the repository, installed.
Leaves: benchmarks/results/<date>-demo.json and a table on the terminal; exit status 1 when a bar is missed.
Command: make campaign   (python benchmarks/demo.py [--seeds 42 43 44])
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

REPO = Path(__file__).resolve().parents[1]
RECIPE = REPO / "workflow/recipes/demo.yaml"
BARS = {
    "well_formed": (">=", 0.95),
    "base_well_formed": ("<=", 0.20),
    "gain_over_direct": (">=", 0.30),
    "p_stop": (">=", 0.95),
    "loop_rate": ("<=", 0.02),
}
COST = {"cpu_s": ("<=", 300.0), "wall_s": ("<=", 300.0), "peak_gb": ("<=", 2.5), "plan_s": ("<=", 4.0)}


def run(command: list[str], cwd: Path = REPO) -> dict[str, float]:
    """Run a command; its wall seconds, CPU seconds of it and its children, peak memory of the largest process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "peak_gb": after.ru_maxrss * 1024 / 1e9}


def snakemake(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *arguments]


def measured(folder: Path) -> dict[str, float]:
    """The demo's measures of one seed."""
    base, session = (
        json.loads((folder / f"results/evaluate/{m}/metrics.json").read_text()) for m in ("base", "session1")
    )
    asked, before = session["total"]["greedy"], base["total"]
    direct = before["direct"]["accuracy"]["share"]
    return {
        "well_formed": asked["well_formed"]["share"],
        "base_well_formed": before["greedy"]["well_formed"]["share"],
        "accuracy": asked["accuracy"]["share"],
        "base_direct_accuracy": direct,
        "gain_over_direct": asked["accuracy"]["share"] - direct,
        "p_stop": session["total"]["gold"]["stop_probability"],
        "loop_rate": asked["looping"]["share"],
    }


def missed(values: dict[str, float], bars: dict[str, tuple[str, float]]) -> list[str]:
    """A sentence for each bar that is not met."""
    return [
        f"{name} is {values[name]:.3f}, expected {sign} {bar}"
        for name, (sign, bar) in bars.items()
        if not (values[name] >= bar if sign == ">=" else values[name] <= bar)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--keep", type=Path, help="a folder to run in and keep, instead of a temporary one")
    args = parser.parse_args()
    plans = [run(snakemake("-n", "session1"))["wall_s"] for _ in range(5)]
    result: dict[str, Any] = {"plan_s": statistics.median(plans), "seeds": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch) / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        for seed in args.seeds:
            overlay = folder / f"seed{seed}.yaml"
            overlay.write_text(f"train: {{seed: {seed}}}\n")
            files = [str(RECIPE), str(overlay)]
            cost = run(snakemake("--cores", "2", "session1", "--directory", str(folder), "--configfile", *files))
            result["seeds"][seed] = measured(folder)
            if seed == args.seeds[0]:
                result["cost"] = {**cost, "plan_s": result["plan_s"]}
            print(seed, {k: round(v, 3) for k, v in result["seeds"][seed].items()}, flush=True)
    failures = missed(result["cost"], COST)
    for seed, values in result["seeds"].items():
        failures += [f"seed {seed}: {text}" for text in missed(values, BARS)]
    print({k: round(v, 2) for k, v in result["cost"].items()}, *failures, sep="\n")
    write(result | {"missed": failures})
    return 1 if failures else 0


def write(result: dict[str, Any]) -> None:
    """Keep the result with its date, commit and machine."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPO, capture_output=True, text=True, check=True
    )
    date = datetime.date.today().isoformat()
    kept = {
        "date": date,
        "commit": commit.stdout.strip(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "command": "python benchmarks/demo.py",
        **result,
    }
    path = REPO / f"benchmarks/results/{date}-demo.json"
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(f"kept in {path.relative_to(REPO)}")


if __name__ == "__main__":
    sys.exit(main())
