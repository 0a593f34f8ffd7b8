from __future__ import annotations

import numpy as np
import pytest

from showwork.learn.data import Order, num_steps


def test_every_epoch_takes_each_row_once_also_in_its_last_smaller_step():
    order = Order(num_rows=10, rows_per_step=4, digest="d", seed=1)
    assert order.steps_per_epoch == 3
    for epoch in range(3):
        taken = [order.rows_at(3 * epoch + i) for i in range(3)]
        assert [len(rows) for rows in taken] == [4, 4, 2]
        assert sorted(np.concatenate(taken).tolist()) == list(range(10))


def test_the_rows_of_a_step_depend_on_digest_seed_and_step_alone():
    def at(step, digest="d", seed=1):
        return Order(50, 8, digest, seed).rows_at(step).tolist()

    assert at(9) == at(9)
    assert at(0) != at(7)
    assert at(9) != at(9, digest="e")
    assert at(9) != at(9, seed=2)
    assert at(0)[:5] == [24, 43, 46, 35, 17]


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        ({"epochs": 1, "max_steps": None}, 3),
        ({"epochs": 2, "max_steps": None}, 6),
        ({"epochs": 0.5, "max_steps": None}, 2),
        ({"epochs": None, "max_steps": 7}, 7),
    ],
)
def test_steps_are_exact_integers(train, steps):
    assert num_steps(train | {"batch_size": 2, "gradient_accumulation": 2}, num_rows=10) == steps


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ({"epochs": 1, "max_steps": 5}, "epochs is 1 and max_steps is 5 but exactly one must be given"),
        ({"epochs": None, "max_steps": None}, "epochs is None and max_steps is None"),
        ({"epochs": 0, "max_steps": None}, "epochs is 0 but must be above 0"),
    ],
)
def test_neither_or_both_of_epochs_and_max_steps_is_refused(train, text):
    with pytest.raises(ValueError, match=text):
        num_steps(train | {"batch_size": 2, "gradient_accumulation": 2}, num_rows=10)
