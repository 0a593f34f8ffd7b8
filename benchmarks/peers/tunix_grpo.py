"""tunix's GRPOLearner on its vanilla rollout: one step a line of stdin, LoRA by qwix as in tunix_training.py, float32.

Command: python benchmarks/peers/tunix_grpo.py MODEL WORK   (WORK: prompts, new, group_size, batch)

No reference (beta 0), one iteration, temperature 1 without top-k; all rollouts of a step in one micro-batch of rollout and of training.
The reward is the share of even ids, of the text alone. No checkpoints; progress bar and metrics as they are by default.
"""

import json
import sys
import time

import jax
import numpy as np
import optax
import qwix
from flax import nnx
from tunix.rl import rl_cluster
from tunix.rl.grpo import grpo_learner
from tunix.rl.rollout import base_rollout
from tunix_decode import PROMPT, Ids
from tunix_training import MODULES, load


def even(prompts, completions, **_):
    """The share of even ids of each completion."""
    return [float(np.mean([int(n) % 2 == 0 for n in text.split()])) for text in completions]


def main():
    with open(sys.argv[2]) as file:
        work = json.load(file)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
    base = load(sys.argv[1])
    provider = qwix.LoraProvider(module_path=MODULES, rank=16, alpha=32.0)
    policy = qwix.apply_lora_to_model(base, provider, **base.get_model_input())
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 2e-5, 100, 10_000), b1=0.9, b2=0.999, weight_decay=0.0),
    )
    cluster = rl_cluster.RLCluster(
        actor=policy,
        tokenizer=Ids(),
        cluster_config=rl_cluster.ClusterConfig(
            role_to_mesh=dict.fromkeys(
                (rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT), mesh
            ),
            training_config=rl_cluster.RLTrainingConfig(
                actor_optimizer=optimizer, eval_every_n_steps=1_000_000, max_steps=10_000
            ),
            rollout_config=base_rollout.RolloutConfig(
                max_tokens_to_generate=work["new"],
                max_prompt_length=PROMPT,
                kv_cache_size=PROMPT + work["new"],
                temperature=1.0,
            ),
        ),
    )
    learner = grpo_learner.GRPOLearner(
        rl_cluster=cluster,
        algo_config=grpo_learner.GRPOConfig(num_generations=work["group_size"], beta=0.0),
        reward_fns=even,
    )
    texts = np.array([" ".join(map(str, p[1:])) for p in work["prompts"]])

    def batches():
        for number, _ in enumerate(sys.stdin):
            first = number * work["batch"]
            begin = time.process_time()
            yield {"prompts": texts[first : first + work["batch"]]}
            jax.block_until_ready(nnx.state(cluster.actor_trainer.model, nnx.LoRAParam))
            took = time.process_time() - begin
            print(json.dumps({"cpu_s": took, "updates": int(cluster.actor_trainer.train_steps)}), flush=True)

    learner.train(batches())


if __name__ == "__main__":
    main()
