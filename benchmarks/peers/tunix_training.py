"""google-tunix's PeftTrainer with qwix, as tunix's own examples use it: LoRA, rows padded to 1,024, gradients of 2 micro-batches.

Command: python benchmarks/peers/tunix_training.py MODEL   (a line on stdin, the file of examples, is an optimizer step)

Its own Gemma 2 from the same safetensors, float32, remat off as by default; qwix.LoraProvider on all seven linears, rank 16, alpha 32;
optax.adamw with clipping; progress bar and metrics as they are by default; no checkpoints. PeftTrainer 0.1.7 has no packing
(`supports_sequence_packing = False`), so rows are padded, as its examples pad them.
"""

import json
import os
import resource
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import qwix
from flax import nnx
from tunix.models.gemma import model as gemma
from tunix.models.gemma import params_safetensors
from tunix.sft import peft_trainer, utils

LENGTH, ROWS, ACCUMULATED = 1024, 2, 2
MODULES = ".*q_einsum|.*kv_einsum|.*attn_vec_einsum|.*gate_proj|.*up_proj|.*down_proj"


def load(folder, **changed):
    """tunix's Gemma of a Hugging Face folder."""
    with open(f"{folder}/config.json") as file:
        said = json.load(file)
    kinds = {"sliding_attention": gemma.AttentionType.LOCAL_SLIDING, "full_attention": gemma.AttentionType.GLOBAL}
    config = gemma.ModelConfig(
        num_layers=said["num_hidden_layers"],
        num_embed=said["vocab_size"],
        embed_dim=said["hidden_size"],
        hidden_dim=said["intermediate_size"],
        num_heads=said["num_attention_heads"],
        head_dim=said["head_dim"],
        num_kv_heads=said["num_key_value_heads"],
        final_logit_softcap=said["final_logit_softcapping"],
        use_post_attn_norm=True,
        use_post_ffw_norm=True,
        attention_types=tuple(kinds[k] for k in said["layer_types"]),
        attn_logits_soft_cap=said["attn_logit_softcapping"],
        sliding_window_size=said["sliding_window"],
        **changed,
    )
    return params_safetensors.create_model_from_safe_tensors(folder, config, dtype=jnp.float32)


def padded(file, place):
    """The next micro-batch: ids and where the loss is taken, [2, 1024]."""
    ids, mask = np.zeros((ROWS, LENGTH), np.int32), np.zeros((ROWS, LENGTH), bool)
    for row in range(ROWS):
        begin, end = file["starts"][place + row], file["starts"][place + row + 1]
        ids[row, : end - begin] = file["ids"][begin:end]
        mask[row, file["completions"][place + row] - begin : end - begin] = True
    return peft_trainer.TrainingInput(input_tokens=ids, input_mask=mask)


def model_input(given):
    """As in tunix's examples."""
    there = given.input_tokens != 0
    return {
        "input_tokens": given.input_tokens,
        "input_mask": given.input_mask,
        "positions": utils.build_positions_from_mask(there),
        "attention_mask": utils.make_causal_attn_mask(there),
    }


def main():
    model = load(sys.argv[1])
    provider = qwix.LoraProvider(module_path=MODULES, rank=16, alpha=32.0)
    model = qwix.apply_lora_to_model(model, provider, **model.get_model_input())
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 2e-5, 100, 10_000), b1=0.9, b2=0.999, weight_decay=0.0),
    )
    options = peft_trainer.TrainingConfig(
        eval_every_n_steps=1_000_000, max_steps=10_000, gradient_accumulation_steps=ACCUMULATED
    )
    trainer = peft_trainer.PeftTrainer(model, optimizer, options).with_gen_model_input_fn(model_input)
    kept = {}

    def batches():
        for line in sys.stdin:
            name = line.strip()
            if name not in kept:
                kept[name] = [dict(np.load(name)), 0]
            file, place = kept[name]
            begin, tokens = time.process_time(), 0
            for number in range(ACCUMULATED):
                one = padded(file, place + number * ROWS)
                tokens += int((one.input_tokens != 0).sum())
                yield one
            jax.block_until_ready(nnx.state(trainer.model, nnx.LoRAParam))
            took = time.process_time() - begin
            kept[name][1] = place + ACCUMULATED * ROWS
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"cpu_s": took, "tokens": tokens, "peak_mb": peak}), flush=True)

    trainer.train(batches())


if __name__ == "__main__":
    main()
