"""One session's training, worked out from its settings: which modules, how many steps, which program. No weights needed.

Takes   the `train` slice of the configuration, the base's config.json, the number of packed rows.
Leaves  a Session: exact integers and the jittable step that train runs and plan compiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from showwork.learn.data import num_steps, rows_per_step
from showwork.learn.optimizer import adamw, schedule
from showwork.learn.step import initial_state, make_step, supervised_loss
from showwork.model.attention import attention
from showwork.model.config import GemmaConfig, dtype_named
from showwork.model.gemma import REMAT
from showwork.model.kernels import Attention
from showwork.model.lora import init_lora, match_targets, scale_of

METHODS = ("sft",)


@dataclass(frozen=True)
class Session:
    """`modules` is empty and `scale` 1 when all weights are trained; `attend` is what `model.kernels` chose, or ours."""

    cfg: GemmaConfig
    train: Mapping[str, Any]
    seed: int
    dtype: str
    length: int
    modules: tuple[str, ...]
    scale: float
    steps: int
    rows_per_step: int
    attend: Attention = attention

    @property
    def full(self) -> bool:
        """Whether all weights are trained, with no adapter."""
        return self.train["adapter"] is None

    @property
    def params_dtype(self) -> str:
        """What the base is loaded as: master weights are float32 when they are trained."""
        return "float32" if self.full else self.dtype

    def fresh_adapter(self) -> dict[str, Any]:
        """An adapter at its start, where it changes nothing."""
        # One program instead of one for each array: start-up is a second shorter.
        return jax.jit(lambda: init_lora(self.cfg, self.modules, rank=self.train["adapter"]["rank"], seed=self.seed))()

    def initial_state(self, trainable: Any) -> dict[str, Any]:
        """The state before step 0."""
        counted = jax.jit(
            lambda: initial_state(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), trainable), adamw(self.train))
        )()
        return {**counted, "trainable": trainable}

    def step(self, mesh: jax.sharding.Mesh | None = None) -> jax.stages.Wrapped:
        """(state, frozen, batch) -> (state, numbers), jitted, the state donated."""
        adapter = self.train["adapter"] or {}
        loss = supervised_loss(
            self.cfg,
            full=self.full,
            scale=self.scale,
            remat=self.train["remat"],
            dropout=adapter.get("dropout", 0.0),
            dtype=jnp.dtype(dtype_named(self.dtype)),
            mesh=mesh,
            attention=self.attend,
        )
        rate = schedule(self.train, self.steps)
        step = make_step(loss, adamw(self.train), rate, self.train["clip_norm"], self.seed)
        return jax.jit(step, donate_argnums=0)


def session(settings: Mapping[str, Any], hf_config: Mapping[str, Any], num_rows: int) -> Session:
    """Checks the settings against the base and counts the steps.

    Under a time budget they are the fewest that there can be, one more than the warm-up, until `lasting` says how
    many fit.

    Raises:
      ValueError: a method, dtype, remat or schedule that does not exist, targets that match nothing, a warm-up as long
        as the run.
    """
    train = settings["train"]
    if train["method"] not in METHODS:
        raise ValueError(
            f"train {settings['name']!r}: method is {train['method']!r} but this version trains {', '.join(METHODS)}; "
            "set sessions.<name>.train.method"
        )
    steps = num_steps(train, num_rows) if train.get("time_budget") is None else train["warmup_steps"] + 1
    return _session(settings, hf_config, steps=steps, rows=rows_per_step(train))


def lasting(made: Session, steps: int) -> Session:
    """The session with a number of steps.

    Raises:
      ValueError: a warm-up as long as the run.
    """
    schedule(made.train, steps)
    return replace(made, steps=steps)


def policy_session(
    settings: Mapping[str, Any], hf_config: Mapping[str, Any], num_prompts: int, how: Mapping[str, Any]
) -> Session:
    """As `session`, for a policy that learns from its own rollouts.

    `steps` are all updates, `rows_per_step` those of one micro-batch. An epoch asks every prompt once.

    Raises:
      ValueError: as `session`, and steps that are no multiple of the updates on a batch.
    """
    train, updates = settings["train"], how["updates_per_batch"]
    counted = {**train, "batch_size": how["prompts_per_batch"], "gradient_accumulation": 1}
    steps = num_steps(counted, num_prompts)
    if train["max_steps"] is None:
        steps *= updates
    if steps % updates:
        raise ValueError(
            f"train.max_steps is {steps} but must be a multiple of train.grpo.updates_per_batch, {updates}: every batch of "
            "rollouts is learned from that often; change one of them"
        )
    if train["adapter"] and train["adapter"]["dropout"]:
        raise ValueError(
            f"train.adapter.dropout is {train['adapter']['dropout']}, wanted 0 where method is grpo: the policy that is "
            "trained must be the one that wrote the rollouts; set it to 0"
        )
    return _session(settings, hf_config, steps=steps, rows=train["batch_size"])


def _session(settings: Mapping[str, Any], hf_config: Mapping[str, Any], *, steps: int, rows: int) -> Session:
    train = settings["train"]
    if train["remat"] not in REMAT:
        raise ValueError(f"train.remat is {train['remat']!r} but must be one of {', '.join(REMAT)}; correct it")
    dtype_named(settings["dtype"])
    cfg = GemmaConfig.from_hf(hf_config)
    adapter = train["adapter"]
    found = Session(
        cfg=cfg,
        train=train,
        seed=settings["seed"],
        dtype=settings["dtype"],
        length=settings["max_seq_length"],
        modules=match_targets(adapter["targets"], cfg) if adapter else (),
        scale=scale_of(rank=adapter["rank"], alpha=adapter["alpha"], rslora=adapter["rslora"]) if adapter else 1.0,
        steps=steps,
        rows_per_step=rows,
    )
    schedule(train, found.steps)
    return found


def micro_rows(session: Session, rows: int, memory_bytes: int) -> int:
    """Packed rows at a time on a device: the largest divisor of its `rows` whose activations fit into `memory_bytes`."""
    fitting = max(1, memory_bytes // activation_bytes_per_row(session))
    return max(n for n in range(1, rows + 1) if rows % n == 0 and n <= fitting)


def activation_bytes_per_row(session: Session) -> int:
    """A rough upper estimate of what one more row costs while gradients are taken; the plan compiles to know exactly.

    Per token and layer: with `block` the layer's input, with `dots` also the outputs of the linears, with `none` about
    twelve vectors of the feed-forward width (what XLA was found to keep); and one layer's own working set.
    """
    cfg, size = session.cfg, 2 if session.dtype == "bfloat16" else 4
    linears = 2 * cfg.width + 3 * cfg.ffw_width + (2 * cfg.heads + 2 * cfg.kv_heads) * cfg.head_width
    per_layer = {"block": cfg.width, "dots": cfg.width + linears, "none": 12 * cfg.ffw_width + linears}
    working = 12 * cfg.ffw_width + 4 * linears
    return session.length * size * (cfg.num_layers * per_layer[session.train["remat"]] + working)
