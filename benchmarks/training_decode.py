"""Our side of the decoding races of training.py and rollout.py: greedy completions of many prompts.

Takes:  a model folder, a file of work (JSON: prompts, lists of ids; stop_ids; new, the limit; slots); a line on stdin for a turn.
Leaves: a line of JSON for each: CPU seconds, tokens written, the ids up to the first stop.

    python benchmarks/training_decode.py MODEL WORK
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


def main() -> None:
    """Decode as told."""
    folder, work = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    cfg = GemmaConfig.from_hf(read_config(folder))
    weights = unstack(load_params(folder, cfg, "float32"), cfg)
    stops = tuple(work["stop_ids"])
    requests = [Request(p, stops, work["new"], i) for i, p in enumerate(work["prompts"])]
    for _ in sys.stdin:
        begin = time.process_time()
        told = generate(weights, cfg, requests, slots=work["slots"])
        took = time.process_time() - begin
        ids = [(r.ids[:-1] if r.stopped else r.ids).tolist() for r in told]
        print(json.dumps({"cpu_s": took, "tokens": sum(len(r.ids) for r in told), "ids": ids}), flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    main()
