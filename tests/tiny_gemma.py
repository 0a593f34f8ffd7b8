"""Small odd-sized Gemmas with random weights, the same in every environment: shared by tests, goldens and `make parity`."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# Odd sizes on purpose: nothing divides anything that it need not. Every length below exceeds the windows.
GEMMA2 = {
    "model_type": "gemma2",
    "architectures": ["Gemma2ForCausalLM"],
    "vocab_size": 47,
    "hidden_size": 20,
    "intermediate_size": 35,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "query_pre_attn_scalar": 7,
    "sliding_window": 5,
    "hidden_activation": "gelu_pytorch_tanh",
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 2.0,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "dtype": "float32",
}
GEMMA3 = {
    **{key: value for key, value in GEMMA2.items() if not key.endswith("softcapping")},
    "model_type": "gemma3_text",
    "architectures": ["Gemma3ForCausalLM"],
    "num_hidden_layers": 4,
    "sliding_window": 4,
    "sliding_window_pattern": 3,
    "rope_theta": 50000.0,
    "rope_local_base_freq": 700.0,
}
CONFIGS = {
    "gemma2_odd": GEMMA2,
    "gemma2_one_kv_head": {
        **GEMMA2, "hidden_size": 21, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 10,
        "num_hidden_layers": 2, "sliding_window": 9,
    },
    "gemma2_no_softcap_no_groups": {
        **GEMMA2, "num_key_value_heads": 4, "attn_logit_softcapping": None, "final_logit_softcapping": None,
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
    },
    "gemma3_odd": GEMMA3,
    "gemma3_linear_rope": {
        **GEMMA3, "num_hidden_layers": 3, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "head_dim": 8,
        "sliding_window_pattern": 2, "sliding_window": 7,
    },
}  # fmt: skip


def tensor_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Every tensor of a Hugging Face folder of this configuration: written out apart from model/params, to check it."""
    width, ffw = config["hidden_size"], config["intermediate_size"]
    head, heads, kv_heads = config["head_dim"], config["num_attention_heads"], config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        shapes[at + "self_attn.q_proj.weight"] = (heads * head, width)
        shapes[at + "self_attn.k_proj.weight"] = (kv_heads * head, width)
        shapes[at + "self_attn.v_proj.weight"] = (kv_heads * head, width)
        shapes[at + "self_attn.o_proj.weight"] = (width, heads * head)
        shapes[at + "mlp.gate_proj.weight"] = (ffw, width)
        shapes[at + "mlp.up_proj.weight"] = (ffw, width)
        shapes[at + "mlp.down_proj.weight"] = (width, ffw)
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[at + f"{norm}_layernorm.weight"] = (width,)
        if config["model_type"] == "gemma3_text":
            shapes[at + "self_attn.q_norm.weight"] = (head,)
            shapes[at + "self_attn.k_norm.weight"] = (head,)
    shapes["model.norm.weight"] = (width,)
    return shapes


def random_weights(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Float32 tensors by Hugging Face name, each seeded by its own name. RandomState's stream is frozen by NumPy."""
    weights = {}
    for name, shape in tensor_shapes(config).items():
        draw = np.random.RandomState([seed, zlib.crc32(name.encode())]).standard_normal(shape)
        spread = 0.3 if len(shape) == 1 else 1.0 if "embed" in name else 1.5 / np.sqrt(shape[-1])
        weights[name] = (spread * draw).astype(np.float32)
    return weights


def write_gemma(folder: Path, config: dict, seed: int = 0, weights: dict[str, np.ndarray] | None = None) -> Path:
    """A Hugging Face folder: config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_weights(config, seed) if weights is None else weights, folder / "model.safetensors")
    return folder


def random_tokens(config: dict, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.RandomState([seed, 7]).randint(3, config["vocab_size"], shape).astype(np.int32)


def packed(lengths: list[int], padding: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """positions and segment_ids [1, L] of one packed row.

    packed([2, 3], padding=1): positions 0 1 0 1 2 0, segment_ids 1 1 2 2 2 0
    """
    positions = np.concatenate([np.arange(n) for n in lengths] + [np.zeros(padding)]).astype(np.int32)
    segments = np.repeat([*list(range(1, len(lengths) + 1)), 0], [*lengths, padding]).astype(np.int32)
    return positions[None], segments[None]
