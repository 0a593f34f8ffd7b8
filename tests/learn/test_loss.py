from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from showwork.learn.loss import chunk_tokens, cross_entropy, shifted

T, D, V = 37, 8, 50


def inputs(seed: int = 0):
    a, b, c, d = jax.random.split(jax.random.key(seed), 4)
    states, table = jax.random.normal(a, (T, D)), jax.random.normal(b, (V, D))
    targets = jax.random.randint(c, (T,), 0, V)
    weights = (jax.random.uniform(d, (T,)) > 0.4) * jnp.linspace(0.5, 2, T)
    return states, table, targets, weights


def whole(states, table, targets, weights, softcap):
    logits = states @ table.T
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    return -(weights * jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], axis=1)[:, 0]).sum()


@pytest.mark.parametrize(("softcap", "chunk"), [(None, None), (3.0, 5), (3.0, 64)])
def test_chunked_loss_and_gradients_equal_those_of_whole_logits(softcap, chunk):
    states, table, targets, weights = inputs()
    wanted = jax.value_and_grad(whole, argnums=(0, 1))(states, table, targets, weights, softcap)
    found = jax.jit(jax.value_and_grad(cross_entropy, argnums=(0, 1)), static_argnums=(4, 5, 6))(
        states, table, targets, weights, softcap, chunk, True
    )
    jax.tree.map(lambda w, f: np.testing.assert_allclose(w, f, rtol=2e-5, atol=2e-6), wanted, found)
    alone = cross_entropy(states, table, targets, weights, softcap, chunk)
    np.testing.assert_allclose(wanted[0], alone, rtol=1e-6)


def test_a_scaled_loss_has_a_scaled_gradient():
    states, table, targets, weights = inputs(1)
    plain = jax.grad(cross_entropy)(states, table, targets, weights, 30.0)
    tripled = jax.grad(lambda s: 3 * cross_entropy(s, table, targets, weights, 30.0))(states)
    np.testing.assert_allclose(3 * plain, tripled, rtol=1e-6)


def test_tokens_of_weight_zero_cannot_be_felt():
    states, table, targets, weights = inputs(2)
    gradient = jax.grad(cross_entropy)(states, table, targets, weights)
    assert not np.asarray(gradient)[np.asarray(weights) == 0].any()
    other = jnp.where((weights == 0)[:, None], 1e3, states)
    assert cross_entropy(other, table, targets, weights) == cross_entropy(states, table, targets, weights)


def test_no_token_with_loss_is_no_loss_and_no_gradient():
    states, table, targets, weights = inputs(3)
    loss, gradient = jax.value_and_grad(cross_entropy)(states, table, targets, 0 * weights)
    assert loss == 0
    assert not np.asarray(gradient).any()


def test_bfloat16_states_give_a_float32_loss_close_to_the_exact_one():
    states, table, targets, weights = inputs(4)
    loss = cross_entropy(states.astype(jnp.bfloat16), table, targets, weights)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, whole(states, table, targets, weights, None), rtol=1e-2)


def test_logits_of_a_large_vocabulary_are_never_whole():
    tokens, vocabulary = 4096, 262_144
    chunk = chunk_tokens(tokens, vocabulary)
    assert chunk == 256
    shapes = (
        jax.ShapeDtypeStruct((tokens, 16), jnp.float32),
        jax.ShapeDtypeStruct((vocabulary, 16), jnp.float32),
        jax.ShapeDtypeStruct((tokens,), jnp.int32),
        jax.ShapeDtypeStruct((tokens,), jnp.float32),
    )
    compiled = jax.jit(jax.grad(cross_entropy)).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 0.25 * tokens * vocabulary * 4


def test_each_place_predicts_the_next_token_of_its_own_example():
    targets, weights = shifted(jnp.array([[2, 10, 11, 2, 20, 21, 0]]), jnp.array([[0, 0, 1, 0, 0, 1, 0]]))
    assert targets.tolist() == [[10, 11, 2, 20, 21, 0, 2]]
    assert weights.tolist() == [[0, 1, 0, 0, 1, 0, 0]]
