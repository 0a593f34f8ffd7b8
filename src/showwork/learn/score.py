"""Log-probabilities that a model gives to tokens which are already there (teacher forcing).

*Takes* packed rows as training does. *Leaves* one float32 per token. The vocabulary-wide logits exist only for
`TOKENS_AT_ONCE` positions at a time.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from showwork.model.config import GemmaConfig
from showwork.model.gemma import hidden, logits

TOKENS_AT_ONCE = 512  # 512 x 256,000 float32 logits are half a gigabyte


@partial(jax.jit, static_argnames=("cfg", "dtype"))
def token_log_probs(
    params: dict,
    cfg: GemmaConfig,
    tokens: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    lora: dict | None = None,
    scale: float = 1.0,
    dtype: jnp.dtype | None = None,
) -> jax.Array:
    """log p(token | the tokens before it in its segment).

    Args:
        params, cfg, lora, scale, dtype: as in `model.gemma.hidden`.
        tokens, positions, segment_ids: int [B, L], as packed.

    Returns:
        [B, L] float32; 0 at the first token of each segment and at padding, which nothing predicts.
    """
    states = hidden(params, cfg, tokens, positions, segment_ids, lora, scale, remat="none", dtype=dtype)
    targets = jnp.roll(tokens, -1, axis=1).reshape(-1)
    flat = states.reshape(-1, states.shape[-1])
    chunk = min(TOKENS_AT_ONCE, len(targets))
    room = -len(targets) % chunk
    flat = jnp.pad(flat, ((0, room), (0, 0))).reshape(-1, chunk, flat.shape[-1])

    def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        scores = logits(params, cfg, pair[0])
        picked = jnp.take_along_axis(scores, pair[1][:, None], axis=-1)[:, 0]
        return picked - jax.nn.logsumexp(scores, axis=-1)

    found = jax.lax.map(one, (flat, jnp.pad(targets, (0, room)).reshape(-1, chunk))).reshape(-1)
    found = jnp.roll(found[: targets.size].reshape(tokens.shape), 1, axis=1)
    return jnp.where((positions > 0) & (segment_ids > 0), found, 0.0)
