"""Faster attention where the device and an installed library offer it, and only after it has been held to ours.

*Takes* nothing but the model's shape and the device at hand. *Leaves* the attention to train with, and why each other one was
not taken. All have `model.attention.attention`'s arguments; ours is the reference, everywhere and always there.

    tokamax   NVIDIA Hopper (H100, H200): soft-cap, windows and segments, skips blocks that nobody sees
    cudnn     NVIDIA, through jax.nn: no soft-cap, so Gemma 3
    splash    TPU, part of JAX: soft-cap, windows and segments; heads of a multiple of 128

Source: tokamax's and JAX's own code, at the versions that envs/ name. None of them is needed: a library that is missing, a shape
it cannot do and a result that differs are reasons to go on with ours, and are said.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from showwork.model.attention import attention
from showwork.model.config import GemmaConfig

Attention = Callable[..., jax.Array]
AUTO = "auto"
BLOCKED = "blocked"
MOST_WORSE = 2.0  # times as far from float32 as ours in the same dtype
SPARE = 1e-3  # of the largest value: what is not counted as a difference


@dataclass(frozen=True)
class Chosen:
    """`passed_over`: {name of an attention that was not taken: why}."""

    name: str
    attend: Attention
    passed_over: dict[str, str]


def first_seen(positions: jax.Array, window: int | None) -> jax.Array:
    """The first column that each token of packed rows sees: where its segment begins, or its window.

    Args:
        positions: int [B, L], counting 0, 1, 2, … inside each segment.
        window: tokens a token can see, itself included; None for all before it.

    Returns:
        int32 [B, L].
    """
    back = positions if window is None else jnp.minimum(positions, window - 1)
    return (jnp.arange(positions.shape[1])[None] - back).astype(jnp.int32)


def tokamax(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    positions: jax.Array,
    segment_ids: jax.Array,
    scale: float,
    softcap: float | None = None,
    window: int | None = None,
    implementation: str = "mosaic_gpu",
) -> jax.Array:
    """`attention` by tokamax's kernel, q [B, L, N, H] to [B, L, N, H]; `implementation` "xla" is the same without a GPU."""
    # Not its public function: that one knows no ranges of keys.
    api, base = (importlib.import_module(f"tokamax._src.ops.attention.{name}") for name in ("api", "base"))

    mask = base.Mask(is_causal=True, k_start=first_seen(positions, window)[:, None, :])
    return api.IMPLEMENTATIONS[implementation](
        q, k, v, bias=None, mask=mask, logits_scale=scale, logits_soft_cap=softcap
    )  # fmt: skip


def cudnn(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    positions: jax.Array,
    segment_ids: jax.Array,
    scale: float,
    softcap: float | None = None,
    window: int | None = None,
    implementation: Literal["xla", "cudnn"] = "cudnn",
) -> jax.Array:
    """`attention` by cuDNN, q [B, L, N, H] to [B, L, N, H].

    Raises:
        ValueError: a soft-cap.
    """
    if softcap is not None:
        raise ValueError(f"cudnn has no soft-cap of attention, and this model's is {softcap}")
    columns = jnp.arange(q.shape[1])
    seen = (columns[None, None, :] >= first_seen(positions, window)[:, :, None]) & (columns[:, None] >= columns[None])
    return jax.nn.dot_product_attention(q, k, v, mask=seen[:, None], scale=scale, implementation=implementation)


def splash(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    positions: jax.Array,
    segment_ids: jax.Array,
    scale: float,
    softcap: float | None = None,
    window: int | None = None,
    interpret: bool = False,
) -> jax.Array:
    """`attention` by JAX's splash kernel, q [B, L, N, H] to [B, L, N, H]; `interpret` runs it without a TPU."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length, heads = q.shape[1], q.shape[2]
    one: Any = masks.CausalMask((length, length))
    if window is not None:
        one = masks.LocalMask((length, length), window_size=(window - 1, 0), offset=0)
    run = kernel.make_splash_mha(
        masks.MultiHeadMask([one] * heads), head_shards=1, q_seq_shards=1,
        attn_logits_soft_cap=softcap, interpret=interpret,
    )  # fmt: skip
    q = (q * jnp.asarray(scale, jnp.float32)).astype(q.dtype)
    out = jax.vmap(run)(
        q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2), kernel.SegmentIds(segment_ids, segment_ids)
    )
    return out.swapaxes(1, 2).astype(v.dtype)


KERNELS: dict[str, tuple[str, str, Attention]] = {
    "tokamax": ("gpu", "tokamax", tokamax),
    "cudnn": ("gpu", "jax", cudnn),
    "splash": ("tpu", "jax", splash),
}
"""{name: (platform, the package it is part of, function)}, the fastest of a platform first."""


def chosen(wanted: str, cfg: GemmaConfig, dtype: str, length: int, devices: int = 1) -> Chosen:
    """The attention for training rows of `length` tokens on the device at hand.

    Args:
        wanted: `auto`, the first kernel that is right here; `blocked`, ours; or a kernel by its name.
        dtype: of the activations.
        devices: how many share the work; kernels are for one.

    Raises:
        ValueError: a kernel that was asked for by name and is not there, or not right.
    """
    if wanted == BLOCKED:
        return Chosen(BLOCKED, attention, {})
    passed_over: dict[str, str] = {}
    platform = jax.default_backend()
    for name, (where, package, function) in KERNELS.items():
        if wanted not in (AUTO, name):
            continue
        if where != platform:
            reason = f"it is for {where} and this is {platform}"
        elif devices > 1:
            reason = f"it is for one device and there are {devices}"
        elif importlib.util.find_spec(package) is None:
            reason = f"{package} is not installed"
        else:
            reason = difference(function, cfg, dtype, length)
        if not reason:
            return Chosen(name, function, passed_over)
        passed_over[name] = reason
        if wanted == name:
            raise ValueError(f"train.attention is {name!r}, but {reason}; set it to auto or blocked")
    return Chosen(BLOCKED, attention, passed_over)


def name_of(attend: Attention) -> str:
    """An attention's name among the settings."""
    return next((name for name, (_, _, function) in KERNELS.items() if function is attend), BLOCKED)


def difference(function: Attention, cfg: GemmaConfig, dtype: str, length: int) -> str:
    """Why a kernel is not to be used for this model here; empty where it is as near to float32 as ours in the same dtype.

    Outputs and gradients of a packed row of `length` tokens, for global layers and, where they bind, for local ones.
    """
    windows = sorted({w for w in (None, cfg.window) if w is None or (any(cfg.local) and w < length)}, key=str)
    for window in windows:
        try:
            found = errors(function, cfg, dtype, length, window)
        except Exception as error:  # whatever a library raises is a reason not to use it
            return f"it failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
        for what, (ours, theirs) in found.items():
            if not theirs <= MOST_WORSE * ours + SPARE:
                return f"its {what} differs from float32's by {theirs:.1e} of the largest value, ours by {ours:.1e}"
    return ""


def errors(
    function: Attention, cfg: GemmaConfig, dtype: str, length: int, window: int | None
) -> dict[str, tuple[float, float]]:
    """{what: (ours, theirs)}, the largest distance from our attention in float32, in parts of its largest value."""
    q, k, v, weights, packed = _drawn(cfg, length)
    shape = {"scale": cfg.score_scale, "softcap": cfg.attention_softcap, "window": window}

    def taken(attend: Attention, kind: Any) -> list[np.ndarray]:
        # All arrays are arguments: what a program knows when it is compiled, XLA would work out then, for minutes.
        def total(heads: tuple[jax.Array, ...], packed: dict[str, jax.Array], weights: jax.Array) -> Any:
            real = (packed["segment_ids"] > 0)[:, :, None, None]
            out = jnp.where(real, attend(*heads, **shape, **packed), 0)
            return jnp.sum(out.astype(jnp.float32) * weights), out

        grown = jax.jit(jax.grad(total, has_aux=True))
        gradients, out = grown(tuple(a.astype(kind) for a in (q, k, v)), packed, weights)
        return [np.asarray(a, np.float32) for a in (out, *gradients)]

    theirs = taken(function, jnp.dtype(dtype))  # first: one that cannot do this shape costs no more
    ours = taken(attention, jnp.dtype(dtype))
    with jax.default_matmul_precision("highest"):
        exact = taken(attention, jnp.float32)
    names = ("output", "gradient of queries", "gradient of keys", "gradient of values")
    return {
        name: (_apart(one, right), _apart(other, right))
        for name, right, one, other in zip(names, exact, ours, theirs, strict=True)
    }


def _apart(got: np.ndarray, wanted: np.ndarray) -> float:
    far = np.max(np.abs(got - wanted)) / np.max(np.abs(wanted))
    return float(far) if np.isfinite(far) else float("inf")


@lru_cache(maxsize=1)
def _drawn(cfg: GemmaConfig, length: int) -> tuple[Any, ...]:
    """Queries, keys, values and weights of the output for one row: three segments of unlike length and some padding."""
    state = np.random.RandomState(0)
    sizes = (cfg.heads, cfg.kv_heads, cfg.kv_heads, cfg.heads)
    arrays = [state.standard_normal((1, length, n, cfg.head_width)).astype(np.float32) for n in sizes]
    arrays[0] *= 4 / (cfg.head_width**0.5 * cfg.score_scale)  # scores large enough for the soft-cap to matter
    ends = [length // 8, length // 4, length - length // 16]
    positions, segments, begun = np.zeros((1, length), np.int32), np.zeros((1, length), np.int32), 0
    for number, end in enumerate(ends, 1):
        positions[0, begun:end], segments[0, begun:end], begun = np.arange(end - begun), number, end
    return *map(jnp.asarray, arrays), {"positions": jnp.asarray(positions), "segment_ids": jnp.asarray(segments)}
