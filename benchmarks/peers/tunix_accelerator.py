"""google-tunix's PeftTrainer with qwix on an accelerator: LoRA of rank 64, rows padded to 1,024, bfloat16, remat off as by default.

Command: python benchmarks/peers/tunix_accelerator.py gemma2-2b|tiny EXAMPLES ROWS

As peers/tunix_training.py, with tunix's own configuration of Gemma 2 2B and random weights; a micro-batch is ROWS examples, each padded.
Prints JSON: real tokens a second over the steps after the third, the seconds of each step, the device's peak memory.
"""

import dataclasses
import json
import os
import sys
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import qwix
from flax import nnx
from tunix.models.gemma import model as gemma
from tunix.sft import peft_trainer
from tunix_training import LENGTH, MODULES, model_input

STEPS = 9


def main():
    name, file, rows = sys.argv[1], dict(np.load(sys.argv[2])), int(sys.argv[3])
    config = gemma.ModelConfig.gemma2_2b()
    if name == "tiny":
        config = dataclasses.replace(
            config, num_layers=2, num_embed=1024, embed_dim=128, hidden_dim=256, num_heads=2, head_dim=64,
            num_kv_heads=1, attention_types=config.attention_types[:2],
        )  # fmt: skip
    config = (
        dataclasses.replace(config, param_dtype=jnp.bfloat16, dtype=jnp.bfloat16)
        if hasattr(config, "dtype")
        else config
    )
    model = gemma.Gemma(config, rngs=nnx.Rngs(0))
    state = nnx.state(model)
    nnx.update(
        model, jax.tree.map(lambda a: a.astype(jnp.bfloat16) if jnp.issubdtype(a.dtype, jnp.floating) else a, state)
    )
    del state
    provider = qwix.LoraProvider(module_path=MODULES, rank=64, alpha=64.0)
    model = qwix.apply_lora_to_model(model, provider, **model.get_model_input())
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 2e-5, 100, 10_000), b1=0.9, b2=0.999, weight_decay=0.0),
    )
    options = peft_trainer.TrainingConfig(eval_every_n_steps=1_000_000, max_steps=STEPS)
    trainer = peft_trainer.PeftTrainer(model, optimizer, options).with_gen_model_input_fn(model_input)
    took, tokens = [], []

    def batches():
        for step in range(STEPS):
            ids, mask = np.zeros((rows, LENGTH), np.int32), np.zeros((rows, LENGTH), bool)
            for row in range(rows):
                place = (step * rows + row) % (len(file["starts"]) - 1)
                begin, end = file["starts"][place], file["starts"][place + 1]
                ids[row, : end - begin] = file["ids"][begin:end]
                mask[row, file["completions"][place] - begin : end - begin] = True
            one = peft_trainer.TrainingInput(input_tokens=ids, input_mask=mask)
            tokens.append(int((ids != 0).sum()))
            begun = time.perf_counter()
            yield one
            jax.block_until_ready(nnx.state(trainer.model, nnx.LoRAParam))
            took.append(time.perf_counter() - begun)

    trainer.train(batches())
    kinds = sorted({str(a.dtype) for a in jax.tree.leaves(nnx.state(model))})
    found = {
        "micro_batch": rows, "tokens_per_s": sum(tokens[3:-1]) / sum(took[3:-1]) if len(took) == STEPS else sum(tokens[3:len(took)]) / sum(took[3:]),
        "places_per_s": rows * LENGTH / float(np.median(took[3:])), "steps_s": [round(t, 4) for t in took],
        "dtypes": kinds, "peak_gb": (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 1e9,
    }  # fmt: skip
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
