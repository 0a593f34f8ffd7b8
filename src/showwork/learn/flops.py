"""Floating-point operations of training, by formula: what is useful, and what the program does.

Takes   a configuration, tokens, the pairs of tokens that attend to each other.
Leaves  plain integers. Only matrix products count, two operations for each multiply-add, as in the papers.
Source  counted by hand and held to XLA's own count of two unrolled layers by a test. XLA's number cannot be used as it
        stands: it counts the body of every loop once, which is 14 to 19 times too little for 26 scanned layers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from showwork.model.config import GemmaConfig
from showwork.model.gemma import MODULES
from showwork.model.params import layer_shapes

ROWS_AT_ONCE = 4096  # of memory-mapped rows


@dataclass(frozen=True)
class Work:
    """What a step works on: tokens, tokens with loss, and pairs (query, key) of a global and of a local layer."""

    tokens: int
    loss_tokens: int
    global_pairs: int
    local_pairs: int


def work_of(positions: np.ndarray, segment_ids: np.ndarray, loss_mask: np.ndarray, window: int | None) -> Work:
    """The work in packed rows [rows, L]: a token at position p attends to p + 1 tokens, at most `window` where local.

    >>> work_of(np.array([[0, 1, 2, 0]]), np.array([[1, 1, 1, 0]]), np.array([[0, 0, 1, 0]]), window=2)
    Work(tokens=3, loss_tokens=1, global_pairs=6, local_pairs=5)
    """
    counts = np.zeros(4, np.int64)
    for start in range(0, len(positions), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        seen = np.asarray(positions[part])[np.asarray(segment_ids[part]) > 0] + 1
        local = seen if window is None else np.minimum(seen, window)
        counts += np.array([len(seen), *(np.sum(a, dtype=np.int64) for a in (loss_mask[part], seen, local))])
    return Work(*map(int, counts))


def linear_parameters(cfg: GemmaConfig) -> int:
    """Entries of all linear layers; a token costs two operations for each."""
    shapes = layer_shapes(cfg)
    return cfg.num_layers * sum(shapes[name][0] * shapes[name][1] for name in MODULES)


def adapter_parameters(cfg: GemmaConfig, modules: Collection[str], rank: int) -> int:
    """Entries of an adapter of `rank` on `modules`."""
    shapes = layer_shapes(cfg)
    return cfg.num_layers * rank * sum(sum(shapes[name]) for name in modules)


def attention_forward(cfg: GemmaConfig, work: Work) -> int:
    """Scores and weighted values over all layers, forward."""
    local = sum(cfg.local)
    pairs = local * work.local_pairs + (cfg.num_layers - local) * work.global_pairs
    return 4 * cfg.heads * cfg.head_width * pairs


def useful(cfg: GemmaConfig, vocabulary: int, work: Work, modules: Collection[str] = (), rank: int = 0) -> int:
    """What a step cannot do without: no recomputation, no masked pair, the head on tokens with loss only.

    Forward, and backward to the activations; with all weights trained (`rank` 0) also backward to the weights.
    """
    passes = 2 if rank else 3
    linears = 2 * linear_parameters(cfg) * work.tokens
    head = 2 * vocabulary * cfg.width * work.loss_tokens
    adapter = 6 * adapter_parameters(cfg, modules, rank) * work.tokens
    return passes * (linears + head) + 3 * attention_forward(cfg, work) + adapter


def executed(
    cfg: GemmaConfig,
    vocabulary: int,
    rows: int,
    length: int,
    head_tokens: int,
    remat: str,
    modules: Collection[str],
    rank: int,
) -> int:
    """What the program does for one micro-batch of an adapter, attention's blocks taken as whole rows.

    Attention recomputes its scores always: 2 products forward, 1 again, 4 backward. `block` also runs each layer's
    forward pass once more, where the scores are needed but not the weighted values' gradient path again.
    """
    tokens = rows * length
    whole = Work(tokens, head_tokens, rows * length * length, rows * length * length)
    linears = 2 * linear_parameters(cfg) * tokens
    low_rank = 2 * adapter_parameters(cfg, modules, rank) * tokens
    forward = attention_forward(cfg, whole)
    again = {"none": 0, "dots": forward, "block": linears + low_rank + forward}[remat]
    head = 4 * vocabulary * cfg.width * head_tokens
    return 2 * linears + 3 * low_rank + forward // 2 * 7 + again + head
