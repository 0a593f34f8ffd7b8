"""How far two models' logits lie apart on the same rows, without holding the logits of either.

*Takes* weights and packed rows. *Leaves* the states before the head, then the largest and mean difference of logits and the
share of positions whose most likely token is the same. Everything is computed at the highest precision of the device.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from showwork.model.config import GemmaConfig
from showwork.model.gemma import hidden, logits

CHUNK = 128  # positions whose logits are held at once


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the head sees: states [T, D] of T real positions, and the head's table [V, D]."""

    states: np.ndarray
    embed: jax.Array


@dataclasses.dataclass(frozen=True)
class Agreement:
    """max_error and mean_error of logits, top1_agreement in 0 … 1, over so many positions."""

    max_error: float
    mean_error: float
    top1_agreement: float
    positions: int


@partial(jax.jit, static_argnames=("cfg", "dtype"))
def _states(
    params: dict,
    cfg: GemmaConfig,
    tokens: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    lora: dict | None,
    scale: float,
    dtype: str | None,
) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return hidden(
            params, cfg, tokens, positions, segment_ids, lora, scale, dtype=None if dtype is None else jnp.dtype(dtype)
        )


def outputs(
    params: dict,
    cfg: GemmaConfig,
    tokens: np.ndarray,
    positions: np.ndarray,
    segment_ids: np.ndarray,
    *,
    lora: dict | None = None,
    scale: float = 1.0,
    dtype: str | None = None,
) -> Outputs:
    """Run packed rows [B, L] one at a time; states in the order of the tokens whose segment is not 0."""
    rows = []
    for row in range(len(tokens)):
        at = slice(row, row + 1)
        found = _states(params, cfg, tokens[at], positions[at], segment_ids[at], lora, scale, dtype)
        rows.append(np.asarray(found[0])[segment_ids[row] > 0])
    return Outputs(np.concatenate(rows), params["embed"])


@partial(jax.jit, static_argnames="cfg")
def _difference(
    cfg: GemmaConfig, states: jax.Array, embed: jax.Array, other_states: jax.Array, other_embed: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    with jax.default_matmul_precision("highest"):
        one = logits({"embed": embed}, cfg, states)
        two = logits({"embed": other_embed}, cfg, other_states)
    gap = jnp.abs(one - two)
    return gap.max(), gap.mean(axis=-1).sum(), (one.argmax(axis=-1) == two.argmax(axis=-1)).sum()


def agreement(cfg: GemmaConfig, one: Outputs, two: Outputs) -> Agreement:
    """Hold two outputs of the same rows against each other.

    Raises:
        ValueError: different numbers of positions.
    """
    total = len(one.states)
    if len(two.states) != total:
        raise ValueError(
            f"outputs have {total} and {len(two.states)} positions, wanted the same rows; run both on them."
        )
    largest, summed, same = 0.0, 0.0, 0
    for start in range(0, total, CHUNK):
        at = slice(start, start + CHUNK)
        gap, mean, equal = _difference(cfg, one.states[at], one.embed, two.states[at], two.embed)
        largest = max(largest, float(gap)) if np.isfinite(gap) else float("inf")
        summed, same = summed + float(mean), same + int(equal)
    return Agreement(largest, summed / total, same / total, total)
