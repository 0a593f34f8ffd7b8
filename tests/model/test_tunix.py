"""Adapters in google-tunix's layout: there and back, and computing the same by its own einsums."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_model import CFG

from showwork.model.lora import init_lora
from showwork.model.tunix import from_tunix, provider, to_tunix


def adapter(cfg, modules, rank=3):
    state = np.random.RandomState(1)
    fresh = init_lora(cfg, modules, rank=rank, seed=0)
    return {n: {s: state.standard_normal(a.shape).astype(np.float32) for s, a in p.items()} for n, p in fresh.items()}


@pytest.mark.parametrize("modules", [("q", "k", "v", "o", "gate", "up", "down"), ("k",), ("v", "up"), ("o", "gate")])
@pytest.mark.parametrize("cfg", [CFG, replace(CFG, kv_heads=CFG.heads)], ids=["grouped", "fused"])
def test_there_and_back(cfg, modules):
    lora = adapter(cfg, modules)
    back = from_tunix(to_tunix(lora, cfg), cfg, modules, 3)
    assert set(back) == set(modules)
    for name in modules:
        for side in "ab":
            np.testing.assert_array_equal(back[name][side], lora[name][side])


def test_keys_and_values_are_what_our_two_products_are():
    lora = adapter(CFG, ("k", "v"))
    held = to_tunix(lora, CFG)["layers"]["1"]["attn"]["kv_einsum"]
    x = np.random.RandomState(2).standard_normal((5, CFG.width))
    theirs = np.einsum("td,dr,rckh->ctkh", x, held["w_lora_a"]["value"], held["w_lora_b"]["value"])
    for place, name in enumerate(("k", "v")):
        ours = x @ lora[name]["a"][1].T @ lora[name]["b"][1].T
        np.testing.assert_allclose(theirs[place].reshape(5, -1), ours, rtol=1e-5, atol=1e-5)


def test_the_provider_keeps_the_scale_and_names_only_what_was_trained():
    assert provider(adapter(CFG, ("o", "gate")), CFG, 2.0) == {
        "module_path": ".*attn_vec_einsum|.*gate_proj", "rank": 3, "alpha": 6.0,
    }  # fmt: skip
    assert provider(adapter(CFG, ("v",)), CFG, 2.0) == {"module_path": ".*kv_einsum", "rank": 6, "alpha": 12.0}


def test_an_adapter_that_tunix_trained_itself_is_not_taken_apart():
    tree = to_tunix(adapter(CFG, ("k", "v")), CFG)
    tree["layers"]["0"]["attn"]["kv_einsum"]["w_lora_b"]["value"][0, 1, 0, 0] = 1.0
    with pytest.raises(ValueError, match=r"layers/0/attn/kv_einsum: 1 entries of its B mix k and v, wanted zeros"):
        from_tunix(tree, CFG, ("k", "v"), 3)
