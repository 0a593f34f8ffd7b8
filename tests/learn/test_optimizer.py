from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from showwork.learn.optimizer import adamw, decayed, schedule

BASE = {"learning_rate": 1.0, "warmup_steps": 4}


def rates(kind: str, steps: int = 24) -> np.ndarray:
    at = schedule(BASE | {"schedule": kind}, steps)
    return np.array([at(s) for s in range(steps)])


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant", "wsd"])
def test_every_schedule_warms_up_to_the_learning_rate_without_a_step_at_zero(kind):
    np.testing.assert_allclose(rates(kind)[:5], [0.25, 0.5, 0.75, 1.0, 1.0], rtol=1e-6)


def test_schedules_end_as_their_names_say():
    assert rates("constant")[-1] == 1
    np.testing.assert_allclose(rates("linear")[4:], np.arange(20, 0, -1) / 20, rtol=1e-6)
    np.testing.assert_allclose(rates("cosine")[14], 0.5, rtol=1e-6)
    assert 0 < rates("cosine")[-1] < 0.01
    np.testing.assert_allclose(rates("wsd")[18:], [1, 1, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps is 4 but the session has only 4 steps; lower warmup_steps"):
        schedule(BASE | {"schedule": "cosine"}, 4)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match=r"train.schedule is 'cosin' but must be one of cosine, linear, constant, wsd"):
        schedule(BASE | {"schedule": "cosin"}, 40)


def test_weight_decay_acts_on_matrices_and_not_on_norms():
    tree = {"layers": {"q": jnp.ones((2, 3, 3)), "input_norm": jnp.ones((2, 3))}, "final_norm": jnp.ones(3)}
    assert decayed(tree) == {"layers": {"q": True, "input_norm": False}, "final_norm": False}
    optimizer = adamw({"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "weight_decay": 0.1})
    zero = jax.tree.map(jnp.zeros_like, tree)
    updates, _ = optimizer.update(zero, optimizer.init(tree), tree)
    np.testing.assert_allclose(updates["layers"]["q"], 0.1, rtol=1e-6)
    assert not updates["layers"]["input_norm"].any()
