"""What a model thinks of tokens that are already written, so that gradients can be taken: log-probability and entropy.

Takes   hidden states [T, D], the tied embedding [V, D], targets [T], and which of them are wanted.
Leaves  log-probabilities [T], differentiable in the states (and in the embedding, when it is trained), and entropies [T].
Source  as in learn/loss.py, chunk by chunk over wanted tokens only, so that the vocabulary-wide logits of all tokens never
        exist at once. There the gradient is known when the loss is; here a loss is still to be made of each token, so the
        backward pass makes the logits of a chunk a second time.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from showwork.learn.loss import chunk_tokens

Scores = tuple[jax.Array, jax.Array]
Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def token_scores(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    wanted: jax.Array,
    softcap: float | None = None,
    temperature: float = 1.0,
    train_table: bool = False,
) -> Scores:
    """log softmax(logits / temperature) at the targets, and the entropy of that distribution.

    Args:
      states: [T, D]; its dtype is the one of the matmuls, the rest is float32.
      table: [V, D], the embedding that is also the head.
      targets: int [T].
      wanted: bool [T]; elsewhere both results are 0 and nothing is computed.
      softcap: c in c * tanh(logit / c), or None.
      temperature: above 0; 1 is the model's own distribution.
      train_table: whether `table` gets a gradient.

    Returns:
      log-probabilities [T] and entropies [T] in nats, float32. Entropies have no gradient.
    """
    return _scores(states, table, targets, wanted, softcap, temperature)


def _forward(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    wanted: jax.Array,
    softcap: float | None,
    temperature: float,
    train_table: bool,
) -> tuple[Scores, Residuals]:
    return _scores(states, table, targets, wanted, softcap, temperature), (states, table, targets, wanted)


def _backward(
    softcap: float | None, temperature: float, train_table: bool, residuals: Residuals, upstream: Scores
) -> tuple[jax.Array, jax.Array | None, None, None]:
    states, table, targets, wanted = residuals
    slopes = upstream[0]
    order, places, chunk, needed = _chunks(states, table, wanted)
    head = table.astype(states.dtype)

    def one_chunk(number: jax.Array, carry: tuple) -> tuple:
        d_sorted, d_table = carry
        here = jax.lax.dynamic_slice(places, (number * chunk,), (chunk,))
        x, target = states[here], targets[here]
        slope = jnp.where(number * chunk + jnp.arange(chunk) < needed, slopes[here], 0.0)
        logits, bent = _logits(x, head, softcap, temperature)
        hit = jnp.arange(table.shape[0])[None, :] == target[:, None]
        d_logits = (hit - jax.nn.softmax(logits, axis=1)) * (slope / temperature)[:, None]
        if bent is not None:
            d_logits = d_logits * (1 - bent * bent)
        d_logits = d_logits.astype(states.dtype)
        d_x = jax.lax.dot_general(d_logits, head, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
        d_sorted = jax.lax.dynamic_update_slice(d_sorted, d_x.astype(states.dtype), (number * chunk, 0))
        if train_table:
            d_table = d_table + jax.lax.dot_general(
                d_logits, x, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
            )
        return d_sorted, d_table

    carry = (
        jnp.zeros((len(places), states.shape[1]), states.dtype),
        jnp.zeros(table.shape, jnp.float32) if train_table else None,
    )
    d_sorted, d_table = jax.lax.fori_loop(0, -(-needed // chunk), one_chunk, carry)
    d_states = jnp.zeros_like(states).at[order].set(d_sorted[: len(states)], unique_indices=True)
    return d_states, None if d_table is None else d_table.astype(table.dtype), None, None


token_scores.defvjp(_forward, _backward)


def _chunks(states: jax.Array, table: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array, int, jax.Array]:
    """Tokens with the wanted ones first, the same padded to whole chunks, a chunk's length, the number wanted."""
    tokens = len(states)
    chunk = chunk_tokens(tokens, table.shape[0])
    order = jnp.argsort(~wanted, stable=True)
    return order, jnp.pad(order, (0, -tokens % chunk)), chunk, jnp.sum(wanted)


def _logits(
    x: jax.Array, head: jax.Array, softcap: float | None, temperature: float
) -> tuple[jax.Array, jax.Array | None]:
    """Logits over temperature, and the tanh inside the cap."""
    raw = jax.lax.dot_general(x, head, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
    bent = None if softcap is None else jnp.tanh(raw / softcap)
    return (raw if bent is None or softcap is None else softcap * bent) / temperature, bent


def _scores(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    wanted: jax.Array,
    softcap: float | None,
    temperature: float,
) -> Scores:
    order, places, chunk, needed = _chunks(states, table, wanted)
    head = table.astype(states.dtype)

    def one_chunk(number: jax.Array, carry: tuple) -> tuple:
        here = jax.lax.dynamic_slice(places, (number * chunk,), (chunk,))
        logits, _ = _logits(states[here], head, softcap, temperature)
        total = jax.nn.logsumexp(logits, axis=1)
        picked = jnp.take_along_axis(logits, targets[here][:, None], axis=1)[:, 0]
        entropy = total - jnp.sum(jax.nn.softmax(logits, axis=1) * logits, axis=1)
        found = (picked - total, entropy)
        return tuple(jax.lax.dynamic_update_slice(a, v, (number * chunk,)) for a, v in zip(carry, found, strict=True))

    empty = (jnp.zeros(len(places), jnp.float32), jnp.zeros(len(places), jnp.float32))
    found = jax.lax.fori_loop(0, -(-needed // chunk), one_chunk, empty)
    real = jnp.arange(len(states)) < needed  # the last chunk also met tokens that were not wanted
    log_probabilities, entropies = (
        jnp.zeros(len(states), jnp.float32).at[order].set(jnp.where(real, a[: len(states)], 0.0), unique_indices=True)
        for a in found
    )
    return log_probabilities, entropies
