"""Which packed rows step i trains on: a pure function of the packed rows' digest, the seed, and i.

Takes   the number of rows, a digest, a seed.
Leaves  row numbers for a step, and the batch as arrays [A, M, L]. There is no iterator, so there is no state to lose: a
        run that resumes at step i asks for step i.
Source  random bits of Philox, whose stream numpy fixes across versions, sorted: a permutation per epoch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from showwork.tokens.packing import PackedArrays


@dataclass(frozen=True)
class Order:
    """The order of the packed rows over all epochs.

    Every epoch takes each row once. Where the rows are no multiple of `rows_per_step`, an epoch's last step is smaller;
    losses are divided by the tokens there are, so nothing is weighted wrongly, no row is repeated and none left out.
    """

    num_rows: int
    rows_per_step: int
    digest: str
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every packed row once, the last perhaps with fewer."""
        return -(-self.num_rows // self.rows_per_step)

    def rows_at(self, step: int) -> np.ndarray:
        """Row numbers [n] of step 0, 1, …, at most `rows_per_step` of them."""
        epoch, place = divmod(step, self.steps_per_epoch)
        key = hashlib.sha256(f"{self.digest}:{self.seed}:{epoch}".encode()).digest()[:16]
        bits = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(self.num_rows)
        permutation = np.argsort(bits, kind="stable")
        return permutation[place * self.rows_per_step : (place + 1) * self.rows_per_step]


def num_steps(train: Mapping[str, Any], num_rows: int) -> int:
    """The exact number of optimizer steps of a session.

    `epochs` may be a fraction: 10 rows, 4 rows a step: 1 epoch is 3 steps, 0.5 epochs are 2, 2 epochs are 6.

    Raises:
      ValueError: both or neither of epochs and max_steps, or one that is not positive, a time budget: its steps are measured.
    """
    epochs: Any = train.get("epochs")
    most: Any = train.get("max_steps")
    if train.get("time_budget") is not None:
        raise ValueError(
            f"train: time_budget is {train['time_budget']!r}, and how many steps fit is known only to the training that measured it"
        )
    if (epochs is None) == (most is None):
        raise ValueError(
            f"train: epochs is {epochs} and max_steps is {most} but exactly one must be given; set the other to null"
        )
    steps: int = most if epochs is None else math.ceil(epochs * -(-num_rows // rows_per_step(train)))
    if steps < 1:
        raise ValueError(
            f"train: {'max_steps' if epochs is None else 'epochs'} is {most if epochs is None else epochs} but must be "
            "above 0; raise it"
        )
    return steps


def rows_per_step(train: Mapping[str, Any]) -> int:
    """Packed rows per optimizer step, over all devices: the user's contract, however it is cut up."""
    return train["batch_size"] * train["gradient_accumulation"]


def batch(
    packed: PackedArrays, rows: np.ndarray, num_rows: int, micro_rows: int, share: slice = slice(None)
) -> dict[str, np.ndarray]:
    """The arrays of `rows` as [num_rows / micro_rows, micro_rows, L]; missing rows are padding without loss.

    Args:
      share: which rows of each micro-batch are read; a process leaves the others to the others.
    """
    wanted = np.arange(num_rows).reshape(-1, micro_rows)[:, share]
    there = wanted < len(rows)
    found = {}
    for name in ("tokens", "loss_mask", "segment_ids", "positions"):
        array = getattr(packed, name)
        out = np.zeros((*wanted.shape, array.shape[1]), array.dtype)
        out[there] = array[rows[wanted[there]]]
        found[name] = out
    return found
