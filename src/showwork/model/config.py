"""The shape of one Gemma 2 or Gemma 3 text model, read from a Hugging Face config.json.

*Takes* the dict of config.json. *Leaves* a frozen GemmaConfig, which every function of the model takes. What the model
does not compute (another activation, biases, an untied head, other rotary scalings) is refused, not ignored.

Source: transformers' configuration files of gemma2 and gemma3, old flat keys and new nested ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

# What transformers assumes when config.json is silent; gemma-3-4b's text_config is.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma2": {"sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "gemma3_text": {"sliding_window": 4096, "attn_logit_softcapping": None, "final_logit_softcapping": None},
}


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
    """The shape and the constants of one Gemma; hashable, so that it can be a static argument of jit."""

    family: str  # gemma2 | gemma3_text
    num_layers: int
    width: int  # D
    ffw_width: int  # F
    heads: int  # N
    kv_heads: int  # K
    head_width: int  # H
    local: tuple[bool, ...]  # per layer: sees only the sliding window
    window: int | None  # tokens a local layer sees, the token itself included
    rope_base: float
    local_rope_base: float
    rope_factor: float  # global layers divide positions by it
    score_scale: float
    attention_softcap: float | None
    final_softcap: float | None
    epsilon: float

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalized, as Gemma 3 does."""
        return self.family == "gemma3_text"

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> GemmaConfig:
        """Read a Hugging Face config.json (Gemma 2, Gemma 3 text, or a Gemma 3 with a nested text_config).

        Raises:
            ValueError: another model type, a missing size, or a feature that this model does not have.
        """
        config = dict(config)
        if "text_config" in config:
            config = {"model_type": "gemma3_text", **config["text_config"]}
        family = config.get("model_type")
        if family not in _DEFAULTS:
            raise ValueError(
                f"config.json: model_type is {family!r}, wanted one of {', '.join(_DEFAULTS)} (or a Gemma 3 with a "
                f"text_config); give a Gemma 2 or Gemma 3 text folder as the base."
            )
        missing = [name for name in ("num_hidden_layers", "hidden_size", "intermediate_size") if name not in config]
        if missing:
            raise ValueError(
                f"config.json: {', '.join(missing)} missing, wanted the sizes of a {family} model; "
                f"take config.json from the folder that the weights came from."
            )
        get = {**_DEFAULTS[family], **config}.get
        _refuse_unknown_features(family, get)
        num_layers = config["num_hidden_layers"]
        rope_base, local_rope_base, rope_factor = _rope(family, config)
        return cls(
            family=family,
            num_layers=num_layers,
            width=config["hidden_size"],
            ffw_width=config["intermediate_size"],
            heads=get("num_attention_heads", 8),
            kv_heads=get("num_key_value_heads", 4),
            head_width=get("head_dim", 256),
            local=_local_layers(family, config, num_layers) if get("sliding_window") else (False,) * num_layers,
            window=get("sliding_window"),
            rope_base=rope_base,
            local_rope_base=local_rope_base,
            rope_factor=rope_factor,
            score_scale=float(get("query_pre_attn_scalar", 256)) ** -0.5,
            attention_softcap=get("attn_logit_softcapping"),
            final_softcap=get("final_logit_softcapping"),
            epsilon=get("rms_norm_eps", 1e-6),
        )


def _refuse_unknown_features(family: str, get: Callable[..., Any]) -> None:
    wanted = {
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": False,
    }
    if family == "gemma3_text":
        wanted["attn_logit_softcapping"] = None
    for name, value in wanted.items():
        found = get(name, value)
        if found != value and not (found is None and value is False):
            raise ValueError(
                f"config.json: {name} is {found!r}, wanted {value!r}, the only one that {family} checkpoints of Google "
                f"use and this model computes; give such a base."
            )


def _local_layers(family: str, config: Mapping[str, Any], num_layers: int) -> tuple[bool, ...]:
    kinds = config.get("layer_types")
    if kinds is None:
        every = 2 if family == "gemma2" else config.get("sliding_window_pattern", 6)
        return tuple((layer + 1) % every != 0 for layer in range(num_layers))
    if len(kinds) != num_layers or not set(kinds) <= {"sliding_attention", "full_attention"}:
        raise ValueError(
            f"config.json: layer_types has {len(kinds)} entries of {sorted(set(kinds))}, wanted {num_layers} of "
            f"sliding_attention or full_attention; take config.json from the folder that the weights came from."
        )
    return tuple(kind == "sliding_attention" for kind in kinds)


def _rope(family: str, config: Mapping[str, Any]) -> tuple[float, float, float]:
    """Base of global layers, base of local layers, factor of global layers: old flat keys or new nested ones."""
    nested = config.get("rope_parameters") or {}
    if family == "gemma2":
        whole = {"rope_theta": config.get("rope_theta", 10_000.0), **(config.get("rope_scaling") or {}), **nested}
        part = whole
    else:
        whole = {
            "rope_theta": config.get("rope_theta", 1_000_000.0),
            **(config.get("rope_scaling") or {}),
            **(nested.get("full_attention") or {}),
        }
        part = {"rope_theta": config.get("rope_local_base_freq", 10_000.0), **(nested.get("sliding_attention") or {})}
    for name, rope in (("full_attention", whole), ("sliding_attention", part)):
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "linear") or (kind == "linear" and rope is part):
            raise ValueError(
                f"config.json: the rotary type of {name} layers is {kind!r}, wanted 'default' (or 'linear' "
                f"on Gemma 3's full_attention layers); give a base whose config.json uses one of these."
            )
    return float(whole["rope_theta"]), float(part["rope_theta"]), float(whole.get("factor", 1.0))


def dtype_named(name: str) -> jnp.dtype:
    """The compute dtype of a setting: 'float32' or 'bfloat16'.

    Raises:
        ValueError: float16, which Gemma's activations overflow, or an unknown name.
    """
    if str(name) in ("float16", "fp16", "half"):
        raise ValueError(
            f"dtype is {name!r}, wanted bfloat16 or float32: Gemma's activations exceed float16's largest value "
            f"(65,504) and turn into NaN; set dtype: bfloat16, which has the same size."
        )
    if str(name) not in ("float32", "bfloat16"):
        raise ValueError(f"dtype is {name!r}, wanted bfloat16 or float32; set one of these.")
    return jnp.dtype(name)
