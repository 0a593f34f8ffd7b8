"""What a base of the world can do: single steps from the facts, answers at a glance, and its form in a chat.

Takes   params, configuration, tokenizer, a seed.
Leaves  shares of right answers, by family; questions come from a seed of their own, so none is one it was taught with
        but by chance.
Source  greedy choice under teacher forcing equals greedy generation as long as every choice is right.
"""

from __future__ import annotations

from functools import partial
from random import Random

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from showwork.demo.tokenizer import BOS, END_OF_TURN, EOS
from showwork.demo.world import FAMILIES, make_puzzle, question_of, remark
from showwork.model.config import GemmaConfig
from showwork.model.decode import prefill, step, unstack
from showwork.model.gemma import hidden, logits
from showwork.records.parse import Parsed, parse_target

LENGTH, SEED = 192, 10_000_019
SYSTEM_PROMPT = "Think in <reasoning>, then reply in <answer>."


@partial(jax.jit, static_argnums=1)
def _choices(params: dict, cfg: GemmaConfig, tokens: jax.Array) -> jax.Array:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return jnp.argmax(logits(params, cfg, hidden(params, cfg, tokens, positions, jnp.ones_like(tokens))), -1)


def _share_right(params: dict, cfg: GemmaConfig, tokenizer: Tokenizer, items: list[tuple[str, str]]) -> float:
    """Share of (prompt, wanted) pairs whose every wanted token is the greedy choice."""
    tokens = np.zeros((len(items), LENGTH), np.int32)
    spans = []
    for row, (prompt, wanted) in enumerate(items):
        before = [BOS, *tokenizer.encode(prompt, add_special_tokens=False).ids]
        after = tokenizer.encode(wanted, add_special_tokens=False).ids
        tokens[row, : len(before) + len(after)] = before + after
        spans.append((len(before), len(before) + len(after)))
    found = np.asarray(_choices(params, cfg, tokens))
    right = [np.array_equal(found[row, a - 1 : b - 1], tokens[row, a:b]) for row, (a, b) in enumerate(spans)]
    return round(sum(right) / len(right), 3)


def one_step(params: dict, cfg: GemmaConfig, tokenizer: Tokenizer, seed: int, num: int) -> dict[str, float]:
    """By family: share of single steps completed without fault from the facts before them."""
    out = {}
    for family, make in FAMILIES.items():
        rng, items = Random(SEED + seed), []
        for _ in range(num):
            scene = make(rng)
            free, fixed = remark(rng, scene)
            items.append((f"{question_of(rng, family, scene)}\n{free}", fixed))
        out[family] = _share_right(params, cfg, tokenizer, items)
    return out


def direct(params: dict, cfg: GemmaConfig, tokenizer: Tokenizer, seed: int, num: int) -> dict[str, float]:
    """By family: share of questions answered right without any step."""
    out = {}
    for family in FAMILIES:
        rng = Random(SEED + seed)
        puzzles = [make_puzzle(rng, family) for _ in range(num)]
        items = [(f"Question: {puzzle.question}\nAnswer:", f" {puzzle.answer}") for puzzle in puzzles]
        out[family] = _share_right(params, cfg, tokenizer, items)
    return out


def well_formed(
    params: dict, cfg: GemmaConfig, tokenizer: Tokenizer, seed: int, num: int, max_new_tokens: int = 72
) -> float:
    """Share of greedy replies in a chat that have exactly the form of the template."""
    rng = Random(SEED + seed)
    prompts = []
    for _ in range(num):
        question = make_puzzle(rng).question
        text = f"<bos><start_of_turn>user\n{SYSTEM_PROMPT}\n\n{question}<end_of_turn>\n<start_of_turn>model\n"
        prompts.append(tokenizer.encode(text, add_special_tokens=False).ids)
    replies = generate(params, cfg, prompts, max_new_tokens)
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in replies]
    good = [
        text.endswith("<end_of_turn>") and isinstance(parse_target(text.removesuffix("<end_of_turn>")), Parsed)
        for text in texts
    ]
    return round(sum(good) / len(good), 3)


def generate(params: dict, cfg: GemmaConfig, prompts: list[list[int]], max_new_tokens: int) -> list[list[int]]:
    """Greedy continuations, up to and with `<end_of_turn>` or `<eos>`."""
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    tokens = np.zeros((len(prompts), int(lengths.max())), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    weights = unstack(params, cfg)
    read = jax.jit(prefill, static_argnums=(1, 4))
    go_on = jax.jit(step, static_argnums=1, donate_argnums=2)
    scores, cache = read(weights, cfg, tokens, lengths, tokens.shape[1] + max_new_tokens)
    chosen = []
    for offset in range(max_new_tokens):
        chosen.append(np.asarray(jnp.argmax(scores, -1), np.int32))
        scores, cache = go_on(weights, cfg, cache, chosen[-1], lengths + offset)
    out = []
    for row in np.stack(chosen, 1).tolist():
        stops = [i for i, token in enumerate(row) if token in (END_OF_TURN, EOS)]
        out.append(row[: stops[0] + 1] if stops else row)
    return out
