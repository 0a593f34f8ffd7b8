"""Our side of the GRPO race of rollout.py: prompts asked, rollouts paid and compared, one update, as the stage does it.

Takes:  a model folder, a file of work (JSON: prompts, new, group_size, batch); a line on stdin for each step.
Leaves: a line of JSON for each: CPU seconds, tokens of the rollouts, the mean reward.

    python benchmarks/grpo_step.py MODEL WORK
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import yaml
from training_step import ALPHA, RANK, REPO, STEPS

from showwork.learn.asking import Prompts, Teacher
from showwork.learn.device import keep_freed_memory
from showwork.learn.grpo import resolved
from showwork.learn.learner import Learner
from showwork.learn.reward import Attempt
from showwork.learn.session import policy_session
from showwork.learn.start import starting_point
from showwork.model.params import read_config

LENGTH, MICRO_ROWS = 256, 8
NUMBERS: Any = SimpleNamespace(
    end_of_turn_id=107, control_ids={"<eos>": 1}, decode=lambda ids: " ".join(map(str, ids))
)  # a tokenizer of numbers, as the peer has it


def even(attempt: Attempt) -> float:
    """The share of even ids of a completion."""
    return float(np.mean([int(n) % 2 == 0 for n in attempt.text.split()]))


def settings_of(work: dict[str, Any]) -> dict[str, Any]:
    """The session: config.yaml's training with what the race changes."""
    train = yaml.safe_load((REPO / "config.yaml").read_text())["train"]
    train["adapter"] |= {"rank": RANK, "alpha": ALPHA}
    train |= {"batch_size": MICRO_ROWS, "epochs": None, "max_steps": STEPS, "remat": "none", "method": "grpo"}
    train["grpo"] |= {
        "variant": "grpo", "group_size": work["group_size"], "prompts_per_batch": work["batch"], "max_new_tokens": work["new"],
        "slots": work["batch"] * work["group_size"], "reference": None, "kl": 0.0, "soft_limit_tokens": 0,
        "rewards": {"grpo_step:even": 1.0},
    }  # fmt: skip
    return {
        "name": "race", "seed": 42, "dtype": "float32", "max_seq_length": LENGTH, "train": train,
        "answer_match_max_characters": 64,
    }  # fmt: skip


def main() -> None:
    """Steps as told."""
    folder, work = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    settings = settings_of(work)
    how = resolved(settings["train"]["grpo"])
    ids = [np.array(p, np.int32) for p in work["prompts"]]
    record = {"source": "race", "question": "", "answer": ""}
    prompts = Prompts([{**record, "record_id": str(i)} for i in range(len(ids))], ids, len(ids), {}, "race")
    made = policy_session(settings, read_config(folder), len(ids), how)
    teacher, learner = Teacher(made.cfg, NUMBERS, prompts, settings, how), Learner(made, how)
    frozen, trainable = starting_point(None, made, folder)
    state = jax.device_put(made.initial_state(trainable))
    for number, _ in enumerate(sys.stdin):
        begin = time.process_time()
        batch = teacher.batch(number, learner.weights(state["trainable"], frozen), made)
        state, _ = learner.update(state, frozen, batch.micros, first=True)
        jax.block_until_ready(state)
        took = time.process_time() - begin
        told = {"tokens": int(batch.numbers["rollout_tokens"]), "reward": float(batch.numbers["reward"])}
        print(json.dumps({"cpu_s": took, **told}), flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    main()
