"""A Gemma 2 of a few thousand parameters with every trait, and packed rows for it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from showwork.model.config import GemmaConfig
from showwork.model.params import layer_shapes
from showwork.tokens.packing import DTYPES, PackedArrays, pack

HF = {
    "model_type": "gemma2", "vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "query_pre_attn_scalar": 6,
    "sliding_window": 8, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
CFG = GemmaConfig.from_hf(HF)


def random_params(seed: int = 0, cfg: GemmaConfig = CFG, vocabulary: int = 400) -> dict:
    """Random weights of the scale of trained ones, float32."""
    generator = np.random.Generator(np.random.PCG64(seed))  # numpy's: nothing to compile

    def drawn(*shape: int) -> jax.Array:
        return jnp.asarray(generator.normal(0, 0.3, shape), jnp.float32)

    layers = {name: drawn(cfg.num_layers, *shape) for name, shape in layer_shapes(cfg).items()}
    return {"embed": drawn(vocabulary, cfg.width), "final_norm": drawn(cfg.width), "layers": layers}


def random_packed(bins: list[list[int]], lengths: list[int], row_length: int, seed: int = 0) -> PackedArrays:
    """Examples of random ids whose first third is prompt, packed as `bins` says."""
    generator = np.random.Generator(np.random.PCG64(seed))
    ids = [generator.integers(108, 400, n).astype(np.int32) for n in lengths]
    trained = [(np.arange(n) >= max(1, n // 3)).astype(np.uint8) for n in lengths]
    packed = PackedArrays(**{name: np.zeros((len(bins), row_length), dtype) for name, dtype in DTYPES.items()})
    pack(bins, list(zip(ids, trained, strict=True)), packed)
    return packed
