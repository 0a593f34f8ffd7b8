"""Whether an adapter is learning at all: how many of its entries moved, and how large the change is beside the weights.

Takes   the adapter at its start and now, the frozen weights.
Leaves  shares and ratios as device scalars.
Source  lesson of keras-team/keras-hub#2629: adapters kept in bfloat16 at a small learning rate never move. Ours are
        float32, and the number is logged so that a reader need not believe it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Adapter = dict[str, dict[str, jax.Array]]


def share_moved(start: Any, now: Any) -> jax.Array:
    """Share of entries whose value is no longer the one at the start, over all leaves.

    >>> share_moved({"a": jnp.zeros(4)}, {"a": jnp.array([0.0, 1.0, 1e-30, -2.0])})
    Array(0.75, dtype=float32)
    """
    moved = [jnp.sum(a != b) for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(now), strict=True)]
    return sum(m.astype(jnp.float32) for m in moved) / sum(leaf.size for leaf in jax.tree.leaves(now))


def relative_change(adapter: Adapter, layers: dict[str, jax.Array], scale: float) -> dict[str, jax.Array]:
    """||scale B A|| / ||W|| by module, a scalar each: Frobenius norms over all layers [layers, in, out] together.

    The product is never formed: ||B A||^2 is the trace of (B^T B)(A A^T), two R x R matrices.
    """
    ratios = {}
    for name, part in adapter.items():
        inner = jnp.einsum("lor,los->lrs", part["b"], part["b"]) * jnp.einsum("lri,lsi->lrs", part["a"], part["a"])
        change = scale * jnp.sqrt(jnp.sum(inner))
        weight = jnp.sqrt(sum_of_squares(layers[name]))
        ratios[name] = change / weight
    return ratios


def sum_of_squares(stacked: jax.Array) -> jax.Array:
    """Of all entries of a stack [layers, …], in float32, one layer at a time so that no float32 copy of it is made."""
    return jnp.sum(jax.lax.map(lambda w: jnp.sum(jnp.square(w.astype(jnp.float32))), stacked))
