"""Group-relative policy optimization: the loss of one micro-batch of rollouts, and the variants by name.

Takes   packed rows of prompts with their completions, and for each completion token its advantage, its share in the loss,
        the log-probability under the policy that wrote it and under the reference.
Leaves  the loss and the sums that the history reports.

    ratio r = exp(new - old)                              per token
    gain    = min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)
    loss    = sum of share x (kl x (exp(ref - new) - (ref - new) - 1) - gain)

Source  GRPO: DeepSeekMath, arXiv 2402.03300. Dr. GRPO: arXiv 2503.20783. DAPO: arXiv 2503.14476. In the first update on a batch
        of rollouts `old` is `new` without its gradient, so that the ratio is exactly 1 whatever the sampler's rounding was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from showwork.learn.policy import token_scores
from showwork.model.config import GemmaConfig
from showwork.model.gemma import hidden

Tree = Any
Micro = dict[str, jax.Array]

VARIANTS: dict[str, dict[str, Any]] = {
    # The paper's: every rollout weighs the same however long it is, a penalty for leaving the reference.
    "grpo": {"clip_low": 0.2, "clip_high": 0.2, "kl": 0.04, "aggregate": "sequence", "scale_by_std": True,
             "mask_overlong": False},
    # Without the two biases: no division by the group's spread, tokens summed and divided by a constant. No reference.
    "dr_grpo": {"clip_low": 0.2, "clip_high": 0.2, "kl": 0.0, "aggregate": "constant", "scale_by_std": False,
                "mask_overlong": False},
    # Every token weighs the same, rare tokens may rise further, cut rollouts teach nothing. No reference. Its dynamic
    # sampling is `resample`, its soft overlong punishment the `length` reward.
    "dapo": {"clip_low": 0.2, "clip_high": 0.28, "kl": 0.0, "aggregate": "token", "scale_by_std": True,
             "mask_overlong": True},
}  # fmt: skip
AGGREGATES = ("token", "sequence", "constant")


def resolved(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what is null taken from the variant.

    >>> resolved({"variant": "dapo", "clip_high": None, "kl": 0.01})["kl"]
    0.01

    Raises:
      ValueError: an unknown variant or aggregate, groups of one, a penalty without a reference.
    """
    if chosen["variant"] not in VARIANTS:
        raise ValueError(
            f"train.grpo.variant is {chosen['variant']!r}, wanted one of {', '.join(VARIANTS)}; correct it"
        )
    variant = VARIANTS[chosen["variant"]]
    found = {**chosen, **{key: value for key, value in variant.items() if chosen.get(key) is None}}
    if found["aggregate"] not in AGGREGATES:
        raise ValueError(
            f"train.grpo.aggregate is {found['aggregate']!r}, wanted one of {', '.join(AGGREGATES)}; correct it"
        )
    if found["group_size"] < 2:
        raise ValueError(
            f"train.grpo.group_size is {found['group_size']}, wanted at least 2: an advantage compares rollouts of one "
            "prompt, and one alone has nothing to be compared with; raise it"
        )
    if found["kl"] and found["reference"] is None:
        raise ValueError(
            f"train.grpo.kl is {found['kl']} but reference is null; name a reference (start, base or a folder) or set kl to 0"
        )
    return found


def shares(lengths: np.ndarray, counted: np.ndarray, aggregate: str, max_new_tokens: int) -> np.ndarray:
    """What one token of each rollout weighs in the loss, [rollouts] float32; 0 for those that are not counted.

    Args:
      lengths: tokens of each completion.
      counted: bool, False for a rollout that is masked.
      aggregate: token: 1 / tokens of all counted; sequence: 1 / (its tokens x counted rollouts); constant:
        1 / (max_new_tokens x rollouts), whatever was written.

    >>> shares(np.array([1, 3]), np.array([True, True]), "token", 8).tolist()
    [0.25, 0.25]
    """
    if aggregate == "token":
        each = np.full(len(lengths), 1 / max(1, lengths[counted].sum()))
    elif aggregate == "sequence":
        each = 1 / (np.maximum(lengths, 1) * max(1, counted.sum()))
    else:
        each = np.full(len(lengths), 1 / (max_new_tokens * len(lengths)))
    return np.where(counted, each, 0.0).astype(np.float32)


def scores_of(
    cfg: GemmaConfig,
    *,
    full: bool,
    scale: float,
    remat: str,
    temperature: float,
    dtype: jnp.dtype,
) -> Callable[[Tree, Tree, Micro], tuple[jax.Array, jax.Array]]:
    """A function (trainable, frozen, micro) -> log-probabilities and entropies [M, L], at each completion token's own place.

    Args:
      full: whether the trainable tree is the model itself; else it is an adapter, or None for the frozen model alone.
      scale, remat, dtype: as in `model.gemma.hidden`.
      temperature: of the rollouts, so that the policy trained is the one that wrote them.
    """

    def scores(trainable: Tree, frozen: Tree, micro: Micro) -> tuple[jax.Array, jax.Array]:
        params, lora = (trainable, None) if full else (frozen, trainable)
        states = hidden(
            params, cfg, micro["tokens"], micro["positions"], micro["segment_ids"], lora, scale, remat, dtype=dtype
        )
        targets = jnp.roll(micro["tokens"], -1, axis=1).reshape(-1)
        wanted = jnp.roll(micro["loss_mask"] > 0, -1, axis=1).at[:, -1].set(False).reshape(-1)
        found = token_scores(
            states.reshape(-1, states.shape[-1]), params["embed"], targets, wanted, cfg.final_softcap, temperature, full
        )
        log_probabilities, entropies = (jnp.roll(f.reshape(micro["tokens"].shape), 1, axis=1) for f in found)
        return log_probabilities, entropies

    return scores


def policy_loss(
    scores: Callable[[Tree, Tree, Micro], tuple[jax.Array, jax.Array]], *, clip_low: float, clip_high: float, kl: float
) -> Callable[[Tree, Tree, Micro, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]:
    """A function (trainable, frozen, micro, first) -> (loss, {"new": log-probabilities [M, L], sums…}).

    `micro` has, beside the packed arrays, float [M, L]: `advantage`, `share`, `old` and `reference` (of log-probabilities).
    `first`: whether this is the first update on these rollouts.
    """

    def loss(trainable: Tree, frozen: Tree, micro: Micro, first: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        new, entropy = scores(trainable, frozen, micro)
        written = micro["loss_mask"] > 0
        old = jnp.where(first, jax.lax.stop_gradient(new), micro["old"])
        ratio = jnp.exp(jnp.where(written, new - old, 0.0))
        gain = ratio * micro["advantage"]
        clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * micro["advantage"]
        apart = jnp.where(written, micro["reference"] - new, 0.0)
        leaving = jnp.exp(apart) - apart - 1
        total = jnp.sum(micro["share"] * (kl * leaving - jnp.minimum(gain, clipped)))
        sums = {
            "new": jax.lax.stop_gradient(new),
            "kl": jnp.sum(leaving),
            "entropy": jnp.sum(entropy),
            "clipped": jnp.sum(clipped < gain),
            "written": jnp.sum(written),
            "loss_tokens": jnp.sum(micro["share"] > 0),
            "tokens": jnp.sum(micro["segment_ids"] > 0),
        }
        return total, sums

    return loss
