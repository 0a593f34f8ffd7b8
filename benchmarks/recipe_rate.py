"""Does the shipped learning rate move an adapter? The demo's session 1 with the recipe's own optimizer for 300 steps.

Takes:  the repository, installed.
Leaves: benchmarks/results/<date>-recipe-rate.json; exit status 1 when fewer than 99 % of the adapter's entries moved or the loss rose.

    python benchmarks/recipe_rate.py [--steps 300] [--keep FOLDER]

Learning rate 2e-5, warm-up, schedule, betas, rank and alpha are those of config.yaml; data, base, rows and rows a step (8) are the
demo's. The loss is the mean of the first and of the last 30 steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from race import REPO, judge, write

OWN = ("learning_rate", "warmup_steps", "schedule", "beta1", "beta2", "epsilon", "weight_decay", "clip_norm")
MEAN_OF = 30


def main() -> None:
    """Train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--keep", type=Path, help="a folder to run in and keep, instead of a temporary one")
    args = parser.parse_args()
    shipped = yaml.safe_load((REPO / "config.yaml").read_text())["train"]
    own = {key: shipped[key] for key in OWN} | {"epochs": None, "max_steps": args.steps}
    own["adapter"] = {key: shipped["adapter"][key] for key in ("rank", "alpha")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch) / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        overlay = folder / "recipe.yaml"
        overlay.write_text(yaml.safe_dump({"train": own}))
        target = folder / "results/train/session1/history.jsonl"
        command = [
            sys.executable, "-m", "snakemake", "--cores", "2", str(target.relative_to(folder)), "--directory", str(folder),
            "--configfile", str(REPO / "workflow/recipes/demo.yaml"), str(overlay),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        lines = [json.loads(line) for line in target.read_text().splitlines()]
    first, last = (statistics.fmean(line["loss"] for line in part) for part in (lines[:MEAN_OF], lines[-MEAN_OF:]))
    moved = {line["step"]: line["share_moved"] for line in lines if "share_moved" in line}
    write("recipe-rate", {"train": own, "loss_first": first, "loss_last": last, "share_moved": moved})
    judge(
        [
            ("share of adapter entries that moved", moved[args.steps], 0.99, True),
            ("loss at the end beside the start", last / first, 1.0, False),
        ]
    )


if __name__ == "__main__":
    main()
