"""Kernels of other libraries are held to ours before they are used, and never needed."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_gemma import packed

from showwork.model import kernels
from showwork.model.attention import attention
from showwork.model.config import GemmaConfig

CFG = GemmaConfig.from_hf(
    {
        "model_type": "gemma2", "hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 128, "vocab_size": 256, "query_pre_attn_scalar": 128, "sliding_window": 64,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "hidden_activation": "gelu_pytorch_tanh",
    }
)  # fmt: skip
WITHOUT_CAP = replace(CFG, attention_softcap=None)


@pytest.mark.parametrize("window", [None, 3])
def test_the_first_column_seen_is_the_segments_or_the_windows(window):
    positions, segments = packed([5, 1, 4], padding=2)
    first = np.asarray(kernels.first_seen(jnp.asarray(positions), window))[0]
    for i in range(10):
        same = [j for j in range(i + 1) if segments[0, j] == segments[0, i] and (window is None or i - j < window)]
        assert first[i] == min(same)


@pytest.mark.parametrize(
    ("function", "cfg"),
    [(partial(kernels.splash, interpret=True), CFG), (partial(kernels.cudnn, implementation="xla"), WITHOUT_CAP)],
    ids=["splash", "cudnn"],
)
@pytest.mark.parametrize("window", [None, 64])
def test_each_kernel_computes_what_ours_does(function, cfg, window):
    found = kernels.errors(function, cfg, "float32", 128, window)
    assert list(found) == ["output", "gradient of queries", "gradient of keys", "gradient of values"]
    for ours, theirs in found.values():
        assert ours == 0
        assert theirs < 1e-5


def test_a_kernel_that_ignores_segments_or_windows_or_the_cap_is_found_out():
    def without(**changed):
        return lambda *heads, **given: attention(*heads, **(given | changed))

    everyone = jnp.ones((1, 128), jnp.int32)
    assert "its output differs from float32's" in kernels.difference(
        without(segment_ids=everyone), CFG, "bfloat16", 128
    )
    assert "its output differs" in kernels.difference(without(window=None), CFG, "bfloat16", 128)
    assert "its output differs" in kernels.difference(without(softcap=None), CFG, "bfloat16", 128)
    assert kernels.difference(without(block=32), CFG, "bfloat16", 128) == ""


def test_a_wrong_gradient_is_found_out():
    @jax.custom_vjp
    def scaled(x):
        return x

    scaled.defvjp(lambda x: (x, None), lambda _, g: (g * 1.1,))
    wrong = lambda q, k, v, **given: attention(q, scaled(k), v, **given)  # noqa: E731
    assert "its gradient of keys differs" in kernels.difference(wrong, CFG, "float32", 128)


def test_a_kernel_that_raises_is_passed_over_with_its_words():
    assert kernels.difference(kernels.cudnn, CFG, "float32", 128) == (
        "it failed: ValueError: cudnn has no soft-cap of attention, and this model's is 50.0"
    )


def test_ours_is_taken_where_no_kernel_is_for_this_machine():
    found = kernels.chosen("auto", CFG, "float32", 128)
    assert (found.name, found.attend) == ("blocked", attention)
    assert found.passed_over == {
        "tokamax": "it is for gpu and this is cpu",
        "cudnn": "it is for gpu and this is cpu",
        "splash": "it is for tpu and this is cpu",
    }
    assert kernels.chosen("blocked", CFG, "float32", 128).passed_over == {}


def test_a_kernel_asked_for_by_name_that_is_not_for_this_machine_is_refused():
    with pytest.raises(
        ValueError, match=r"train.attention is 'splash', but it is for tpu and this is cpu; set it to auto or blocked"
    ):
        kernels.chosen("splash", CFG, "float32", 128)


def test_the_first_kernel_that_is_right_is_taken(monkeypatch):
    def fails(*heads, **given):
        raise RuntimeError("no such instruction\nand more")

    own = partial(attention, block=64)
    table = {
        "a": ("cpu", "nowhere_to_be_found", partial(attention, block=32)),
        "b": ("cpu", "jax", fails),
        "c": ("cpu", "jax", own),
    }
    monkeypatch.setattr(kernels, "KERNELS", table)
    found = kernels.chosen("auto", CFG, "float32", 128)
    assert (found.name, found.attend) == ("c", own)
    assert kernels.name_of(found.attend) == "c"
    assert found.passed_over == {
        "a": "nowhere_to_be_found is not installed",
        "b": "it failed: RuntimeError: no such instruction",
    }
    assert kernels.chosen("auto", CFG, "float32", 128, devices=2).name == "blocked"
