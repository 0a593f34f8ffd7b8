"""Causal attention for packed rows: grouped heads, soft-cap, sliding window, segments, in blocks of queries.

*Takes* queries, keys and values after the rotary embedding. *Leaves* the attended values. Used by `model.gemma`
(training, whole rows) and `model.decode` (one token against a cache). Memory is one block of scores at a time: each
block is checkpointed, so neither scores nor probabilities of a row are ever whole, forward or backward.

Source: Rabe & Staats 2021 (arXiv 2112.05682); ours keeps a whole row of keys per query block, because rows are a few
thousand tokens, and cuts keys that causality or the window rules out before multiplying.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

QUERY_BLOCK = 256
SKIPPED_BLOCK = 128  # where blocks of keys are left out at run time: smaller ones leave out more
MAX_BLOCKS = 16  # beyond 4,096 tokens the blocks grow instead, so that compile time does not
MASKED = -1e30  # finite: a masked score must lose against every real one and never make a NaN


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    positions: jax.Array,
    segment_ids: jax.Array,
    scale: float,
    softcap: float | None = None,
    window: int | None = None,
    block: int = QUERY_BLOCK,
) -> jax.Array:
    """Attend within rows of packed segments.

    A token sees the tokens of its own segment at its own position and before, at a distance below `window`. Distances
    are between true positions inside the segment, so a window is right for rows longer than itself.

        positions    0 1 2 0 1 2 3     window 2: row 6 (position 3 of segment 2)
        segment_ids  1 1 1 2 2 2 2     sees columns 5 and 6

    Args:
        q: [B, L, N, H], rotated.
        k: [B, L, K, H], rotated; N is a multiple of K.
        v: [B, L, K, H].
        positions: int [B, L], counting 0, 1, 2, … inside each segment.
        segment_ids: int [B, L]; a segment is one contiguous run. Padding has the id 0 and sees only padding.
        scale: factor on the scores before the soft-cap.
        softcap: c in c * tanh(score / c); None for none.
        window: tokens a token can see, itself included; None for all before it.
        block: queries per block.

    Returns:
        [B, L, N, H] in v's dtype. Scores and softmax are float32 whatever the inputs are.
    """
    batch, length, heads, width = q.shape
    kv_heads = k.shape[2]
    block = max(block, -(-length // MAX_BLOCKS))
    q = q.reshape(batch, length, kv_heads, heads // kv_heads, width).transpose(0, 2, 3, 1, 4)  # [B, K, G, L, H]
    k = k.transpose(0, 2, 1, 3)  # [B, K, L, H]
    v = v.transpose(0, 2, 1, 3)
    how = _How(scale, softcap, window, block)
    out = _attended(how, q, k, v, positions, segment_ids)
    return out.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, width)


class _How(NamedTuple):
    scale: float
    softcap: float | None
    window: int | None
    block: int

    @property
    def one_block(self) -> Callable[..., jax.Array]:
        return partial(attend_block, scale=self.scale, softcap=self.softcap, window=self.window)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attended(how: _How, *arrays: jax.Array) -> jax.Array:
    """q [B, K, G, L, H], k and v [B, K, L, H], positions and segment_ids [B, L] to [B, K, G, L, H].

    On a CPU a branch costs nothing, so blocks of keys that no query of a block sees are left out when it runs; on an accelerator a
    branch would wait for the host, so only what causality and the window rule out is left out, when it is compiled.
    """
    return jax.lax.platform_dependent(*arrays, cpu=partial(_skipping, how), default=partial(_unrolled, how))


def _attended_forward(how: _How, *arrays: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _attended(how, *arrays), arrays


def _attended_backward(
    how: _How, arrays: tuple[jax.Array, ...], upstream: jax.Array
) -> tuple[jax.Array | None, ...]:
    def unrolled(q: jax.Array, k: jax.Array, v: jax.Array, *packed: jax.Array) -> tuple[jax.Array, ...]:
        return jax.vjp(lambda *heads: _unrolled(how, *heads, *packed[:2]), q, k, v)[1](packed[2])

    found = jax.lax.platform_dependent(
        *arrays, upstream, cpu=partial(_skipping_backward, how), default=unrolled
    )
    return *found, None, None


_attended.defvjp(_attended_forward, _attended_backward)


def _unrolled(
    how: _How, q: jax.Array, k: jax.Array, v: jax.Array, positions: jax.Array, segment_ids: jax.Array
) -> jax.Array:
    one_block, length, out = jax.checkpoint(how.one_block), q.shape[3], []
    for start in range(0, length, how.block):
        own = slice(start, min(start + how.block, length))
        seen = slice(0 if how.window is None else max(0, start - how.window + 1), own.stop)
        out.append(
            one_block(
                q[:, :, :, own],
                k[:, :, seen],
                v[:, :, seen],
                positions[:, own],
                positions[:, seen],
                segment_ids[:, own],
                segment_ids[:, seen],
            )
        )
    return jnp.concatenate(out, axis=3) if len(out) > 1 else out[0]


def key_blocks(num_blocks: int, block: int, window: int | None) -> tuple[int, ...]:
    """How many blocks of keys a block of queries may be given: what it needs is rounded up to one of these.

    >>> key_blocks(16, 256, None), key_blocks(16, 256, 512), key_blocks(3, 256, None)
    ((1, 2, 3, 4, 6, 8, 12, 16), (1, 2, 3), (1, 2, 3))
    """
    most = num_blocks if window is None else min(num_blocks, 1 - (1 - window) // block)
    sizes = {n for power in range(most.bit_length()) for n in (1 << power, 3 << power)}
    return (*sorted(n for n in sizes if n < most), most)


def _in_blocks(how: _How, q: jax.Array, positions: jax.Array) -> tuple[int, int, tuple[int, ...], jax.Array]:
    """Tokens a block, blocks, the choices of `key_blocks` and which of them each block of queries takes, int [B, blocks]."""
    length = q.shape[3]
    block = min(how.block, SKIPPED_BLOCK, length)
    count = -(-length // block)
    back = positions if how.window is None else jnp.minimum(positions, how.window - 1)
    first = jnp.pad(jnp.arange(length) - back, ((0, 0), (0, count * block - length)), constant_values=length)
    first = jnp.min(first.reshape(-1, count, block), axis=2)
    choices = key_blocks(count, block, how.window)
    return block, count, choices, jnp.searchsorted(jnp.array(choices), jnp.arange(count) - first // block + 1)


def _whole_blocks(length: int, *arrays: jax.Array) -> list[jax.Array]:
    """Arrays [..., L, H] and [B, L] filled up to `length` tokens, of the segment -1, which no token of the row sees."""

    def filled(a: jax.Array) -> jax.Array:
        at = max(1, a.ndim - 2)
        return jnp.pad(a, [(0, (length - a.shape[at]) * (i == at)) for i in range(a.ndim)], constant_values=-(a.ndim == 2))

    return [filled(a) for a in arrays]


def _cut(array: jax.Array, row: jax.Array, axis: int, start: jax.Array, size: int) -> jax.Array:
    starts = [0] * array.ndim
    starts[0], starts[axis] = row, start
    sizes = list(array.shape)
    sizes[0], sizes[axis] = 1, size
    return jax.lax.dynamic_slice(array, starts, sizes)


def _put(array: jax.Array, part: jax.Array, row: jax.Array, axis: int, start: jax.Array) -> jax.Array:
    starts = [0] * array.ndim
    starts[0], starts[axis] = row, start
    return jax.lax.dynamic_update_slice(array, part, starts)


def _skipping(
    how: _How, q: jax.Array, k: jax.Array, v: jax.Array, positions: jax.Array, segment_ids: jax.Array
) -> jax.Array:
    block, count, choices, taken = _in_blocks(how, q, positions)
    batch, length = positions.shape
    q, k, v, positions, segment_ids = _whole_blocks(count * block, q, k, v, positions, segment_ids)

    def with_keys(blocks: int, row: jax.Array, number: jax.Array) -> jax.Array:
        own, seen = number * block, jnp.maximum(number + 1 - blocks, 0) * block
        return how.one_block(
            _cut(q, row, 3, own, block),
            _cut(k, row, 2, seen, blocks * block),
            _cut(v, row, 2, seen, blocks * block),
            _cut(positions, row, 1, own, block),
            _cut(positions, row, 1, seen, blocks * block),
            _cut(segment_ids, row, 1, own, block),
            _cut(segment_ids, row, 1, seen, blocks * block),
        )

    def one(at: jax.Array, out: jax.Array) -> jax.Array:
        row, number = at // count, at % count
        part = jax.lax.switch(taken[row, number], [partial(with_keys, n) for n in choices], row, number)
        return _put(out, part, row, 3, number * block)

    out = jax.lax.fori_loop(0, batch * count, one, jnp.zeros(q.shape, v.dtype))
    return out[:, :, :, :length]


def _skipping_backward(
    how: _How,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    upstream: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    block, count, choices, taken = _in_blocks(how, q, positions)
    batch, length = positions.shape
    q, k, v, positions, segment_ids, upstream = _whole_blocks(count * block, q, k, v, positions, segment_ids, upstream)

    def with_keys(blocks: int, row: jax.Array, number: jax.Array, grown: tuple[jax.Array, ...]) -> tuple:
        own, seen = number * block, jnp.maximum(number + 1 - blocks, 0) * block
        places = (
            _cut(positions, row, 1, own, block),
            _cut(positions, row, 1, seen, blocks * block),
            _cut(segment_ids, row, 1, own, block),
            _cut(segment_ids, row, 1, seen, blocks * block),
        )
        heads = (
            _cut(q, row, 3, own, block),
            _cut(k, row, 2, seen, blocks * block),
            _cut(v, row, 2, seen, blocks * block),
        )
        of_q, of_k, of_v = _block_backward(how, *heads, places, _cut(upstream, row, 3, own, block))
        d_q, d_k, d_v = grown
        return (
            _put(d_q, of_q.astype(d_q.dtype), row, 3, own),
            _put(d_k, _cut(d_k, row, 3, seen, blocks * block) + of_k, row, 3, seen),
            _put(d_v, _cut(d_v, row, 3, seen, blocks * block) + of_v, row, 3, seen),
        )

    def one(at: jax.Array, grown: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        row, number = at // count, at % count
        return jax.lax.switch(taken[row, number], [partial(with_keys, n) for n in choices], row, number, grown)

    turned = jnp.zeros(k.swapaxes(2, 3).shape, jnp.float32)
    d_q, d_k, d_v = jax.lax.fori_loop(0, batch * count, one, (jnp.zeros(q.shape, q.dtype), turned, turned))
    d_k, d_v = (d[..., :length].swapaxes(2, 3) for d in (d_k, d_v))
    return d_q[:, :, :, :length], d_k.astype(k.dtype), d_v.astype(v.dtype)


def _block_backward(
    how: _How, q: jax.Array, k: jax.Array, v: jax.Array, places: tuple[jax.Array, ...], upstream: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients of `attend_block`: of q [B, K, G, T, H], of k and v turned, float32 [B, K, H, S].

    Turned, because XLA:CPU is three times slower at a product over the first axis of its larger factor.
    """
    batch, kv_heads, groups, queries, width = q.shape
    flat_q, flat_up = (a.reshape(batch * kv_heads, groups * queries, width) for a in (q, upstream))
    flat_k, flat_v = (a.reshape(batch * kv_heads, -1, width) for a in (k, v))
    weights, bent = _weights(how, q, k, *places)
    d_v = _product(flat_up, weights.astype(v.dtype), 1, 1)
    d_weights = _product(flat_up, flat_v, 2, 2)
    d_scores = weights * (d_weights - jnp.sum(d_weights * weights, axis=-1, keepdims=True)) * how.scale
    if bent is not None:
        d_scores = d_scores * (1 - bent * bent)
    d_scores = d_scores.astype(q.dtype)
    d_q, d_k = _product(d_scores, flat_k, 2, 1), _product(flat_q, d_scores, 1, 1)
    return d_q.reshape(q.shape), *(d.reshape(batch, kv_heads, width, -1) for d in (d_k, d_v))


def _product(x: jax.Array, y: jax.Array, of_x: int, of_y: int) -> jax.Array:
    """Products, float32, of matrices [many, …] over one axis of each."""
    return jax.lax.dot_general(x, y, (((of_x,), (of_y,)), ((0,), (0,))), preferred_element_type=jnp.float32)


def attend_block(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_positions: jax.Array,
    k_positions: jax.Array,
    q_segments: jax.Array | None = None,
    k_segments: jax.Array | None = None,
    *,
    scale: float,
    softcap: float | None,
    window: int | None,
) -> jax.Array:
    """Attend T queries to S keys as one batched dot per side (XLA:CPU is 1.8 times slower on the 5-D einsum).

    Args:
        q: [B, K, G, T, H].
        k: [B, K, S, H].
        v: [B, K, S, H].
        q_positions: int [B, T].
        k_positions: int [B, S].
        q_segments: int [B, T], or None when all keys are of the queries' own sequence.
        k_segments: int [B, S].

    Returns:
        [B, K, G, T, H] in v's dtype.

    Raises:
        ValueError: segments of one side only.
    """
    if (q_segments is None) != (k_segments is None):
        raise ValueError(
            "attention got segments of one side only, wanted both or neither; give q_segments and k_segments."
        )
    batch, kv_heads, groups, queries, width = q.shape
    keys = k.shape[2]
    how = _How(scale, softcap, window, queries)
    weights, _ = _weights(how, q, k, q_positions, k_positions, q_segments, k_segments)
    flat_v = v.reshape(batch * kv_heads, keys, width)
    out = jax.lax.dot_general(weights.astype(v.dtype), flat_v, (((2,), (1,)), ((0,), (0,))))
    return out.reshape(batch, kv_heads, groups, queries, width)


def _weights(
    how: _How,
    q: jax.Array,
    k: jax.Array,
    q_positions: jax.Array,
    k_positions: jax.Array,
    q_segments: jax.Array | None,
    k_segments: jax.Array | None,
) -> tuple[jax.Array, jax.Array | None]:
    """Softmax of the scores of `attend_block`, float32 [B*K, G*T, S], and the soft-cap's tanh, where there is one."""
    batch, kv_heads, groups, queries, width = q.shape
    keys = k.shape[2]
    flat_q = q.reshape(batch * kv_heads, groups * queries, width)
    flat_k = k.reshape(batch * kv_heads, keys, width)
    scores = _product(flat_q, flat_k, 2, 2) * how.scale
    bent = None if how.softcap is None else jnp.tanh(scores / how.softcap)
    if bent is not None and how.softcap is not None:
        scores = how.softcap * bent
    distance = q_positions[:, :, None] - k_positions[:, None, :]  # [B, T, S]
    seen = distance >= 0
    if how.window is not None:
        seen &= distance < how.window
    if q_segments is not None and k_segments is not None:
        seen &= q_segments[:, :, None] == k_segments[:, None, :]
    scores = scores.reshape(batch, kv_heads, groups, queries, keys)
    scores = jnp.where(seen[:, None, None], scores, MASKED)
    return jax.nn.softmax(scores, axis=-1).reshape(flat_q.shape[0], groups * queries, keys), bent
