"""Our side of training.py: the session's own step in the session's own loop, health metrics after every step.

Takes:  a model folder, packed or padded; lines `<file of examples>` on stdin, one for each optimizer step.
Leaves: a line of JSON for each: CPU seconds, tokens; the last line of the loop is the process's peak memory.

    python benchmarks/training_step.py MODEL packed|padded

The configuration is the shipped one but for rank 16, alpha 32, float32 and 2 x 2 rows of 1,024 a step, so that a step can be timed on
a CPU: remat block, micro-batches of 2 rows, clipping, AdamW, warm-up and cosine. `look_every` is 1: the share of entries moved and the
relative change of every module are computed at each step, which a session does at each checkpoint.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import yaml
from training_data import LENGTH, read_examples, rows_of

from showwork.learn.data import batch
from showwork.learn.device import compile_cache, keep_freed_memory
from showwork.learn.health import relative_change, share_moved
from showwork.learn.loop import train
from showwork.learn.session import Session, session
from showwork.learn.start import starting_point
from showwork.model.params import HF_NAMES, read_config

REPO = Path(__file__).resolve().parents[1]
RANK, ALPHA = 16, 32
ROWS, MICRO_ROWS = 4, 2
STEPS = 10_000


def made(folder: Path, length: int = LENGTH, **changed: Any) -> Session:
    """The session: config.yaml's training with what the races change."""
    shipped = yaml.safe_load((REPO / "config.yaml").read_text())["train"]
    shipped["adapter"] |= {"rank": RANK, "alpha": ALPHA}
    shipped |= {
        "batch_size": MICRO_ROWS,
        "gradient_accumulation": ROWS // MICRO_ROWS,
        "epochs": None,
        "max_steps": STEPS,
    }
    settings = {"name": "race", "seed": 42, "dtype": "float32", "max_seq_length": length, "train": shipped | changed}
    return session(settings, read_config(folder), ROWS)


class Trainer:
    """A session that is stepped from outside."""

    def __init__(self, folder: Path, length: int = LENGTH, **changed: Any):
        self.made = session = made(folder, length, **changed)
        frozen, trainable = starting_point(None, session, folder)
        self.begun = jax.tree.map(np.array, trainable)
        self.frozen = jax.device_put(frozen)
        self.state = jax.device_put(session.initial_state(trainable))
        self.step, self.done, self.lines = session.step(), 0, []

        @jax.jit
        def measured(begun: Any, now: Any, layers: Any) -> dict[str, Any]:
            changes = relative_change(now, layers, session.scale)
            moved = {HF_NAMES[m]: r for m, r in changes.items()}
            return {"share_moved": share_moved(begun, now), "relative_change": moved}

        self._measured = measured

    def once(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        """One step of the loop on a batch [A, M, L]: what the history would say of it."""
        self.state = train(
            self.state, self.step, self.frozen, lambda _: rows, start=self.done, stop=self.done + 1, look_every=1,
            look=lambda state: self._measured(self.begun, state["trainable"], self.frozen["layers"]),
            report=lambda _, numbers: self.lines.append(numbers), checkpoint=lambda _, state: None,
        )  # fmt: skip
        jax.block_until_ready(self.state)
        self.done += 1
        return self.lines[-1]


def main() -> None:
    """Steps as told."""
    folder, packed = Path(sys.argv[1]), sys.argv[2] == "packed"
    if len(sys.argv) > 3:
        compile_cache(Path(sys.argv[3]))
    trainer = Trainer(folder)
    kept: dict[str, Any] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in kept:
            # The same first examples as every contestant: enough for a hundred steps.
            kept[name] = (rows_of(read_examples(Path(name))[: 100 * ROWS * (8 if packed else 1)], packed=packed), [0])
        rows, used = kept[name]
        begin = time.process_time()
        numbers = trainer.once(batch(rows, used[0] + np.arange(ROWS), ROWS, MICRO_ROWS))
        took = time.process_time() - begin
        used[0] += ROWS
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told = {"cpu_s": took, "tokens": int(numbers["tokens"]), "loss": numbers["loss"], "peak_mb": peak}
        print(json.dumps({**told, "share_moved": numbers["share_moved"]}), flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    main()
