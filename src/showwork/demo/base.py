"""Make the demo's tiny base from random weights by seeded pre-training, in the layout of a Hugging Face Gemma-2 folder.

First lists of words said over and over, short ones first: copying from the context appears within a minute or two. (It did
not within 1.3 million tokens of runs that began with the world's text.) Then the diet of `diet.py`, at a falling rate.

Takes   a seed, and about an hour of one core; `--share 0.01` makes a miniature in seconds.
Leaves  a folder: config.json, model.safetensors, the tokenizer's files, generation_config.json, and measured.json with
        what the finished base can do, the CPU seconds, the digest of the weights.
Command python -m showwork.demo.base --out src/showwork/demo/base
Source  Gemma 2 report (arXiv 2408.00118) for the architecture; Olsson et al. 2022 for lists as a school of copying.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

from showwork.demo import diet, exam
from showwork.demo.tokenizer import BOS, END_OF_TURN, EOS, PAD, build_tokenizer, write_tokenizer
from showwork.foundation.files import sha256_file, write_json
from showwork.model.config import GemmaConfig
from showwork.model.gemma import hidden, logits
from showwork.model.params import layer_shapes, save_params
from showwork.tokens.packing import best_fit_decreasing, shuffle_bins

CONFIG = {
    "architectures": ["Gemma2ForCausalLM"],
    "model_type": "gemma2",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 50.0,
    "bos_token_id": BOS,
    "eos_token_id": [EOS, END_OF_TURN],
    "final_logit_softcapping": 30.0,
    "head_dim": 32,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 256,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "max_position_embeddings": 8192,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "pad_token_id": PAD,
    "query_pre_attn_scalar": 32,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": 64,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "use_cache": True,
}


@dataclass(frozen=True, slots=True)
class Course:
    """One stretch of training: `kind` is lists or diet, rows [batch, length]."""

    kind: str
    steps: int
    batch: int
    length: int


COURSES = (Course("lists", 300, 128, 16), Course("lists", 150, 40, 64), Course("diet", 3000, 28, 144))
LEARNING_RATE, WARMUP_STEPS = 3e-3, 50
NUM_ASKED = 200


def init_params(seed: int, cfg: GemmaConfig, vocab: int) -> dict:
    """Random weights: normal, of variance 1 / fan-in; norms at their identity."""
    key = jax.random.key(seed)
    keys = dict(zip(["embed", *layer_shapes(cfg)], jax.random.split(key, 1 + len(layer_shapes(cfg))), strict=True))

    def one(name: str, shape: tuple[int, ...]) -> jax.Array:
        if len(shape) == 1:
            return jnp.zeros((cfg.num_layers, *shape))
        return jax.random.normal(keys[name], (cfg.num_layers, *shape)) * shape[-1] ** -0.5

    return {
        "embed": jax.random.normal(keys["embed"], (vocab, cfg.width)) * cfg.width**-0.5,
        "final_norm": jnp.zeros(cfg.width),
        "layers": {name: one(name, shape) for name, shape in layer_shapes(cfg).items()},
    }


Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def list_batches(seed: int, course: Course, tokenizer: Tokenizer) -> Iterator[Batch]:
    """Rows of one random list of words repeated to the end; what counts begins where the repetition can be seen.

    tokens    7 3 9 7 3 9 7 3
    weights   0 0 0 0 1 1 1 1     weights[i] is that of predicting tokens[i]
    """
    pool = [
        tokenizer.encode(space + word, add_special_tokens=False).ids for word in diet.words() for space in ("", " ")
    ]
    pieces = np.array(sorted({ids[0] for ids in pool if len(ids) == 1}))
    rng = np.random.default_rng(seed)
    ones = np.ones((course.batch, course.length), np.int32)
    positions = np.broadcast_to(np.arange(course.length, dtype=np.int32), ones.shape)
    while True:
        tokens, weights = np.zeros_like(ones), np.zeros(ones.shape, np.float32)
        for row in range(course.batch):
            size = int(rng.integers(3, course.length // 2 + 1))
            tokens[row] = np.resize(rng.choice(pieces, size, replace=False), course.length)
            weights[row, size + 1 :] = 1
        yield tokens, weights, ones, positions


def encode(tokenizer: Tokenizer, document: diet.Document) -> tuple[list[int], list[float]]:
    """Ids and weights of one document, from `<bos>` to its end: `<end_of_turn>` where the text has one, else `<eos>`."""
    ids, weights = [BOS], [0.0]
    for (_, weight), part in zip(
        document, tokenizer.encode_batch([text for text, _ in document], add_special_tokens=False), strict=True
    ):
        ids += part.ids
        weights += [weight] * len(part.ids)
    return (ids, weights) if ids[-1] == END_OF_TURN else ([*ids, EOS], [*weights, 1.0])


def diet_batches(seed: int, course: Course, tokenizer: Tokenizer) -> Iterator[Batch]:
    """Rows of whole documents of the diet, packed by best fit, without end; segments do not see each other."""
    rng, words, chunk = Random(seed), diet.words(), 0
    while True:
        documents: list[tuple[list[int], list[float]]] = []
        while len(documents) < 60 * course.batch:
            ids, weights = encode(tokenizer, diet.document(rng, words)[1])
            if len(ids) <= course.length:
                documents.append((ids, weights))
        bins = shuffle_bins(best_fit_decreasing([len(ids) for ids, _ in documents], course.length), seed + chunk)
        chunk += 1
        for first in range(0, len(bins) - course.batch + 1, course.batch):
            shape = (course.batch, course.length)
            tokens, segments, positions = (np.zeros(shape, np.int32) for _ in range(3))
            loss_weights = np.zeros(shape, np.float32)
            for row, members in enumerate(bins[first : first + course.batch]):
                start = 0
                for segment, member in enumerate(members, start=1):
                    ids, weights = documents[member]
                    span = slice(start, start + len(ids))
                    tokens[row, span], loss_weights[row, span], segments[row, span] = ids, weights, segment
                    positions[row, span] = np.arange(len(ids))
                    start += len(ids)
            yield tokens, loss_weights, segments, positions


def loss_of(params: dict, cfg: GemmaConfig, batch: Batch) -> jax.Array:
    """Weighted mean of the next-token cross-entropy; batch arrays are [B, L]."""
    tokens, weights, segments, positions = map(jnp.asarray, batch)
    scores = logits(params, cfg, hidden(params, cfg, tokens, positions, segments, remat="none"))[:, :-1]
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, tokens[:, 1:])
    wanted = weights[:, 1:]
    return jnp.sum(losses * wanted) / jnp.sum(wanted)


def pretrain(
    params: dict,
    cfg: GemmaConfig,
    tokenizer: Tokenizer,
    courses: tuple[Course, ...],
    seed: int,
    keep: Callable[[dict], object],
) -> dict:
    """Trains all weights through the courses in turn with AdamW; the rate falls to a twentieth over the last course.

    `keep(params)` is called every 500 steps.
    """
    total = sum(course.steps for course in courses)
    before = total - courses[-1].steps
    warmup = min(WARMUP_STEPS, max(1, before // 2))
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(0.0, LEARNING_RATE, warmup),
            optax.constant_schedule(LEARNING_RATE),
            optax.cosine_decay_schedule(LEARNING_RATE, courses[-1].steps, 0.05),
        ],
        [warmup, before],
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.95, weight_decay=0.01))
    state = optimizer.init(params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: dict, state: optax.OptState, batch: Batch) -> tuple[dict, optax.OptState, jax.Array]:
        loss, grads = jax.value_and_grad(loss_of)(params, cfg, batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    began, done = time.process_time(), 0
    for number, course in enumerate(courses):
        batches = {"lists": list_batches, "diet": diet_batches}[course.kind](seed + number, course, tokenizer)
        for _ in range(course.steps):
            params, state, loss = step(params, state, next(batches))
            done += 1
            if done % 50 == 0 or done == total:
                print(
                    f"step {done:5d}/{total} loss {loss:.3f} cpu {time.process_time() - began:.0f} s", file=sys.stderr
                )
            if done % 500 == 0:
                keep(params)
                print(f"           one step: {exam.one_step(params, cfg, tokenizer, seed, 40)}", file=sys.stderr)
    return params


def make_base(out: Path, seed: int, share: float) -> None:
    """Writes the whole folder; `share` of the training steps."""
    tokenizer = build_tokenizer(seed)
    vocab = tokenizer.get_vocab_size()
    config = {**CONFIG, "vocab_size": vocab}
    cfg = GemmaConfig.from_hf(config)
    courses = tuple(Course(c.kind, max(1, round(c.steps * share)), c.batch, c.length) for c in COURSES)
    write_tokenizer(tokenizer, out)
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", "utf-8")
    start = init_params(seed, cfg, vocab)
    params = pretrain(start, cfg, tokenizer, courses, seed, lambda params: save_params(out, params, cfg))
    save_params(out, params, cfg)
    write_json(
        out / "measured.json",
        {
            "command": f"python -m showwork.demo.base --seed {seed} --share {share:g}",
            "start": "random weights",
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "training_tokens": sum(c.steps * c.batch * c.length for c in courses),
            "cpu_seconds": round(time.process_time()),
            "jax": jax.__version__,
            "sha256": {name: sha256_file(out / name) for name in ("model.safetensors", "tokenizer.json")},
            "one_step_accuracy": exam.one_step(params, cfg, tokenizer, seed, NUM_ASKED),
            "direct_accuracy": exam.direct(params, cfg, tokenizer, seed, NUM_ASKED),
            "well_formed_in_chat": exam.well_formed(params, cfg, tokenizer, seed, NUM_ASKED),
        },
    )


def main() -> int:
    """Parses the command line and makes the base."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="share of the training steps")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # one core, so that sums have one order and a seed one digest
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    make_base(arguments.out, arguments.seed, arguments.share)
    return 0


if __name__ == "__main__":
    sys.exit(main())
