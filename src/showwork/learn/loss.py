"""Cross-entropy over a large vocabulary without ever holding all logits: in chunks, over loss-bearing tokens only.

Takes   hidden states [T, D], the tied embedding [V, D], targets [T] and weights [T].
Leaves  the weighted sum of token losses, float32; its gradient is computed in the same pass, chunk by chunk.
Source  the chunked ("linear") cross-entropy of arXiv 2411.09009, as plain JAX: when the sum is formed, softmax minus
        one-hot is at hand, so the backward pass needs no second product with the vocabulary. Ours differs in that
        tokens of weight 0 are sorted behind the others and their chunks are never run.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

CHUNK_FLOATS = 2**23  # logits held at once: 32 MiB in float32
LEAST_CHUNK = 256  # tokens; below this the product with the vocabulary no longer fills a core

Residuals = tuple[jax.Array, jax.Array | None]
"""Gradients with respect to the states and, where it is trained, the table."""


def chunk_tokens(num_tokens: int, vocabulary: int) -> int:
    """Tokens per chunk: few enough that logits stay small and chunks of masked tokens can be left out.

    >>> chunk_tokens(2048, 262_144), chunk_tokens(32_768, 16_384), chunk_tokens(40, 100)
    (256, 512, 40)
    """
    return min(num_tokens, max(LEAST_CHUNK, min(CHUNK_FLOATS // vocabulary, num_tokens // 8)))


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def cross_entropy(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    softcap: float | None = None,
    chunk: int | None = None,
    train_table: bool = False,
) -> jax.Array:
    """Sum over tokens of weight x (log sum exp of the capped logits - the target's capped logit).

    Args:
      states: [T, D]; its dtype is the one of the matmuls, sums are float32.
      table: [V, D], the embedding that is also the head.
      targets: int [T].
      weights: float [T]; 0 leaves a token out. No gradient is taken with respect to weights.
      softcap: c in c * tanh(logit / c), or None.
      chunk: tokens at a time; None chooses.
      train_table: whether `table` gets a gradient (full fine-tuning); a frozen head does not pay for it.

    Returns:
      float32 scalar.
    """
    return _passes(states, table, targets, weights, softcap, chunk, train_table, with_gradient=False)[0]


def _forward(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    softcap: float | None,
    chunk: int | None,
    train_table: bool,
) -> tuple[jax.Array, Residuals]:
    loss, d_states, d_table = _passes(states, table, targets, weights, softcap, chunk, train_table, with_gradient=True)
    return loss, (d_states, d_table)


def _backward(
    softcap: float | None, chunk: int | None, train_table: bool, residuals: Residuals, upstream: jax.Array
) -> tuple[jax.Array, jax.Array | None, None, None]:
    d_states, d_table = residuals
    d_states = (d_states.astype(jnp.float32) * upstream).astype(d_states.dtype)
    return d_states, None if d_table is None else d_table * upstream, None, None


cross_entropy.defvjp(_forward, _backward)


def _passes(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    softcap: float | None,
    chunk: int | None,
    train_table: bool,
    *,
    with_gradient: bool,
) -> tuple[jax.Array, Any, jax.Array | None]:  # no gradient: None for both
    tokens, width = states.shape
    chunk = chunk or chunk_tokens(tokens, table.shape[0])
    num_chunks = -(-tokens // chunk)
    # Stable, so that a chunk holds neighbours and the sum has one order for a given mask.
    order = jnp.argsort(weights == 0, stable=True)
    places = jnp.pad(order, (0, num_chunks * chunk - tokens))
    head = table.astype(states.dtype)
    needed = jnp.sum(weights != 0)

    def one_chunk(number: jax.Array, carry: tuple) -> tuple:
        total, d_sorted, d_table = carry
        start = number * chunk
        here = jax.lax.dynamic_slice(places, (start,), (chunk,))
        # Beyond the last token the padding repeats token 0; its weight must not count again.
        weight = jnp.where(start + jnp.arange(chunk) < needed, weights[here], 0.0).astype(jnp.float32)
        x, target = states[here], targets[here]
        raw = jax.lax.dot_general(x, head, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
        bent = None if softcap is None else jnp.tanh(raw / softcap)
        logits = raw if bent is None or softcap is None else softcap * bent
        top = jnp.max(logits, axis=1, keepdims=True)
        exponentials = jnp.exp(logits - top)
        sums = jnp.sum(exponentials, axis=1, keepdims=True)
        picked = jnp.take_along_axis(logits, target[:, None], axis=1)
        total = total + jnp.sum(weight * (jnp.log(sums) + top - picked)[:, 0])
        if not with_gradient:
            return total, d_sorted, d_table
        hit = jnp.arange(table.shape[0])[None, :] == target[:, None]
        slope = (exponentials / sums - hit) * weight[:, None]
        if bent is not None:
            slope = slope * (1 - bent * bent)
        slope = slope.astype(states.dtype)
        d_x = jax.lax.dot_general(slope, head, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
        d_sorted = jax.lax.dynamic_update_slice(d_sorted, d_x.astype(states.dtype), (start, 0))
        if train_table:
            d_table = d_table + jax.lax.dot_general(
                slope, x, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
            )
        return total, d_sorted, d_table

    d_sorted = jnp.zeros((num_chunks * chunk, width), states.dtype) if with_gradient else None
    d_table = jnp.zeros(table.shape, jnp.float32) if with_gradient and train_table else None
    carry = (jnp.zeros((), jnp.float32), d_sorted, d_table)
    loss, d_sorted, d_table = jax.lax.fori_loop(0, -(-needed // chunk), one_chunk, carry)
    if not with_gradient:
        return loss, None, None
    d_states = jnp.zeros_like(states).at[order].set(d_sorted[:tokens], unique_indices=True)
    return loss, d_states, None if d_table is None else d_table.astype(table.dtype)


def cross_entropy_over(mesh: jax.sharding.Mesh | None, axis: str, *arrays: jax.Array, **static: Any) -> jax.Array:
    """`cross_entropy` whose tokens lie split over a mesh axis: each device sorts, chunks and sums its own.

    `arrays` and what comes back have the shapes of `cross_entropy`.
    """
    softcap, train_table = static["softcap"], static["train_table"]
    if mesh is None:
        return cross_entropy(*arrays, softcap, None, train_table)

    def own(*parts: jax.Array) -> jax.Array:
        return jax.lax.psum(cross_entropy(*parts, softcap, None, train_table), axis)

    tokens, whole = jax.sharding.PartitionSpec(axis), jax.sharding.PartitionSpec()
    return jax.shard_map(own, mesh=mesh, in_specs=(tokens, whole, tokens, tokens), out_specs=whole, check_vma=False)(
        *arrays
    )


def shifted(tokens: jax.Array, loss_mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Targets and weights for the states of `tokens`, both [B, L]: each place predicts the token after it.

    >>> shifted(jnp.array([[2, 10, 11, 0]]), jnp.array([[0, 0, 1, 0]]))[1]
    Array([[0., 1., 0., 0.]], dtype=float32)
    """
    weights = jnp.roll(loss_mask, -1, axis=1).at[:, -1].set(0).astype(jnp.float32)
    return jnp.roll(tokens, -1, axis=1), weights
