"""Logits of google-tunix's own Gemma with an adapter that showwork exported, as that folder's README says.

Command: python benchmarks/peers/tunix_logits.py BASE FOLDER TOKENS.npy LOGITS.npy
"""

import json
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax.numpy as jnp
import numpy as np
import qwix
from flax import nnx
from tunix.models.gemma3 import model as gemma3
from tunix.models.gemma3 import params_safetensors as gemma3_safetensors
from tunix.sft.checkpoint_manager import CheckpointManager
from tunix_training import load


def model_of(folder):
    """tunix's Gemma 2 or Gemma 3 of a Hugging Face folder, float32."""
    with open(f"{folder}/config.json") as file:
        said = json.load(file)
    if said["model_type"] == "gemma2":
        return load(folder)
    config = gemma3.ModelConfig(
        num_layers=said["num_hidden_layers"],
        num_embed=said["vocab_size"],
        embed_dim=said["hidden_size"],
        hidden_dim=said["intermediate_size"],
        num_heads=said["num_attention_heads"],
        head_dim=said["head_dim"],
        num_kv_heads=said["num_key_value_heads"],
        sliding_window_size=said["sliding_window"],
        local_base_frequency=int(said["rope_local_base_freq"]),
        global_base_frequency=int(said["rope_theta"]),
        param_dtype=jnp.float32,
    )
    return gemma3_safetensors.create_model_from_safe_tensors(folder, config, dtype=jnp.float32)


def main():
    base, folder, file, out = sys.argv[1:]
    with open(f"{folder}/provider.json") as said:
        provider = qwix.LoraProvider(**json.load(said))
    model = model_of(base)
    model = qwix.apply_lora_to_model(model, provider, rngs=nnx.Rngs(0), **model.get_model_input())
    step, _ = CheckpointManager(os.path.abspath(f"{folder}/checkpoint")).maybe_restore(
        model, restore_only_lora_params=True
    )
    if step == 0:
        raise SystemExit(f"{folder}/checkpoint: tunix found no checkpoint there")
    tokens = np.load(file)
    batch, length = tokens.shape
    positions = jnp.tile(jnp.arange(length), (batch, 1))
    mask = jnp.tile(jnp.tril(jnp.ones((length, length), bool)), (batch, 1, 1))
    logits, _ = model(jnp.asarray(tokens), positions, None, mask)
    np.save(out, np.asarray(logits, np.float32))


if __name__ == "__main__":
    main()
