"""Causal attention for packed rows: grouped heads, soft-cap, sliding window, segments, in blocks of queries.

*Takes* queries, keys and values after the rotary embedding. *Leaves* the attended values. Used by `model.gemma`
(training, whole rows) and `model.decode` (one token against a cache). Memory is one block of scores at a time: each
block is checkpointed, so neither scores nor probabilities of a row are ever whole, forward or backward.

Source: Rabe & Staats 2021 (arXiv 2112.05682); ours keeps a whole row of keys per query block, because rows are a few
thousand tokens, and cuts keys that causality or the window rules out before multiplying.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

QUERY_BLOCK = 256
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
    groups = heads // kv_heads
    block = max(block, -(-length // MAX_BLOCKS))
    q = q.reshape(batch, length, kv_heads, groups, width).transpose(0, 2, 3, 1, 4)  # [B, K, G, L, H]
    k = k.transpose(0, 2, 1, 3)  # [B, K, L, H]
    v = v.transpose(0, 2, 1, 3)
    one_block = jax.checkpoint(partial(attend_block, scale=scale, softcap=softcap, window=window))
    out = []
    for start in range(0, length, block):
        stop = min(start + block, length)
        first = 0 if window is None else max(0, start - window + 1)
        out.append(
            one_block(
                q[:, :, :, start:stop],
                k[:, :, first:stop],
                v[:, :, first:stop],
                positions[:, start:stop],
                positions[:, first:stop],
                segment_ids[:, start:stop],
                segment_ids[:, first:stop],
            )
        )
    joined = jnp.concatenate(out, axis=3) if len(out) > 1 else out[0]
    return joined.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, width)


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
    flat_q = q.reshape(batch * kv_heads, groups * queries, width)
    flat_k = k.reshape(batch * kv_heads, keys, width)
    flat_v = v.reshape(batch * kv_heads, keys, width)
    scores = jax.lax.dot_general(
        flat_q, flat_k, (((2,), (2,)), ((0,), (0,))), preferred_element_type=jnp.float32
    )  # [B*K, G*T, S]
    scores = scores * scale
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    distance = q_positions[:, :, None] - k_positions[:, None, :]  # [B, T, S]
    seen = distance >= 0
    if window is not None:
        seen &= distance < window
    if q_segments is not None and k_segments is not None:
        seen &= q_segments[:, :, None] == k_segments[:, None, :]
    scores = scores.reshape(batch, kv_heads, groups, queries, keys)
    scores = jnp.where(seen[:, None, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    out = jax.lax.dot_general(
        weights.reshape(batch * kv_heads, groups * queries, keys), flat_v, (((2,), (1,)), ((0,), (0,)))
    )
    return out.reshape(batch, kv_heads, groups, queries, width)
