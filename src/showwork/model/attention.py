"""Causal attention for packed rows: grouped heads, soft-cap, sliding window, segments, in blocks of queries.

*Takes* queries, keys and values after the rotary embedding. *Leaves* the attended values. Used by `model.gemma`
(training, whole rows) and `model.decode` (one token against a cache). Memory is one block of scores at a time: the
backward pass takes each block's scores again, so neither scores nor probabilities of a row are ever whole.

Source: Rabe & Staats 2021 (arXiv 2112.05682); ours keeps a whole row of keys per query block, because rows are a few
thousand tokens, and cuts keys that causality or the window rules out before multiplying; on a CPU also those that the
segments rule out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

QUERY_BLOCK = 256
SKIPPED_BLOCK = 128  # where blocks of keys are left out at run time: smaller ones leave out more
MAX_BLOCKS = 16  # beyond 4,096 tokens the blocks grow instead, so that compile time does not
Tree = Any
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


def _attended_backward(how: _How, arrays: tuple[jax.Array, ...], upstream: jax.Array) -> tuple[jax.Array | None, ...]:
    def unrolled(q: jax.Array, k: jax.Array, v: jax.Array, *packed: jax.Array) -> tuple[jax.Array, ...]:
        return jax.vjp(lambda *heads: _unrolled(how, *heads, *packed[:2]), q, k, v)[1](packed[2])

    found = jax.lax.platform_dependent(*arrays, upstream, cpu=partial(_skipping_backward, how), default=unrolled)
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


def _whole(how: _How, length: int) -> int:
    """Tokens of a row of `length` filled up to whole blocks."""
    block = min(how.block, SKIPPED_BLOCK, length)
    return -(-length // block) * block


def _in_blocks(how: _How, q: jax.Array, positions: jax.Array) -> tuple[int, int, tuple[int, ...], jax.Array]:
    """Tokens a block, blocks, the choices of `key_blocks`, which of them each block of queries takes: int [B, blocks]."""
    length = q.shape[3]
    block = min(how.block, SKIPPED_BLOCK, length)
    count = length // block
    back = positions if how.window is None else jnp.minimum(positions, how.window - 1)
    # A token that fills the row up is at position -1 and sees from the next column on: it asks for nothing.
    first = jnp.min((jnp.arange(length) - back).reshape(-1, count, block), axis=2)
    choices = key_blocks(count, block, how.window)
    return block, count, choices, jnp.searchsorted(jnp.array(choices), jnp.arange(count) - first // block + 1)


def _whole_blocks(length: int, *arrays: jax.Array) -> list[jax.Array]:
    """Arrays [..., L, H] and [B, L] filled up to `length` tokens, of the segment -1, which no token of the row sees."""

    def filled(a: jax.Array) -> jax.Array:
        at = max(1, a.ndim - 2)
        more = [(0, (length - a.shape[at]) * (i == at)) for i in range(a.ndim)]
        return jnp.pad(a, more, constant_values=-(a.ndim == 2))

    return [filled(a) for a in arrays]


class _Place(NamedTuple):
    """Tokens from `start` on of one row."""

    row: jax.Array
    start: jax.Array

    def of(self, array: jax.Array, axis: int) -> list[Any]:
        return [self.row, *(self.start if i == axis else 0 for i in range(1, array.ndim))]

    def cut(self, array: jax.Array, axis: int, size: int) -> jax.Array:
        sizes = [1, *(size if i == axis else n for i, n in enumerate(array.shape[1:], 1))]
        return jax.lax.dynamic_slice(array, self.of(array, axis), sizes)

    def put(self, array: jax.Array, part: jax.Array, axis: int) -> jax.Array:
        return jax.lax.dynamic_update_slice(array, part.astype(array.dtype), self.of(array, axis))


def _cut(
    own: _Place, seen: _Place, queries: int, keys: int, arrays: Sequence[jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The arrays of `attend_block` for one block of queries and the keys it is given."""
    q, k, v, positions, segment_ids = arrays
    return (
        own.cut(q, 3, queries), seen.cut(k, 2, keys), seen.cut(v, 2, keys),
        own.cut(positions, 1, queries), seen.cut(positions, 1, keys),
        own.cut(segment_ids, 1, queries), seen.cut(segment_ids, 1, keys),
    )  # fmt: skip


def _each_block(
    how: _How, arrays: Sequence[jax.Array], start: Tree, taken: Callable[[_Place, _Place, int, int, Tree], Tree]
) -> Tree:
    """`start` after `taken(queries' place, keys' place, queries, keys, what there is)` for each block of each row."""
    q, positions = arrays[0], arrays[3]
    block, count, choices, choice = _in_blocks(how, q, positions)

    def with_keys(blocks: int, row: jax.Array, number: jax.Array, found: Tree) -> Tree:
        first = jnp.maximum(number + 1 - blocks, 0)
        return taken(_Place(row, number * block), _Place(row, first * block), block, blocks * block, found)

    def one(at: jax.Array, found: Tree) -> Tree:
        row, number = at // count, at % count
        return jax.lax.switch(choice[row, number], [partial(with_keys, n) for n in choices], row, number, found)

    return jax.lax.fori_loop(0, positions.shape[0] * count, one, start)


def _skipping(how: _How, *given: jax.Array) -> jax.Array:
    length = given[0].shape[3]
    arrays = _whole_blocks(_whole(how, length), *given)

    def taken(own: _Place, seen: _Place, queries: int, keys: int, out: jax.Array) -> jax.Array:
        return own.put(out, how.one_block(*_cut(own, seen, queries, keys, arrays)), 3)

    out = _each_block(how, arrays, jnp.zeros(arrays[0].shape, arrays[2].dtype), taken)
    return out[:, :, :, :length]


def _skipping_backward(how: _How, *given: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    length = given[0].shape[3]
    *arrays, upstream = _whole_blocks(_whole(how, length), *given)
    q, k, v, *_ = arrays

    def taken(own: _Place, seen: _Place, queries: int, keys: int, grown: Tree) -> Tree:
        of_q, of_k, of_v = _block_backward(
            how, own.cut(upstream, 3, queries), *_cut(own, seen, queries, keys, arrays)
        )  # fmt: skip
        d_q, d_k, d_v = grown
        of_k, of_v = seen.cut(d_k, 3, keys) + of_k, seen.cut(d_v, 3, keys) + of_v
        return own.put(d_q, of_q, 3), seen.put(d_k, of_k, 3), seen.put(d_v, of_v, 3)

    turned = jnp.zeros(k.swapaxes(2, 3).shape, jnp.float32)
    d_q, d_k, d_v = _each_block(how, arrays, (jnp.zeros_like(q), turned, turned), taken)
    d_k, d_v = (d[..., :length].swapaxes(2, 3).astype(kind) for d, kind in ((d_k, k.dtype), (d_v, v.dtype)))
    return d_q[:, :, :, :length], d_k, d_v


def _block_backward(
    how: _How, upstream: jax.Array, q: jax.Array, k: jax.Array, v: jax.Array, *places: jax.Array
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
    turned = (batch, kv_heads, width, -1)
    return d_q.reshape(q.shape), d_k.reshape(turned), d_v.reshape(turned)


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
