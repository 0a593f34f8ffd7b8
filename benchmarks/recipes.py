"""Does the demo-sized twin of every recipe really run, and what comes of it? Each is built to the end, one after another.

Takes:  the repository, installed.
Leaves: benchmarks/results/<date>-recipes.json: for each twin its session, wall seconds, held-out measures, verdict, exported forms.
        Exit status 1 when a twin fails, or writes less than 95 % in the form asked for where its session is supervised.
Command: python benchmarks/recipes.py [--twins full-finetune …] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
RECIPES = REPO / "workflow/recipes"
TWINS = sorted(path.stem for path in (RECIPES / "demo").glob("*.yaml"))
MEASURES = ("well_formed", "accuracy", "looping", "truncated")


def target(twin: str) -> str:
    """The session that a recipe is about, as the command in its header says."""
    header = (RECIPES / f"{twin}.yaml").read_text()
    line = next(line for line in header.splitlines() if "--cores 8 session" in line)
    return line.split("--cores 8 ")[1].split()[0]


def build(folder: Path, twin: str) -> dict[str, Any]:
    """Build a twin; its numbers, or why it failed."""
    session, start = target(twin), time.perf_counter()
    layers = [RECIPES / "demo.yaml", RECIPES / f"{twin}.yaml", RECIPES / "demo" / f"{twin}.yaml"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", session, "--directory", str(folder)]
    done = subprocess.run(
        [*command, "--configfile", *map(str, layers)], cwd=REPO, capture_output=True, text=True, check=False
    )
    found: dict[str, Any] = {"session": session, "wall_s": round(time.perf_counter() - start, 1)}
    if done.returncode:
        return found | {"failed": (done.stdout + done.stderr)[-2000:]}
    results = folder / "results"
    total = json.loads((results / f"evaluate/{session}/metrics.json").read_text())["total"]
    verdict = json.loads((results / f"verdict/{session}.json").read_text())
    trained = json.loads((results / f"train/{session}/manifest.json").read_text())
    exported = json.loads((results / f"export/{session}/certificate.json").read_text())
    return found | {
        **{name: total["greedy"][name] for name in MEASURES},
        "loss": total["gold"]["loss"],
        "steps": trained["counts"]["steps"],
        "parameters": trained["counts"]["parameters"],
        "underperforms": verdict["underperforms"],
        "fallback": verdict["fallback"],
        "exported": exported["formats"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", nargs="+", choices=TWINS, default=TWINS)
    parser.add_argument("--keep", type=Path, help="a folder to run in and keep, instead of a temporary one")
    args = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPO, capture_output=True, text=True, check=True
    )
    twins: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for twin in args.twins:
            twins[twin] = build(args.keep or Path(temporary), twin)
            print(f"{twin}: {json.dumps({k: v for k, v in twins[twin].items() if k != 'exported'})}", flush=True)
    missed = [f"{twin}: failed" for twin, got in twins.items() if "failed" in got]
    missed += [
        f"{twin}: {got['well_formed']['share']:.1%} well formed, expected at least 95 %"
        for twin, got in twins.items()
        if got["session"] == "session1" and "failed" not in got and got["well_formed"]["share"] < 0.95
    ]
    result = {
        "command": "python " + " ".join(["benchmarks/recipes.py", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "date": datetime.date.today().isoformat(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "not_run": sorted(set(TWINS) - set(twins)),
        "twins": twins,
        "missed": missed,
    }
    file = REPO / f"benchmarks/results/{result['date']}-recipes.json"
    for old in file.parent.glob("*-*-*-recipes.json"):
        old.unlink()
    file.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print(*missed, f"written: {file.relative_to(REPO)}", sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
