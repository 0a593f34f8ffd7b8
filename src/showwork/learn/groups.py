"""Rollouts as rows to learn from: prompt and completion of each, several to a row, with what every token is worth.

Takes   prompts, their completions, one advantage and one share in the loss for each completion.
Leaves  micro-batches of packed rows [M, L], as learn/grpo.py takes them; all of one shape, the last filled up with padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from showwork.learn.data import Order
from showwork.learn.rollout import Rollout
from showwork.tokens.packing import DTYPES, PackedArrays, best_fit_decreasing, pack


def micro_batches(
    prompts: Sequence[np.ndarray],
    rollouts: Sequence[Rollout],
    advantage: np.ndarray,
    share: np.ndarray,
    *,
    length: int,
    rows: int,
) -> list[dict[str, np.ndarray]]:
    """Dicts of arrays [rows, length]: the packed four, and float32 `advantage`, `share`, `old` and `reference`.

    A prompt of 2 ids and a completion of 3 with the advantage 0.5 and the share 0.1, in a row of 6:

        tokens     2 10 20 21 22  0        loss_mask 0 0 1 1 1 0
        advantage  0 0 .5 .5 .5 0          share     0 0 .1 .1 .1 0

    Args:
      prompts, rollouts: one of each per sequence.
      advantage, share: [sequences].
      length: of a row; every sequence fits into one.
      rows: of a micro-batch.
    """
    ids = [np.concatenate([p, r.ids]).astype(np.int32) for p, r in zip(prompts, rollouts, strict=True)]
    bins = best_fit_decreasing([len(i) for i in ids], length)
    shape = (-(-len(bins) // rows) * rows, length)
    arrays = PackedArrays(**{name: np.zeros(shape, dtype) for name, dtype in DTYPES.items()})
    pack(bins, [(i, (np.arange(len(i)) >= len(p)).astype(np.uint8)) for i, p in zip(ids, prompts, strict=True)], arrays)
    worth = {name: np.zeros(shape, np.float32) for name in ("advantage", "share", "old", "reference")}
    for row, members in enumerate(bins):
        for segment, member in enumerate(members, start=1):
            mine = (arrays.segment_ids[row] == segment) & (arrays.loss_mask[row] > 0)
            worth["advantage"][row, mine] = advantage[member]
            worth["share"][row, mine] = share[member]
            worth["old"][row, mine] = rollouts[member].log_probs
    whole = {name: getattr(arrays, name) for name in DTYPES} | worth
    return [{name: a[start : start + rows] for name, a in whole.items()} for start in range(0, shape[0], rows)]


class Draw:
    """Which prompts a batch asks: a permutation of all of them for each pass, one pass after the other.

    A batch may begin in one pass and end in the next. There is no state: batch i is a function of i alone.
    """

    def __init__(self, num_prompts: int, digest: str, seed: int):
        self._order = Order(num_prompts, num_prompts, digest, seed)
        self._pass: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __call__(self, start: int, count: int) -> list[int]:
        """Numbers of the prompts at places start, start + 1, …"""
        return list(self._at(start, count))

    def _at(self, start: int, count: int) -> Iterator[int]:
        for place in range(start, start + count):
            number, within = divmod(place, self._order.num_rows)
            if self._pass[0] != number:
                self._pass = (number, self._order.rows_at(number))
            yield int(self._pass[1][within])
