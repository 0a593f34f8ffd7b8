"""Write the logits of transformers' own Gemmas (torch, float32, eager) for the tests that run without torch.

Takes   the configurations, weights and tokens of tests/tiny_gemma.py, which every environment draws alike.
Leaves  tests/fixtures/golden_logits.safetensors: per configuration, logits [2, 23, V] of two unpacked sequences.
Command python tests/parity/golden.py      (in the environment of envs/parity.txt; not needed unless a configuration changes)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tiny_gemma import CONFIGS, random_tokens, write_gemma  # noqa: E402

SHAPE = (2, 23)


def main() -> None:
    golden = {}
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_gemma(Path(folder), config)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager"
            ).eval()
        with torch.no_grad():
            golden[name] = model(torch.from_numpy(random_tokens(config, SHAPE)).long()).logits.numpy()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    save_file(golden, ROOT / "tests/fixtures/golden_logits.safetensors", metadata=versions)


if __name__ == "__main__":
    main()
