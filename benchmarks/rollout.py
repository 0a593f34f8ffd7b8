"""Our rollouts against tunix's sampler and transformers' generate, and one whole GRPO step against tunix's GRPO learner.

Takes:  a folder to work in; the peers' environments (`make peers`).
Leaves: tables and benchmarks/results/<date>-rollout-<race>.json; exit status 1 below the bars.

    python benchmarks/rollout.py work/benchmark [--only mixed] [--rounds 5] [--core 0]

Processes, turns and CPU seconds as in training.py, on its model of 19.6 M parameters in float32.
    mixed   64 prompts of 32 to 64 ids, 16 in flight, greedy; one id in 16 ends a completion, 192 ids at most. Lengths come out mixed
            (the result lists them). The peers have no slot refill: they take 16 prompts a call in the order given, and a call lasts as
            long as its longest completion. Ids must be identical.
    step    8 prompts of 32 to 64 ids x 8 rollouts, temperature 1, 64 new ids each without a stop, LoRA of rank 16 on all linears, a
            reward of the text alone, one optimizer step, no reference, the compiled code warm. tunix: GRPOLearner on its vanilla rollout,
            all 64 rollouts in one micro-batch of rollout and of training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from race import judge, write
from training import LIVELY, Bars, decoders, ours, ratio, rounds_of, tunix
from training_data import read_examples, write_examples, write_model

STOP_SHARE = 16  # one id in so many ends a completion


def prompts_of(folder: Path, count: int) -> list[list[int]]:
    """`count` prompts of 32 to 64 ids."""
    examples = read_examples(write_examples(folder / "few.npz", "mix", 16_384, 400))
    long = [ids for ids, _ in examples if len(ids) >= 64]
    return [long[i][: 32 + (7 * i) % 33].tolist() for i in range(count)]


def mixed(folder: Path, rounds: int, core: int) -> Bars:
    """Greedy completions of mixed lengths, slots refilled."""
    model = write_model(folder / "m16k", "m16k", post_norm=LIVELY)
    ids = np.arange(108, 16_384)
    stops = np.random.Generator(np.random.PCG64(2)).choice(ids, 16_384 // STOP_SHARE, replace=False)
    work: dict[str, Any] = {"prompts": prompts_of(folder, 64), "stop_ids": stops.tolist(), "new": 192, "slots": 16}
    return decoders("rollout-mixed", folder, model, work, rounds, core, {"tunix": 1.3, "transformers": 1.6})


def step(folder: Path, rounds: int, core: int) -> Bars:
    """Rollouts, rewards, advantages and the update."""
    model, file = write_model(folder / "m16k", "m16k", post_norm=LIVELY), folder / "step.json"
    file.write_text(
        json.dumps({"prompts": prompts_of(folder, 8 * (rounds + 1)), "new": 64, "group_size": 8, "batch": 8})
    )
    contestants = {
        "tunix": tunix("tunix_grpo.py", model, file),
        "ours": ours("grpo_step.py", model, file),
    }
    runs = rounds_of(contestants, dict.fromkeys(contestants, ""), rounds, core, folder)
    times = ratio(runs, "tunix", "ours")
    write("rollout-step", {"times": times, "runs": runs})
    return [("a GRPO step, times tunix", times, 1.3, True)]


RACES = {"mixed": mixed, "step": step}


def main() -> None:
    """Race, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0, help="all processes are pinned to it")
    parser.add_argument("--only", choices=list(RACES), nargs="+", default=list(RACES))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found: Bars = []
    for name in args.only:
        with tempfile.TemporaryDirectory(dir=args.folder) as out:
            found += RACES[name](Path(out).resolve(), args.rounds, args.core)
    judge(found)


if __name__ == "__main__":
    main()
