"""AdamW and the learning rate as a function of the step.

Takes   the settings of a session's `train` section and the exact number of steps.
Leaves  an optax transformation without a learning rate, and a schedule: step -> learning rate.
Source  optax's Adam moments and decoupled weight decay. The learning rate is kept out of optax so that the number in the
        history is the number that was applied, and so that a skipped step leaves nothing behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

SCHEDULES = ("cosine", "linear", "constant", "wsd")
DECAY_SHARE = 0.2  # the last part of a warm-up, stable, decay schedule
NOT_DECAYED = ("norm",)


def schedule(train: Mapping[str, Any], num_steps: int) -> Callable[[jax.Array], jax.Array]:
    """Learning rate, a scalar, at step 0 .. num_steps - 1.

    Warm-up rises from learning_rate / warmup_steps at step 0 to learning_rate, so that no step is spent at zero. After
    it: `cosine` and `linear` fall towards zero, which would be reached one step after the last; `constant` stays; `wsd`
    stays, then falls linearly over the last 20 % of the steps.

    Raises:
      ValueError: an unknown schedule, or a warm-up as long as the run.
    """
    kind, peak, warmup = train["schedule"], train["learning_rate"], train["warmup_steps"]
    if kind not in SCHEDULES:
        raise ValueError(f"train.schedule is {kind!r} but must be one of {', '.join(SCHEDULES)}; correct it")
    if warmup >= num_steps:
        raise ValueError(
            f"train.warmup_steps is {warmup:,} but the session has only {num_steps:,} steps; lower warmup_steps below "
            f"{num_steps:,}, or train longer (epochs, max_steps, time_budget)"
        )
    falling = math.ceil(num_steps * DECAY_SHARE)

    def at(step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        left = (num_steps - step) / (num_steps - warmup)  # 1 at the end of the warm-up, 0 after the last step
        shape = {
            "cosine": 0.5 * (1 - jnp.cos(math.pi * left)),
            "linear": left,
            "constant": jnp.ones_like(step),
            "wsd": jnp.minimum(1.0, (num_steps - step) / falling),
        }[kind]
        rising = (step + 1) / warmup if warmup else jnp.ones_like(step)
        return (peak * jnp.where(step < warmup, rising, shape)).astype(jnp.float32)

    return at


def adamw(train: Mapping[str, Any]) -> optax.GradientTransformation:
    """Adam moments in float32, then weight decay on everything but norms; multiply by minus the learning rate."""
    return optax.chain(
        optax.scale_by_adam(b1=train["beta1"], b2=train["beta2"], eps=train["epsilon"], mu_dtype=jnp.float32),
        optax.add_decayed_weights(train["weight_decay"], mask=decayed),
    )


def decayed(tree: Any) -> Any:
    """For each leaf whether weight decay acts on it: by name, because stacked norms have two axes like matrices."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: not any(part in jax.tree_util.keystr(path) for part in NOT_DECAYED), tree
    )
