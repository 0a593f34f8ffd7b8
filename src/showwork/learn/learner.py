"""The policy at work: what the sampler writes with, what the reference thinks, and one update after another.

Takes   a Session (how the policy is trained), the settings of `train.grpo`, micro-batches of learn/groups.py.
Leaves  merged weights for the sampler, log-probabilities of the reference, the next state and the numbers of an update.
        Micro-batches are added up one by one by one compiled program, so their number may differ from batch to batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from showwork.learn.grpo import policy_loss, scores_of
from showwork.learn.optimizer import adamw, schedule
from showwork.learn.session import Session
from showwork.learn.step import applied
from showwork.model.config import dtype_named
from showwork.model.decode import unstack
from showwork.model.lora import merge

Tree = Any
Micro = Mapping[str, np.ndarray]
PACKED = ("tokens", "loss_mask", "segment_ids", "positions")


class Learner:
    """Compiled functions of one session; no weights are kept here."""

    def __init__(self, made: Session, how: Mapping[str, Any]):
        """`how`: `train.grpo`, resolved."""
        self._made = made
        dtype = jnp.dtype(dtype_named(made.dtype))
        about = {"scale": made.scale, "remat": made.train["remat"], "temperature": how["temperature"], "dtype": dtype}
        scores = scores_of(made.cfg, full=made.full, **about)
        loss = policy_loss(scores, clip_low=how["clip_low"], clip_high=how["clip_high"], kl=how["kl"])
        optimizer, rate = adamw(made.train), schedule(made.train, made.steps)

        def add(carry: Tree, trainable: Tree, frozen: Tree, micro: Tree, first: jax.Array) -> tuple[Tree, jax.Array]:
            taken = jax.value_and_grad(loss, has_aux=True)
            (value, sums), gradient = taken(trainable, frozen, micro, first)
            new = sums.pop("new")
            return jax.tree.map(jnp.add, carry, (value, sums, gradient)), new

        def empty(trainable: Tree) -> Tree:
            sums = dict.fromkeys(("kl", "entropy"), jnp.zeros(())) | dict.fromkeys(
                ("clipped", "written", "loss_tokens", "tokens"), jnp.zeros((), jnp.int32)
            )
            return jnp.zeros(()), sums, jax.tree.map(jnp.zeros_like, trainable)

        def finish(state: Tree, carry: Tree) -> tuple[Tree, dict[str, jax.Array]]:
            value, sums, gradient = carry
            after, numbers = applied(state, value, gradient, optimizer, rate, made.train["clip_norm"])
            written = jnp.where(sums["written"] > 0, sums["written"], jnp.nan)  # a batch may have nothing to learn from
            means = {name: sums[name] / written for name in ("kl", "entropy")} | {
                "clip_share": sums["clipped"] / written
            }
            return after, {**numbers, **means, "loss_tokens": sums["loss_tokens"], "tokens": sums["tokens"]}

        def written_with(trainable: Tree, frozen: Tree) -> Tree:
            whole = trainable if made.full else merge(frozen, trainable, made.scale)
            return unstack(jax.tree.map(lambda a: a.astype(dtype), whole), made.cfg)

        reference = scores_of(made.cfg, full=False, **about)
        self._empty, self._add = jax.jit(empty), jax.jit(add, donate_argnums=0)
        self._finish = jax.jit(finish, donate_argnums=0)
        self._reference = jax.jit(lambda lora, params, micro: reference(lora, params, micro)[0])
        self._weights = jax.jit(written_with)

    def weights(self, trainable: Tree, frozen: Tree) -> Tree:
        """The policy, merged and unstacked, in the dtype that it is run in."""
        return self._weights(trainable, frozen)

    def judge(self, micros: Sequence[dict[str, np.ndarray]], params: Tree, lora: Tree) -> None:
        """Writes the log-probabilities of the reference, a model and perhaps its adapter, into the micro-batches.

        The arrays of `micros` are [M, L], as learn/groups.py makes them.
        """
        found = [self._reference(lora, params, {k: m[k] for k in PACKED}) for m in micros]
        for micro, scores in zip(micros, found, strict=True):
            micro["reference"] = scores

    def update(
        self, state: Tree, frozen: Tree, micros: Sequence[dict[str, np.ndarray]], *, first: bool
    ) -> tuple[Tree, dict[str, jax.Array]]:
        """One optimizer step over all micro-batches.

        The first one also notes in them what the policy thinks now, against which later ratios are taken. The numbers are
        scalars.
        """
        carry = self._empty(state["trainable"])
        for micro in micros:
            carry, new = self._add(carry, state["trainable"], frozen, micro, first)
            if first:
                micro["old"] = new
        return self._finish(state, carry)
