from __future__ import annotations

import numpy as np
import pytest

from showwork.learn.advantage import advantages, alike


@pytest.mark.parametrize("scale", [True, False])
def test_advantages_sum_to_zero_in_every_group(scale):
    rewards = np.random.Generator(np.random.PCG64(0)).normal(size=(50, 7))
    found = advantages(rewards, scale_by_std=scale)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=2e-6)
    assert (np.argsort(found, axis=1) == np.argsort(rewards, axis=1)).all()


def test_equal_rewards_give_exactly_zero_even_where_their_mean_is_rounded():
    rewards = np.array([[0.1, 0.1, 0.1], [0.7, 0.7, 0.7], [1.0, 0.0, 0.5]])
    assert rewards[0].mean() != 0.1, "a sum that is rounded is what this test is about"
    found = advantages(rewards, scale_by_std=True)
    assert (found[:2] == 0).all()
    assert alike(rewards).tolist() == [True, True, False]


def test_scaled_advantages_have_the_spread_one_and_unscaled_ones_that_of_the_rewards():
    rewards = np.array([[1.0, 0.0, 0.0, 0.0]])
    assert advantages(rewards, scale_by_std=True).std() == pytest.approx(1)
    assert advantages(rewards, scale_by_std=False).tolist() == [[0.75, -0.25, -0.25, -0.25]]


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match="group_size is 1, wanted at least 2: an advantage compares rollouts"):
        advantages(np.zeros((3, 1)), scale_by_std=True)
