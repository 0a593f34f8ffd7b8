"""Gemma 2 and Gemma 3 text from one configuration: pure functions over a stacked tree of arrays, one scan over layers.

*Takes* a tree in the Hugging Face layout ([out, in], stacked to [layers, out, in]) and packed rows of token ids.
*Leaves* hidden states and soft-capped float32 logits. Loading is `model.params`, shape `model.config`,
attention `model.attention`.

    params = {"embed": [V, D], "final_norm": [D], "layers": {
        "q": [layers, N*H, D], "k": [layers, K*H, D], "v": [layers, K*H, D], "o": [layers, D, N*H],
        "gate": [layers, F, D], "up": [layers, F, D], "down": [layers, D, F],
        "input_norm", "post_attention_norm", "pre_feedforward_norm", "post_feedforward_norm": [layers, D],
        and for Gemma 3 "q_norm", "k_norm": [layers, H]}}
    lora = {module: {"a": [layers, R, in] float32, "b": [layers, out, R] float32}} for any of q k v o gate up down

Source: the Gemma 2 and Gemma 3 reports and transformers' modelling files, against which tests hold it. Linears run on
2-D activations: XLA:CPU has no fast path for 3-D ones, elsewhere it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from showwork.model.attention import attention
from showwork.model.config import GemmaConfig

MODULES = ("q", "k", "v", "o", "gate", "up", "down")
REMAT = ("none", "dots", "block")
FEW_ROWS = 64
"""Up to so many rows, as in decoding, a CPU multiplies w x^T: at 8 rows 0.5 to 0.8 of the time of x w^T, at 64 as much."""


def linear(
    x: jax.Array, w: jax.Array, lora: dict | None = None, scale: float = 1.0, drop: Callable | None = None
) -> jax.Array:
    """x [rows, in] times w [out, in], plus the low-rank part scale * (x A^T) B^T, in x's dtype.

    Adapters stay float32 where they are kept and are cast only here, at the matmul.
    """
    y = _contract(x, w)
    if lora is None:
        return y
    low = _contract(x if drop is None else drop(x), lora["a"]) * jnp.asarray(scale, x.dtype)
    # Turned and held so: XLA:CPU takes the gradient of [out, R] four times slower than that of [R, out].
    turned = jax.lax.optimization_barrier(lora["b"].T.astype(x.dtype))
    return y + low @ turned


def _contract(x: jax.Array, w: jax.Array, dtype: jnp.dtype | None = None) -> jax.Array:
    """x [rows, in] times w [out, in] in x's dtype; `dtype` is that of the result, if another."""
    w, sides = w.astype(x.dtype), (((1,), (1,)), ((), ()))

    def plain(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.dot_general(x, w, sides, preferred_element_type=dtype)

    def turned(x: jax.Array, w: jax.Array) -> jax.Array:
        # Without the barrier the compiler would turn the product round again.
        return jax.lax.optimization_barrier(plain(w, x)).T

    return plain(x, w) if len(x) > FEW_ROWS else jax.lax.platform_dependent(x, w, cpu=turned, default=plain)


def rms_norm(x: jax.Array, weight: jax.Array, epsilon: float) -> jax.Array:
    """x [..., D] / rms(x) * (1 + weight [D]), computed in float32, in x's dtype."""
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + epsilon)
    return (wide * (1.0 + weight.astype(jnp.float32))).astype(x.dtype)


def rope_tables(cfg: GemmaConfig, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines [2, B, L, H/2] float32: row 0 for global layers, row 1 for local ones."""
    exponents = np.arange(0, cfg.head_width, 2) / cfg.head_width
    rates = np.stack([cfg.rope_base**-exponents / cfg.rope_factor, cfg.local_rope_base**-exponents])
    angles = positions.astype(jnp.float32)[None, :, :, None] * rates.astype(np.float32)[:, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotary embedding of x [B, L, heads, H] by tables [B, L, H/2]: the halves of a head are the two coordinates."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = cos[:, :, None, :], sin[:, :, None, :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def layer(
    w: dict,
    cfg: GemmaConfig,
    x: jax.Array,
    cos: jax.Array,
    sin: jax.Array,
    attend: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    lora: dict | None = None,
    scale: float = 1.0,
    drop: Callable[[int], Callable] | None = None,
) -> jax.Array:
    """One layer with unstacked weights w: x [B, L, D] to [B, L, D].

    `attend(q, k, v)` maps rotated [B, L, N, H], [B, L, K, H], [B, L, K, H] to [B, L, N, H]; training passes blocked
    attention, decoding one that writes and reads a cache. `drop(i)` is the dropout before module i's adapter.
    """
    batch, length, width = x.shape
    lora = lora or {}

    def project(name: str, flat: jax.Array) -> jax.Array:
        return linear(flat, w[name], lora.get(name), scale, drop and drop(MODULES.index(name)))

    flat = rms_norm(x, w["input_norm"], cfg.epsilon).reshape(batch * length, width)
    q = project("q", flat).reshape(batch, length, cfg.heads, cfg.head_width)
    k = project("k", flat).reshape(batch, length, cfg.kv_heads, cfg.head_width)
    v = project("v", flat).reshape(batch, length, cfg.kv_heads, cfg.head_width)
    if cfg.qk_norm:
        q = rms_norm(q, w["q_norm"], cfg.epsilon)
        k = rms_norm(k, w["k_norm"], cfg.epsilon)
    attended = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
    flat = project("o", attended.reshape(batch * length, cfg.heads * cfg.head_width))
    x = x + rms_norm(flat, w["post_attention_norm"], cfg.epsilon).reshape(x.shape)

    flat = rms_norm(x, w["pre_feedforward_norm"], cfg.epsilon).reshape(batch * length, width)
    flat = project("down", jax.nn.gelu(project("gate", flat), approximate=True) * project("up", flat))
    return x + rms_norm(flat, w["post_feedforward_norm"], cfg.epsilon).reshape(x.shape)


def embed(params: dict, cfg: GemmaConfig, tokens: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Rows of the embedding [B, L, D] of tokens [B, L] times sqrt(D), the factor rounded to `dtype` as in Google's code."""
    return params["embed"][tokens].astype(dtype) * jnp.asarray(math.sqrt(cfg.width), dtype)


def hidden(
    params: dict,
    cfg: GemmaConfig,
    tokens: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    lora: dict | None = None,
    scale: float = 1.0,
    remat: str = "block",
    *,
    dtype: jnp.dtype | None = None,
    dropout: float = 0.0,
    dropout_key: jax.Array | None = None,
    attention: Callable[..., jax.Array] = attention,
) -> jax.Array:
    """Final-norm hidden states of packed rows.

    Args:
        params: the tree of the module docstring.
        tokens: int [B, L].
        positions: int [B, L], restarting at 0 in each segment.
        segment_ids: int [B, L], 1… per row, 0 for padding.
        lora: adapter tree or None; modules without an entry are left alone.
        scale: alpha / R, or alpha / sqrt(R) for rsLoRA.
        remat: what the backward pass recomputes: 'none' nothing but attention, 'dots' all but the linears' outputs,
            'block' every layer from its input.
        dtype: compute dtype; default params' own. float32 params with bfloat16 here are cast inside each layer.
        dropout: share of adapter inputs dropped; needs dropout_key.
        attention: `model.attention.attention` or a kernel with its arguments (`model.kernels`).

    Returns:
        [B, L, D] in the compute dtype; the residual stream has that dtype throughout.

    Raises:
        ValueError: an unknown remat, or dropout without a key.
    """
    if remat not in REMAT:
        raise ValueError(f"remat is {remat!r}, wanted one of {', '.join(REMAT)}; set one of these.")
    if dropout and dropout_key is None:
        raise ValueError(f"dropout is {dropout}, which wants a dropout_key; give a key or set dropout to 0.")
    dtype = params["embed"].dtype if dtype is None else dtype
    cos, sin = rope_tables(cfg, positions)

    def attend_with(window: int | None) -> Callable:
        return lambda q, k, v: attention(
            q,
            k,
            v,
            positions=positions,
            segment_ids=segment_ids,
            scale=cfg.score_scale,
            softcap=cfg.attention_softcap,
            window=window,
        )

    limited = cfg.window is not None and tokens.shape[1] > cfg.window  # no window can bind in a row it covers

    def body(x: jax.Array, scanned: tuple) -> tuple[jax.Array, None]:
        w, lora_of_layer, local, key = scanned

        def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            if not limited or not any(cfg.local):
                return attend_with(None)(q, k, v)
            if all(cfg.local):
                return attend_with(cfg.window)(q, k, v)
            return jax.lax.cond(local, attend_with(cfg.window), attend_with(None), q, k, v)

        def drop(module: int) -> Callable:
            return lambda flat: _dropped(flat, dropout, jax.random.fold_in(key, module))

        kind = local.astype(jnp.int32)
        x = layer(w, cfg, x, cos[kind], sin[kind], attend, lora_of_layer, scale, drop if dropout else None)
        return x, None

    if remat == "block":
        body = jax.checkpoint(body, prevent_cse=False)
    elif remat == "dots":
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        body = jax.checkpoint(body, prevent_cse=False, policy=policy)
    keys = jax.random.split(dropout_key, cfg.num_layers) if dropout and dropout_key is not None else None
    x, _ = jax.lax.scan(body, embed(params, cfg, tokens, dtype), (params["layers"], lora, jnp.array(cfg.local), keys))
    return rms_norm(x, params["final_norm"], cfg.epsilon)


def _dropped(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


def logits(params: dict, cfg: GemmaConfig, states: jax.Array) -> jax.Array:
    """Soft-capped logits, float32 [..., V], of hidden states [..., D]. For training use the chunked loss instead."""
    out = _contract(states.reshape(-1, states.shape[-1]), params["embed"], jnp.float32)
    return softcapped(out, cfg.final_softcap).reshape(*states.shape[:-1], out.shape[-1])


def softcapped(x: jax.Array, cap: float | None) -> jax.Array:
    """cap * tanh(x / cap), or x when there is no cap; x [...]."""
    return x if cap is None else cap * jnp.tanh(x / cap)
