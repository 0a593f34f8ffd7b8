from __future__ import annotations

import numpy as np
import pytest

from showwork.learn.budget import Costs, first_prompts, fitting
from showwork.tokens.packing import PackedArrays

COSTS = Costs(start=7, step=1, checkpoint=5, end=0, evaluation=20)


def test_the_example_of_the_docstring():
    assert fitting(100.0, COSTS, every=10) == 45


def test_the_chosen_steps_fit_and_one_more_would_not():
    rng = np.random.Generator(np.random.PCG64(0))
    for _ in range(200):
        costs = Costs(*rng.uniform(0.01, 10, 5))
        every, seconds = int(rng.integers(1, 40)), float(rng.uniform(60, 5000))
        steps = fitting(seconds, costs, every)
        assert costs.total(steps, every) <= 0.97 * seconds < costs.total(steps + 1, every)


def test_a_span_that_holds_no_step_says_what_each_part_takes_and_how_long_is_long_enough():
    with pytest.raises(
        ValueError, match=r"is 30 s, but one step takes 33 s .*\(start 7\.0 s, step 1\.0 s, .*above 34 s"
    ):
        fitting(30.0, COSTS, every=10)


def test_prompts_are_what_stands_before_the_first_trained_token():
    row = [[5, 6, 7, 8, 9, 0]]
    packed = PackedArrays(
        tokens=np.array(row), loss_mask=np.array([[0, 0, 1, 0, 1, 0]]), segment_ids=np.array([[1, 1, 1, 2, 2, 0]]),
        positions=np.array([[0, 1, 2, 0, 1, 0]]),
    )  # fmt: skip
    assert [ids.tolist() for ids in first_prompts(packed, 3)] == [[5, 6], [8], [5, 6]]
