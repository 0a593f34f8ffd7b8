"""How long the full recipe trains, at most, on accelerators that are not at hand: operations by formula, speed by data sheet.

Takes:  config.yaml, the shape of Gemma 2 2B, learn/flops.py.
Leaves: benchmarks/results/<date>-full-run.json. No measurement: every source row is taken to fill its `max_seq_length` tokens, all
        with loss, and a step to reach 20 to 40 % of the data sheet's bfloat16 speed. `snakemake plan` predicts from the packed rows and
        from a product measured on the machine at hand.

    python benchmarks/full_run.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml
from absent_device import SHAPE
from generate_sources import ROWS

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "src"))

from showwork.learn.flops import Work, useful  # noqa: E402
from showwork.model.config import GemmaConfig  # noqa: E402
from showwork.model.gemma import MODULES  # noqa: E402

PEAK_TFLOPS = {"H100 or H200": 989, "TPU v5p": 459}
"""bfloat16, dense. NVIDIA's data sheets of H100 SXM and H200 (half of the number with sparsity); Google's page of TPU v5p, a chip."""
SHARES = (0.4, 0.2)


def rows_of(sample: dict) -> int:
    """Source rows that a sample takes."""
    if sample["method"] == "full":
        return ROWS["raiden"]
    return sample["n"] if "n" in sample else sample["stop"] - sample["start"] + 1


def main() -> None:
    config = yaml.safe_load((REPO / "config.yaml").read_text())
    length, rank = config["template"]["max_seq_length"], config["train"]["adapter"]["rank"]
    cfg, found = GemmaConfig.from_hf(SHAPE), {}
    for name, session in config["sessions"].items():
        rows = sum(rows_of(config["samples"][sample]) for sample in session["samples"])
        pairs = rows * length * (length + 1) // 2  # the window is wider than a row
        flop = useful(cfg, SHAPE["vocab_size"], Work(rows * length, rows * length, pairs, pairs), MODULES, rank)
        hours = {
            device: [round(flop / (peak * 1e12 * share) / 3600, 2) for share in SHARES]
            for device, peak in PEAK_TFLOPS.items()
        }
        found[name] = {"rows": rows, "tokens_at_most": rows * length, "flop_at_most": flop, "hours_at_most": hours}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True).stdout.strip()
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    told = {
        "command": "python benchmarks/full_run.py", "commit": commit, "date": today, "model": "Gemma 2 2B shape",
        "rank": rank, "length": length, "peak_tflops": PEAK_TFLOPS, "shares": SHARES, "sessions": found,
    }  # fmt: skip
    (REPO / f"benchmarks/results/{today}-full-run.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
