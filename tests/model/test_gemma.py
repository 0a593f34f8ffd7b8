import functools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file
from tiny_gemma import CONFIGS, GEMMA2, GEMMA3, packed, random_tokens, write_gemma

from showwork.model.config import GemmaConfig, dtype_named
from showwork.model.gemma import FEW_ROWS, REMAT, hidden, linear, logits
from showwork.model.holder import Gemma
from showwork.model.lora import init_lora, match_targets
from showwork.model.params import load_params, shapes

GOLDEN = Path(__file__).parent.parent / "fixtures/golden_logits.safetensors"
BOTH = ("gemma2_odd", "gemma3_odd")


SHAPE = (2, 23)  # one shape throughout, longer than every window: one compilation per model


@functools.cache
def loaded(name, dtype="float32"):
    """Configuration and weights of a tiny Gemma."""
    cfg = GemmaConfig.from_hf(CONFIGS[name])
    with tempfile.TemporaryDirectory() as folder:
        return cfg, load_params(write_gemma(Path(folder), CONFIGS[name]), cfg, dtype)


@functools.partial(jax.jit, static_argnames=("cfg", "remat", "dropout", "dtype"))
def states_of(params, cfg, tokens, positions, segments, lora=None, scale=0.5, remat="block", **more):
    return hidden(params, cfg, tokens, positions, segments, lora, scale, remat, **more)


def run(params, cfg, tokens, positions, segments, **more):
    return np.asarray(logits(params, cfg, states_of(params, cfg, tokens, positions, segments, **more)))


def two_rows(row):
    """The same packed row twice: [1, L] arrays to SHAPE."""
    return tuple(np.repeat(array, 2, axis=0) for array in row)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_those_of_transformers_beyond_the_window(name):
    wanted = load_file(GOLDEN)[name]
    cfg, params = loaded(name)
    assert wanted.shape[:2] == SHAPE
    assert wanted.shape[1] > cfg.window
    got = run(params, cfg, random_tokens(CONFIGS[name], SHAPE), *two_rows(packed([23])))
    assert np.abs(got - wanted).max() <= 5e-5 * max(1, wanted.std())


@pytest.mark.parametrize("name", BOTH)
def test_a_packed_row_gives_each_segment_the_logits_it_has_alone(name):
    cfg, params = loaded(name)
    lengths = [7, 1, 12]
    assert max(lengths) > cfg.window
    tokens = np.repeat(random_tokens(CONFIGS[name], (1, 23)), 2, axis=0)
    together = run(params, cfg, tokens, *two_rows(packed(lengths, padding=3)))[0]
    start = 0
    for length in lengths:
        moved = np.roll(tokens, -start, axis=1)
        alone = run(params, cfg, moved, *two_rows(packed([length], padding=23 - length)))[0]
        np.testing.assert_allclose(together[start : start + length], alone[:length], atol=3e-5)
        start += length


@pytest.mark.parametrize("name", BOTH)
def test_perturbing_one_segment_moves_no_other_segment(name):
    cfg, params = loaded(name)
    row = two_rows(packed([6, 8, 7], padding=2))
    tokens = random_tokens(CONFIGS[name], SHAPE)
    other = np.where(row[1] == 2, (tokens + 1) % 47, tokens)
    before, after = (run(params, cfg, t, *row) for t in (tokens, other))
    same = row[1] != 2
    np.testing.assert_array_equal(before[same], after[same])
    assert np.abs(before - after)[~same].max() > 0.1


def test_no_token_sees_a_later_one():
    cfg, params = loaded("gemma2_odd")
    row = two_rows(packed([23]))
    tokens = random_tokens(GEMMA2, SHAPE)
    later = tokens.copy()
    later[:, 12:] = (later[:, 12:] + 5) % 47
    before, after = (run(params, cfg, t, *row) for t in (tokens, later))
    np.testing.assert_array_equal(before[:, :12], after[:, :12])


def test_few_rows_are_multiplied_to_what_they_are_among_many():
    """A linear of few rows is computed from the weights' side, its gradient too."""
    draws = np.random.Generator(np.random.PCG64(0))
    many, w = (jnp.array(draws.standard_normal(shape, np.float32)) for shape in ((FEW_ROWS + 1, 16), (24, 16)))
    few = many[:3]
    np.testing.assert_allclose(jax.jit(linear)(few, w), jax.jit(linear)(many, w)[:3], rtol=1e-5, atol=1e-5)
    found = jax.grad(lambda w: jnp.sum(linear(few, w) ** 2))(w)
    wanted = jax.grad(lambda w: jnp.sum(linear(many, w)[:3] ** 2))(w)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_remat_changes_neither_value_nor_gradient():
    cfg, params = loaded("gemma2_odd")
    lora = jax.tree.map(lambda x: x + 0.05, init_lora(cfg, ("q", "down"), rank=2, seed=0))
    tokens, (positions, segments) = random_tokens(GEMMA2, (1, 18)), packed([10, 8])
    quick = {"xla_backend_optimization_level": 0}  # half the time to compile

    def loss(trees, remat):
        states = hidden(trees[0], cfg, tokens, positions, segments, trees[1], 0.5, remat)
        return jnp.var(states[:, :, :5]) + jnp.mean(states)

    step = jax.jit(jax.value_and_grad(loss), static_argnums=1, compiler_options=quick)
    found = {remat: step((params, lora), remat) for remat in REMAT}
    for remat in REMAT[1:]:
        for one, other in zip(jax.tree.leaves(found["none"]), jax.tree.leaves(found[remat]), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5 * max(1.0, float(np.abs(one).max())))


def test_unknown_remat_is_refused():
    cfg, params = loaded("gemma2_odd")
    with pytest.raises(ValueError, match=r"remat is 'full', wanted one of none, dots, block; set one of these\."):
        hidden(params, cfg, np.zeros((1, 2), int), *packed([2]), remat="full")


@pytest.mark.parametrize("name", BOTH)
def test_bfloat16_keeps_the_residual_stream_narrow_and_the_logits_near(name):
    cfg, wide = loaded(name)
    _, narrow = loaded(name, "bfloat16")
    lora = init_lora(cfg, match_targets("all-linear", cfg), rank=2, seed=0)
    tokens, row = random_tokens(CONFIGS[name], SHAPE), two_rows(packed([13, 10]))
    jaxpr = jax.make_jaxpr(lambda p, lo: hidden(p, cfg, tokens, *row, lo))(narrow, lora)
    (scan,) = [e for e in jaxpr.jaxpr.eqns if e.primitive.name == "scan"]
    carried = scan.outvars[: scan.params["num_carry"]]
    assert [(v.aval.shape, v.aval.dtype) for v in carried] == [((*SHAPE, cfg.width), jnp.bfloat16)]
    exact, near = run(wide, cfg, tokens, *row), run(narrow, cfg, tokens, *row)
    assert near.dtype == np.float32
    assert np.abs(near - exact).mean() < 0.05 * exact.std()


def test_float32_weights_compute_in_bfloat16_when_asked():
    cfg, wide = loaded("gemma2_odd")
    tokens, row = random_tokens(GEMMA2, SHAPE), two_rows(packed([13, 10]))
    narrow = states_of(wide, cfg, tokens, *row, dtype=jnp.bfloat16)
    exact = states_of(wide, cfg, tokens, *row)
    assert narrow.dtype == jnp.bfloat16
    assert np.abs(narrow - exact).mean() < 0.05 * exact.std()


def test_float16_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"dtype is 'float16', wanted bfloat16 or float32: Gemma's activations exceed"):
        dtype_named("float16")
    with pytest.raises(ValueError, match=r"dtype is 'int8', wanted bfloat16 or float32"):
        dtype_named("int8")


def test_dropout_drops_adapter_inputs_only_and_by_key():
    cfg, params = loaded("gemma2_odd")
    lora = jax.tree.map(lambda x: x + 0.1, init_lora(cfg, ("q", "down"), rank=2, seed=0))
    tokens, row = random_tokens(GEMMA2, SHAPE), two_rows(packed([23]))

    def states(lora, **more):
        return np.asarray(states_of(params, cfg, tokens, *row, lora=lora, **more))

    keys = [jax.random.key(i) for i in (0, 0, 1)]
    one, again, other = (states(lora, dropout=0.5, dropout_key=key) for key in keys)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    fresh = init_lora(cfg, ("q", "down"), rank=2, seed=0)  # B is zero: whatever is dropped, nothing is added
    np.testing.assert_array_equal(states(fresh, dropout=0.5, dropout_key=keys[0]), states(fresh))
    with pytest.raises(ValueError, match=r"dropout is 0\.5, which wants a dropout_key"):
        states(lora, dropout=0.5)


def test_gemma_2_2b_has_the_published_parameter_count():
    cfg = GemmaConfig.from_hf(
        {"model_type": "gemma2", "num_hidden_layers": 26, "hidden_size": 2304, "intermediate_size": 9216}
    )
    assert sum(int(np.prod(s)) for s in shapes(cfg, 256_000).values()) == 2_614_341_888
    assert (cfg.window, cfg.attention_softcap, cfg.final_softcap) == (4096, 50.0, 30.0)
    assert cfg.local[:3] == (True, False, True)


def test_gemma_3_nested_text_config_takes_the_defaults_of_its_family():
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    cfg = GemmaConfig.from_hf({"model_type": "gemma3", "text_config": text, "vision_config": {}})
    assert (cfg.rope_base, cfg.local_rope_base, cfg.rope_factor) == (1e6, 1e4, 8.0)
    assert (cfg.heads, cfg.kv_heads, cfg.head_width, cfg.window) == (8, 4, 256, 1024)
    assert cfg.local.count(False) == 5
    assert not cfg.local[5]


def test_new_and_old_rope_keys_mean_the_same():
    plain = {k: v for k, v in GEMMA3.items() if not k.startswith("rope")}
    nested = {
        "full_attention": {"rope_type": "default", "rope_theta": 50000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 700.0},
    }
    assert GemmaConfig.from_hf({**plain, "rope_parameters": nested}) == GemmaConfig.from_hf(GEMMA3)
    flat = {k: v for k, v in GEMMA2.items() if k != "rope_theta"}
    new = {**flat, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    assert GemmaConfig.from_hf(new) == GemmaConfig.from_hf(GEMMA2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model_type": "llama"}, "model_type is 'llama', wanted one of gemma2, gemma3_text"),
        ({"hidden_activation": "silu"}, "hidden_activation is 'silu', wanted 'gelu_pytorch_tanh'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False, wanted True"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries of ['full_attention'], wanted 3"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rotary type of full_attention layers is 'yarn', wanted 'default'"),
    ],
)
def test_what_the_model_does_not_compute_is_refused(change, text):
    with pytest.raises(ValueError, match=r"^config\.json: ") as error:
        GemmaConfig.from_hf({**GEMMA2, **change})
    assert text in str(error.value)


def test_missing_sizes_are_named():
    with pytest.raises(ValueError, match=r"^config\.json: hidden_size missing, wanted the sizes of a gemma2 model"):
        GemmaConfig.from_hf({k: v for k, v in GEMMA2.items() if k != "hidden_size"})


def test_the_nnx_holder_is_the_functions_and_separates_adapter_from_base(tmp_path):
    cfg, params = loaded("gemma2_odd")
    tokens, row = random_tokens(GEMMA2, SHAPE), two_rows(packed([23]))
    held = Gemma.from_hf(write_gemma(tmp_path / "base", GEMMA2))
    got = nnx.jit(lambda model: model(tokens, *row))(held)
    np.testing.assert_allclose(got, run(params, cfg, tokens, *row), atol=2e-5)
    adapted = Gemma(params, cfg, init_lora(cfg, ("q",), rank=2, seed=0), 0.5)
    _, adapter, base = nnx.split(adapted, nnx.LoRAParam, ...)
    assert [leaf.shape for leaf in jax.tree.leaves(adapter)] == [(3, 2, 20), (3, 24, 2)]
    assert jax.tree.structure(adapted.trees()[0]) == jax.tree.structure(params)
    assert len(jax.tree.leaves(base)) == len(jax.tree.leaves(params))
