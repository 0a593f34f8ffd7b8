from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import CFG, HF

from showwork.learn.flops import (
    Work,
    adapter_parameters,
    attention_forward,
    executed,
    linear_parameters,
    useful,
    work_of,
)
from showwork.learn.loss import cross_entropy
from showwork.model.attention import attention
from showwork.model.config import GemmaConfig
from showwork.model.gemma import MODULES, layer, rope_tables
from showwork.model.lora import count_params
from showwork.model.params import layer_shapes

# Wide enough that products outweigh what XLA also counts, one operation for each added or multiplied entry.
WIDE = {**HF, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 128, "num_hidden_layers": 2, "sliding_window": 4096}  # fmt: skip


def lowered_flops(cfg: GemmaConfig, remat: str, rows: int, length: int, vocabulary: int, rank: int) -> float:
    """XLA's count of the gradient of two layers written one after the other, with the head as one chunk."""

    def loss(lora, x, weights, table, positions, segments, targets):
        cos, sin = rope_tables(cfg, positions)

        def attend(q, k, v):
            return attention(q, k, v, positions=positions, segment_ids=segments, scale=1.0, softcap=50.0)

        for index in range(cfg.num_layers):
            w, part = jax.tree.map(lambda a, i=index: a[i], (weights, lora))

            def one(x, w, part):
                return layer(w, cfg, x, cos[1], sin[1], attend, part, 1.0)

            x = (jax.checkpoint(one) if remat == "block" else one)(x, w, part)
        flat = x.reshape(-1, cfg.width)
        return cross_entropy(flat, table, targets.reshape(-1), jnp.ones(len(flat)), 30.0, len(flat), False)

    def shaped(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    shapes = layer_shapes(cfg)
    layers = {name: shaped(cfg.num_layers, *shape) for name, shape in shapes.items()}
    lora = {
        n: {"a": shaped(cfg.num_layers, rank, shapes[n][1]), "b": shaped(cfg.num_layers, shapes[n][0], rank)}
        for n in MODULES
    }
    ids = shaped(rows, length, dtype=jnp.int32)
    gradient = jax.grad(loss, argnums=(0, 1))
    lowered = jax.jit(gradient).lower(
        lora, shaped(rows, length, cfg.width), layers, shaped(vocabulary, cfg.width), ids, ids, ids
    )
    return lowered.cost_analysis()["flops"]


@pytest.mark.parametrize("remat", ["none", "block"])
def test_the_formula_agrees_with_xla_on_two_unrolled_layers(remat):
    cfg = GemmaConfig.from_hf(WIDE)
    rows, length, vocabulary, rank = 2, 128, 4096, 16
    found = lowered_flops(cfg, remat, rows, length, vocabulary, rank)
    formula = executed(cfg, vocabulary, rows, length, rows * length, remat, MODULES, rank)
    assert formula == pytest.approx(found, rel=0.02)


def test_work_counts_each_pair_that_attends_once():
    work = work_of(np.array([[0, 1, 2, 0, 1]]), np.array([[1, 1, 1, 0, 0]]), np.array([[0, 0, 1, 0, 0]]), window=2)
    assert work == Work(tokens=3, loss_tokens=1, global_pairs=6, local_pairs=5)


def test_useful_work_of_gemma_2_2b_is_the_number_of_the_papers():
    shape = {**HF, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
             "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096}  # fmt: skip
    cfg = GemmaConfig.from_hf(shape)
    assert linear_parameters(cfg) == 2_024_275_968
    assert adapter_parameters(cfg, MODULES, 64) == 83_066_880 == sum(count_params(cfg, MODULES, rank=64).values())
    row = Work(1024, 1024, 1024 * 1025 // 2, 1024 * 1025 // 2)
    # 4 N (10.46) + causal attention (0.33) + LoRA r 64 (0.50) = 11.28 GFLOP a token
    assert useful(cfg, 256_000, row, MODULES, 64) / 1024 == pytest.approx(11.28e9, rel=1e-2)
    assert attention_forward(cfg, row) == 26 * 4 * 8 * 256 * 1024 * 1025 // 2


def test_training_all_weights_is_three_passes():
    row = Work(100, 40, 5050, 5050)
    attention_alone = 3 * attention_forward(CFG, row)
    assert useful(CFG, 400, row) - attention_alone == 6 * (100 * linear_parameters(CFG) + 40 * 400 * CFG.width)
