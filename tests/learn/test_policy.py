"""Scores of written tokens against the plainest form, value and gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from showwork.learn.policy import token_scores


def plain(states, table, targets, wanted, softcap, temperature):
    logits = states @ table.T
    logits = (logits if softcap is None else softcap * jnp.tanh(logits / softcap)) / temperature
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, targets[:, None], axis=1)[:, 0]
    return jnp.where(wanted, picked, 0), jnp.where(wanted, -jnp.sum(jnp.exp(log_probs) * log_probs, axis=1), 0)


@pytest.mark.parametrize(("softcap", "temperature"), [(None, 1.0), (3.0, 0.7)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_scores_and_gradients_are_those_of_a_plain_softmax(softcap, temperature, share):
    draws = np.random.Generator(np.random.PCG64(0))
    tokens = 601  # more than two chunks, and no multiple of one
    states = jnp.asarray(draws.normal(size=(tokens, 8)), jnp.float32)
    table = jnp.asarray(draws.normal(size=(40, 8)), jnp.float32)
    targets, wanted = jnp.asarray(draws.integers(0, 40, tokens)), jnp.asarray(draws.random(tokens) < share)
    upstream = jnp.asarray(draws.normal(size=tokens), jnp.float32)

    def ours(states, table):
        found = token_scores(states, table, targets, wanted, softcap, temperature, True)
        return jnp.sum(found[0] * upstream), found

    def theirs(states, table):
        found = plain(states, table, targets, wanted, softcap, temperature)
        return jnp.sum(found[0] * upstream), found

    (_, found), gradients = jax.value_and_grad(ours, (0, 1), has_aux=True)(states, table)
    (_, expected), others = jax.value_and_grad(theirs, (0, 1), has_aux=True)(states, table)
    for one, other in zip((*found, *gradients), (*expected, *others), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert bool((found[0][~wanted] == 0).all())
