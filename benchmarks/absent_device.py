"""The memory of a step with Gemma-2-2B's shape, compiled for an H200 that is not there.

Takes:  the compilers (`make absent`); no weights, no network.
Leaves: benchmarks/results/<date>-absent-device.json; exit status 1 above the bars.

    python benchmarks/absent_device.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
SHAPE = {
    "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000,
    "query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 8192,
    "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True, "attention_bias": False,
}  # fmt: skip
BARS = {2: 1.2, 32: 10.0}
"""{packed rows of 1,024 tokens: GB of temporary memory at most}"""


def main() -> int:
    found, missed = {}, False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(SHAPE))
        for rows, bar in BARS.items():
            command = [sys.executable, "-m", "showwork.cli", "fits", "h200", "--model", folder, "--rows", str(rows)]
            command += ["--micro-rows", str(rows), "--remat", "block"]
            places = os.pathsep.join([str(REPO / "src"), os.environ.get("PYTHONPATH", ""), str(REPO / ".absent")])
            run = subprocess.run(command, env={**os.environ, "PYTHONPATH": places}, stdout=subprocess.PIPE, text=True)
            print(run.stdout, end="")
            temporary = re.search(r"([\d.]+) GB temporary", run.stdout)
            if not temporary:
                return 1
            held = float(re.search(r"([\d.]+) GB held", run.stdout)[1])
            found[f"{rows}x1024"] = {"held_gb": held, "temporary_gb": float(temporary[1]), "bar_gb": bar}
            missed |= float(temporary[1]) > bar
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True).stdout.strip()
    result = {
        "name": "absent-device", "date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit, "command": "python benchmarks/absent_device.py",
        "model": "Gemma-2-2B shape, LoRA rank 64 on all linears, remat block, bfloat16", "device": "h200, described",
        "versions": [
            line for line in (REPO / "envs/absent-device.txt").read_text().splitlines() if "==" in line
        ],
        "memory": found,
    }  # fmt: skip
    out = REPO / f"benchmarks/results/{datetime.now(UTC):%Y-%m-%d}-absent-device.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
