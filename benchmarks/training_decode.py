"""Our side of the decoding race of training.py: eight prompts, greedy, 64 new ids each.

Takes:  a model folder, a file of prompts (JSON: lists of ids); a line on stdin for each turn.
Leaves: a line of JSON for each: CPU seconds, the ids.

    python benchmarks/training_decode.py MODEL PROMPTS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from showwork.learn.device import keep_freed_memory
from showwork.learn.rollout import Request, generate
from showwork.model.config import GemmaConfig
from showwork.model.decode import unstack
from showwork.model.params import load_params, read_config

NEW = 64


def main() -> None:
    """Decode as told."""
    folder, prompts = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    cfg = GemmaConfig.from_hf(read_config(folder))
    weights = unstack(load_params(folder, cfg, "float32"), cfg)
    requests = [Request(p, (), NEW, i) for i, p in enumerate(prompts)]
    for _ in sys.stdin:
        begin = time.process_time()
        ids = [r.ids.tolist() for r in generate(weights, cfg, requests, slots=len(prompts))]
        print(json.dumps({"cpu_s": time.process_time() - begin, "ids": ids}), flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    main()
