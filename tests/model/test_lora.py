import jax
import numpy as np
import pytest
from tiny_gemma import GEMMA2, packed, random_tokens, write_gemma

from showwork.model.config import GemmaConfig
from showwork.model.gemma import MODULES, hidden, logits
from showwork.model.lora import (
    count_params,
    from_peft,
    init_lora,
    match_targets,
    merge,
    scale_of,
    to_peft,
    unmerge,
)
from showwork.model.params import load_params

CFG = GemmaConfig.from_hf(GEMMA2)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return load_params(write_gemma(tmp_path_factory.mktemp("base") / "base", GEMMA2), CFG, "float32")


def moved(modules=MODULES, rank=3):
    """An adapter that has been trained: B is not zero."""
    state = np.random.RandomState(5)
    return jax.tree.map(
        lambda x: x + 0.2 * state.standard_normal(x.shape).astype(np.float32),
        init_lora(CFG, modules, rank=rank, seed=1),
    )


@jax.jit
def run(params, lora, scale=0.5):
    tokens, (positions, segments) = random_tokens(GEMMA2, (1, 15)), packed([9, 6])
    return logits(params, CFG, hidden(params, CFG, tokens, positions, segments, lora, scale))


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        ("all-linear", MODULES),
        (["v_proj", "q_proj"], ("q", "v")),
        (["down", "self_attn.k_proj"], ("k", "down")),
        (r".*\.self_attn\.[qv]_proj", ("q", "v")),
        (r".*mlp.*", ("gate", "up", "down")),
    ],
)
def test_targets_match_by_keyword_name_or_expression(targets, wanted):
    assert match_targets(targets, CFG) == wanted


THERE = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        (
            ["q_proj", "qkv_proj"],
            f"adapter target 'qkv_proj' matches nothing, wanted some of {THERE}; correct the name",
        ),
        ([], f"adapter targets are an empty list, wanted some of {THERE}; or set targets: all-linear."),
        (r".*attention.*", "adapter target '.*attention.*' matches nothing, wanted an expression over whole names"),
        (r"model\.layers\.[01]\..*q_proj", "matches self_attn.q_proj in 2 of 3 layers, wanted all or none"),
        (r".*(", "adapter target '.*(' is not a regular expression"),
        (["embed_tokens"], "adapter target 'embed_tokens' is the embedding, wanted some of"),
        (r"model\.(embed_tokens|.*q_proj)", "adapter target 'model.embed_tokens' is the embedding"),
        (
            ["lm_head"],
            "Gemma's embedding is also its output head, and an adapter on one merges into both; leave it out",
        ),
    ],
)
def test_a_target_that_cannot_be_trained_is_refused_with_the_names_there_are(targets, text):
    with pytest.raises(ValueError, match=r"^adapter target") as error:
        match_targets(targets, CFG)
    assert text in str(error.value)


def test_lora_starts_as_identity(params):
    fresh = init_lora(CFG, MODULES, rank=3, seed=0)
    np.testing.assert_array_equal(run(params, fresh), run(params, None))
    assert all(part["a"].std() > 0 and not part["b"].any() for part in fresh.values())


def test_start_depends_on_seed_and_name_only():
    alone = init_lora(CFG, ("down",), rank=2, seed=3)
    among = init_lora(CFG, tuple(reversed(MODULES)), rank=2, seed=3)
    np.testing.assert_array_equal(alone["down"]["a"], among["down"]["a"])
    assert not np.array_equal(among["gate"]["a"], among["up"]["a"])
    assert not np.array_equal(init_lora(CFG, ("down",), rank=2, seed=4)["down"]["a"], alone["down"]["a"])


def test_a_starts_uniform_within_the_bound_of_peft():
    a = np.asarray(init_lora(CFG, ("q",), rank=50, seed=0)["q"]["a"])
    bound = 1 / np.sqrt(CFG.width)
    assert a.dtype == np.float32
    assert np.abs(a).max() <= bound
    np.testing.assert_allclose(a.std(), bound / np.sqrt(3), rtol=0.05)


def test_merged_weights_give_the_adapters_logits(params):
    lora = moved()
    np.testing.assert_allclose(run(merge(params, lora, 0.5), None), run(params, lora), atol=2e-5)
    assert np.abs(run(params, lora) - run(params, None)).max() > 0.1


def test_unmerge_restores_the_base(params):
    lora = moved(("q", "down"))
    back = unmerge(merge(params, lora, 0.5), lora, 0.5)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_peft_names_round_trip():
    lora = moved(("k", "down"))
    named = to_peft(lora, CFG)
    assert list(named) == sorted(named)
    assert len(named) == 2 * 2 * CFG.num_layers
    key = "base_model.model.model.layers.2.self_attn.k_proj.lora_A.weight"
    np.testing.assert_array_equal(named[key], lora["k"]["a"][2])
    assert named["base_model.model.model.layers.0.mlp.down_proj.lora_B.weight"].shape == (20, 3)
    back = from_peft(named, CFG)
    assert jax.tree.structure(back) == jax.tree.structure(lora)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(lora), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_adapter_of_another_base_is_refused():
    named = to_peft(moved(("q",)), CFG)
    key = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
    with pytest.raises(ValueError, match=r"layers\.1\.self_attn\.q_proj\.lora_B is missing, wanted shape \[24, 3\]"):
        from_peft({k: v for k, v in named.items() if k != key}, CFG)
    with pytest.raises(ValueError, match=r"lora_B has shape \[9, 3\], wanted \[24, 3\]; give an adapter of this base"):
        from_peft({**named, key: np.zeros((9, 3), np.float32)}, CFG)
    with pytest.raises(ValueError, match=r"layers\.9\..* is unexpected, wanted names such as .* with layers below 3"):
        from_peft({**named, key.replace(".1.", ".9."): named[key]}, CFG)
    with pytest.raises(ValueError, match=r"the adapter has no tensors"):
        from_peft({}, CFG)


def test_counts_scale_and_rank():
    lora = init_lora(CFG, MODULES, rank=2, seed=0)
    counts = count_params(CFG, MODULES, rank=2)
    assert sum(counts.values()) == sum(x.size for x in jax.tree.leaves(lora))
    assert counts["self_attn.q_proj"] == 3 * 2 * (20 + 24)
    assert scale_of(rank=16, alpha=64) == 4.0
    assert scale_of(rank=16, alpha=64, rslora=True) == 16.0
    with pytest.raises(ValueError, match=r"adapter rank is 0, wanted at least 1"):
        init_lora(CFG, MODULES, rank=0, seed=0)
