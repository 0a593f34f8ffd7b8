from __future__ import annotations

import numpy as np

from showwork.learn.groups import Draw, micro_batches
from showwork.learn.rollout import Rollout


def rollout(*ids: int) -> Rollout:
    return Rollout(np.array(ids, np.int32), np.full(len(ids), -0.5, np.float32), stopped=True)


def batches(rows: int) -> list[dict[str, np.ndarray]]:
    prompts = [np.array([2, 10], np.int32), np.array([2], np.int32)]
    rollouts = [rollout(20, 21, 22), rollout(30, 31, 32, 33)]
    return micro_batches(prompts, rollouts, np.array([0.5, -1.0]), np.array([0.1, 0.2]), length=6, rows=rows)


def test_worth_stands_on_the_completion_and_nothing_on_the_prompt():
    (whole,) = batches(rows=2)
    first = int(whole["tokens"][0, 1] != 10)
    row = {name: array[first].tolist() for name, array in whole.items()}
    assert row["tokens"] == [2, 10, 20, 21, 22, 0]
    assert row["loss_mask"] == [0, 0, 1, 1, 1, 0]
    assert row["advantage"] == [0, 0, 0.5, 0.5, 0.5, 0]
    assert row["share"] == [0, 0, *[float(np.float32(0.1))] * 3, 0]
    assert row["old"] == [0, 0, -0.5, -0.5, -0.5, 0]


def test_the_last_micro_batch_is_filled_with_padding():
    found = batches(rows=3)
    assert [b["tokens"].shape for b in found] == [(3, 6)]
    assert not found[0]["segment_ids"][2].any()
    assert len(batches(rows=1)) == 2


def test_draw_takes_every_prompt_once_a_pass_wherever_a_batch_begins():
    draw = Draw(10, "digest", seed=1)
    taken = [p for i in range(10) for p in draw(i * 3, 3)]
    assert sorted(taken[:10]) == sorted(taken[10:20]) == list(range(10))
    assert taken[:10] != taken[10:20]
    assert Draw(10, "digest", seed=1)(12, 3) == taken[12:15]
    assert Draw(10, "digest", seed=2)(0, 10) != taken[:10]
