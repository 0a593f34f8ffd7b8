"""One optimizer step: gradients summed over micro-batches, divided once by the tokens, clipped, applied or skipped.

Takes   a state, frozen parameters and a batch [A, M, L] of A micro-batches of M packed rows.
Leaves  the next state and the step's numbers. How a batch is cut into micro-batches changes nothing but rounding.
Source  token-weighted accumulation: sum of token losses / sum of tokens, never a mean of means
        (huggingface/transformers#34191 tells what goes wrong otherwise).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from showwork.learn.loss import cross_entropy_over, shifted
from showwork.learn.mesh import AXIS
from showwork.model.attention import attention
from showwork.model.config import GemmaConfig
from showwork.model.gemma import hidden
from showwork.model.kernels import Attention

Tree = Any
Batch = dict[str, jax.Array]
LossFunction = Callable[[Tree, Tree, Batch, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
"""(trainable, frozen, micro-batch, key) -> (sum of losses, sums to add up; "loss_tokens" among them divides)."""


def initial_state(trainable: Tree, optimizer: optax.GradientTransformation) -> dict[str, Any]:
    """Everything that a step changes: parameters, moments, and how many steps were taken and skipped."""
    counts = {name: jnp.zeros((), jnp.int32) for name in ("step", "skipped", "skipped_in_a_row")}
    return {"trainable": trainable, "moments": optimizer.init(trainable), **counts}


def supervised_loss(
    cfg: GemmaConfig,
    *,
    full: bool,
    scale: float = 1.0,
    remat: str = "block",
    dropout: float = 0.0,
    dtype: jnp.dtype | None = None,
    mesh: jax.sharding.Mesh | None = None,
    attention: Attention = attention,
) -> LossFunction:
    """The loss of next tokens where `loss_mask` is set.

    Args:
      full: whether the trainable tree is the model itself (its tied embedding gets the head's gradient too) or an
        adapter beside the frozen model.
      scale, dropout: of the adapter.
      dtype: of the matmuls; None for the parameters' own.
      mesh: over whose one axis the rows of a micro-batch are split; None on one device.
      attention: ours, or a kernel that was held to it.
    """

    def loss(trainable: Tree, frozen: Tree, micro: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        params, lora = (trainable, None) if full else (frozen, trainable)
        states = hidden(
            params,
            cfg,
            micro["tokens"],
            micro["positions"],
            micro["segment_ids"],
            lora,
            scale,
            remat,
            dtype=dtype,
            dropout=dropout,
            dropout_key=key if dropout else None,
            attention=attention,
        )
        targets, weights = shifted(micro["tokens"], micro["loss_mask"])
        flat = states.reshape(-1, states.shape[-1])
        total = cross_entropy_over(
            mesh, AXIS, flat, params["embed"], targets.reshape(-1), weights.reshape(-1),
            softcap=cfg.final_softcap, train_table=full,
        )  # fmt: skip
        return total, {"loss_tokens": jnp.sum(weights), "tokens": jnp.sum(micro["segment_ids"] > 0)}

    return loss


def make_step(
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[jax.Array], jax.Array],
    clip_norm: float | None,
    seed: int,
) -> Callable[[dict[str, Any], Tree, Batch], tuple[dict[str, Any], dict[str, jax.Array]]]:
    """A function (state, frozen, batch) -> (state, numbers) to be jitted with the state donated.

    A step whose loss or gradient is not finite leaves parameters and moments as they were and is counted. Numbers,
    and what `learning_rate` gives for a step's number, are scalars.
    """

    def step(state: dict[str, Any], frozen: Tree, batch: Batch) -> tuple[dict[str, Any], dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(seed), state["step"])
        loss, sums, gradient = accumulated(loss_function, state["trainable"], frozen, batch, key)
        tokens = jnp.maximum(sums["loss_tokens"], 1)
        gradient = jax.tree.map(lambda g: g / tokens, gradient)
        after, numbers = applied(state, loss / tokens, gradient, optimizer, learning_rate, clip_norm)
        return after, {**numbers, **sums}

    return step


def applied(
    state: dict[str, Any],
    loss: jax.Array,
    gradient: Tree,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[jax.Array], jax.Array],
    clip_norm: float | None,
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """The next state once the gradient is clipped and applied, or left out where it or the loss is not finite.

    `loss` and the numbers that come back are scalars.
    """
    norm = optax.tree.norm(gradient)
    if clip_norm is not None:
        shrink = jnp.minimum(1.0, clip_norm / (norm + 1e-12))
        gradient = jax.tree.map(lambda g: g * shrink, gradient)
    rate = learning_rate(state["step"])
    updates, moments = optimizer.update(gradient, state["moments"], state["trainable"])
    trainable = jax.tree.map(lambda p, u: p - rate * u, state["trainable"], updates)
    good = jnp.isfinite(loss) & jnp.isfinite(norm)
    trainable, moments = jax.tree.map(
        lambda new, old: jnp.where(good, new, old), (trainable, moments), (state["trainable"], state["moments"])
    )
    bad = (~good).astype(jnp.int32)
    after = {
        "trainable": trainable,
        "moments": moments,
        "step": state["step"] + 1,
        "skipped": state["skipped"] + bad,
        "skipped_in_a_row": (state["skipped_in_a_row"] + bad) * bad,
    }
    numbers = {
        "loss": loss,
        "lr": rate,
        "grad_norm": norm,
        "skipped": after["skipped"],
        "skipped_in_a_row": after["skipped_in_a_row"],
    }
    return after, numbers


def accumulated(
    loss_function: LossFunction, trainable: Tree, frozen: Tree, batch: Batch, key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array], Tree]:
    """Loss, sums and gradient added up over the micro-batches of `batch` [A, M, L], one after the other in one program."""

    def micro(number: jax.Array, one: Batch) -> tuple[jax.Array, dict[str, jax.Array], Tree]:
        taken = jax.value_and_grad(loss_function, has_aux=True)
        (loss, sums), gradient = taken(trainable, frozen, one, jax.random.fold_in(key, number))
        return loss, sums, gradient

    count = len(batch["tokens"])
    first = {name: array[0] for name, array in batch.items()}
    if count == 1:
        return micro(jnp.zeros((), jnp.int32), first)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(micro, jnp.zeros((), jnp.int32), first))

    def body(carry: Tree, scanned: tuple[jax.Array, Batch]) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, carry, micro(*scanned)), None

    return jax.lax.scan(body, zeros, (jnp.arange(count), batch))[0]
