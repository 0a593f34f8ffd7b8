"""Our logits, packed and unpacked, against transformers on random configurations, all longer than the window."""

import hf
import jax
import numpy as np
import pytest
from tiny_gemma import GEMMA2, GEMMA3, random_tokens, write_gemma

from showwork.model.config import GemmaConfig
from showwork.model.gemma import hidden, logits
from showwork.model.params import load_params

NUM_CONFIGS = 10


def random_config(base: dict, seed: int) -> dict:
    """Odd sizes: heads grouped in every way, windows from 3 up, soft-caps on and off, both spellings of layer kinds."""
    draw = np.random.RandomState([seed, len(base["model_type"])])
    kv_heads, groups = int(draw.randint(1, 4)), int(draw.randint(1, 4))
    layers = int(draw.randint(1, 8))
    # At least 8 wide: in a norm over 2 or 3 numbers float32 itself errs by more than the bound (transformers' float32
    # was 6e-5 from its float64 at width 3).
    width = kv_heads * groups * int(draw.randint(2, 12))
    width *= 1 if width >= 8 else 5
    config = {
        **base,
        "vocab_size": int(draw.randint(30, 90)),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * groups,
        "head_dim": 2 * int(draw.randint(2, 9)),
        "hidden_size": width,
        "intermediate_size": int(draw.randint(5, 80)),
        "num_hidden_layers": layers,
        "sliding_window": int(draw.randint(3, 17)),
        "query_pre_attn_scalar": int(draw.randint(4, 40)),
        "rope_theta": float(draw.choice([10000.0, 500.0, 1e6])),
        "rms_norm_eps": float(draw.choice([1e-6, 1e-5])),
    }
    if base["model_type"] == "gemma2":
        config["attn_logit_softcapping"] = [None, 2.0, 50.0][seed % 3]
        config["final_logit_softcapping"] = [None, 3.0, 30.0][seed // 3 % 3]
    else:
        config["sliding_window_pattern"] = int(draw.randint(2, 7))
        config["rope_local_base_freq"] = float(draw.choice([100.0, 10000.0]))
        if seed % 2:
            config["rope_scaling"] = {"rope_type": "linear", "factor": float(draw.choice([2.0, 8.0]))}
    if seed % 4 == 3:
        kinds = ["sliding_attention", "full_attention"]
        config["layer_types"] = [kinds[i] for i in draw.randint(0, 2, layers)]
    return config


@pytest.mark.parametrize("seed", range(NUM_CONFIGS))
@pytest.mark.parametrize("base", [GEMMA2, GEMMA3], ids=["gemma2", "gemma3"])
def test_logits_equal_those_of_transformers(base, seed, tmp_path, record_property):
    config = random_config(base, seed)
    model = hf.load(write_gemma(tmp_path, config, seed))
    cfg = GemmaConfig.from_hf(config)
    params = load_params(tmp_path, cfg, "float32")

    tokens = random_tokens(config, (2, 41), seed)  # row 0 is one sequence, row 1 three of them and padding
    lengths = [20, 1, 17]
    segments = np.ones((2, 41), np.int32)
    segments[1] = np.repeat([1, 2, 3, 0], [*lengths, 3])
    positions = np.tile(np.arange(41, dtype=np.int32), (2, 1))
    positions[1] = np.concatenate([np.arange(n) for n in (*lengths, 3)])
    got = jax.jit(lambda p: logits(p, cfg, hidden(p, cfg, tokens, positions, segments)))(params)
    assert max(lengths) > cfg.window

    starts = np.cumsum([0, *lengths])
    pieces = [(0, 0, 41)] + [(1, start, start + n) for start, n in zip(starts, lengths, strict=False)]
    for row, start, stop in pieces:
        wanted = hf.logits(model, tokens[row, start:stop])
        error = np.abs(np.asarray(got[row, start:stop]) - wanted).max()
        assert error <= 5e-5 * max(1, wanted.std()), (row, start, config)
        record_property("error", error / max(1, wanted.std()))
