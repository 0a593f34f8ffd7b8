from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_gemma import packed

from showwork.model import attention as attention_module
from showwork.model.attention import attend_block, attention, key_blocks


def naive(q, k, v, *, positions, segment_ids, scale, softcap=None, window=None):
    """Attention by its definition, float64, one query at a time: the oracle."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros(q.shape)
    for b, i, n in np.ndindex(q.shape[:3]):
        group = n * k.shape[2] // q.shape[2]
        seen = [
            j
            for j in range(i + 1)
            if segment_ids[b, j] == segment_ids[b, i] and (window is None or positions[b, i] - positions[b, j] < window)
        ]
        scores = k[b, seen, group] @ q[b, i, n] * scale
        if softcap is not None:
            scores = softcap * np.tanh(scores / softcap)
        weights = np.exp(scores - scores.max())
        out[b, i, n] = weights / weights.sum() @ v[b, seen, group]
    return out


def drawn(length, heads, kv_heads, batch=1, width=6):
    state = np.random.RandomState([length, heads, kv_heads])
    sizes = (heads, kv_heads, kv_heads)
    return [state.standard_normal((batch, length, n, width)).astype(np.float32) for n in sizes]


@pytest.mark.parametrize(
    ("window", "heads", "kv_heads", "softcap"),
    [(None, 4, 2, 1.5), (1, 3, 1, None), (5, 4, 2, 1.5), (100, 2, 2, None)],
)
def test_blocked_attention_equals_the_definition(window, heads, kv_heads, softcap):
    lengths = [9, 1, 11]
    positions, segments = (np.repeat(x, 2, axis=0) for x in packed(lengths, padding=2))
    segments[1] = 1  # the second row is one segment
    positions[1] = np.arange(23)
    q, k, v = drawn(23, heads, kv_heads, batch=2)
    settings = {"positions": positions, "segment_ids": segments, "scale": 0.7, "softcap": softcap, "window": window}
    got = np.asarray(jax.jit(lambda q, k, v: attention(q, k, v, block=8, **settings))(q, k, v))
    real = segments > 0
    np.testing.assert_allclose(got[real], naive(q, k, v, **settings)[real], atol=2e-6)


def test_block_size_changes_nothing():
    positions, segments = packed([30, 8], padding=1)
    q, k, v = drawn(39, 4, 2)
    settings = {"positions": positions, "segment_ids": segments, "scale": 0.4, "softcap": 2.0, "window": 6}

    def weighted(q, k, v, block):
        return (attention(q, k, v, block=block, **settings) * jnp.arange(6)).sum()

    quick = {"xla_backend_optimization_level": 0}  # half the time to compile
    gradient = jax.jit(jax.grad(weighted, (0, 1, 2)), static_argnums=3, compiler_options=quick)
    whole, blocked = (gradient(q, k, v, block) for block in (256, 14))
    for one, other in zip(whole, blocked, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_both_ways_through_the_blocks_give_the_same():
    """What an accelerator runs and what a CPU runs, at lengths that no block divides, outputs and gradients."""
    positions, segments = packed([7, 12, 2], padding=2)
    arrays = (*attention_layout(*drawn(23, 4, 2)), positions, segments)
    real = (segments > 0)[:, None, None, :, None]
    upstream = np.where(real, np.random.RandomState(1).standard_normal(arrays[0].shape), 0).astype(np.float32)
    how = attention_module._How(0.4, 2.0, 5, 8)

    def with_gradient(way):
        out, back = jax.vjp(lambda *heads: way(how, *heads, *arrays[3:]), *arrays[:3])
        return jnp.where(real, out, 0), *back(upstream)

    unrolled, skipping = (
        jax.jit(partial(with_gradient, way), compiler_options={"xla_backend_optimization_level": 0})()
        for way in (attention_module._unrolled, attention_module._attended)
    )
    for one, other in zip(unrolled, skipping, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_only_a_cpu_chooses_its_blocks_when_it_runs():
    """An accelerator would wait for the host at every choice: its program is unrolled, without a loop."""
    positions, segments = packed([20, 12])

    def total(q, k, v):
        return attention(q, k, v, positions=positions, segment_ids=segments, scale=1.0, block=8).sum()

    traced = jax.jit(jax.grad(total, (0, 1, 2))).trace(*drawn(32, 2, 1))
    lowered = {kind: traced.lower(lowering_platforms=(kind,)).as_text() for kind in ("cpu", "cuda", "tpu")}
    assert {kind: "stablehlo.while" in text for kind, text in lowered.items()} == {
        "cpu": True,
        "cuda": False,
        "tpu": False,
    }


def attention_layout(q, k, v):
    batch, length, heads, width = q.shape
    grouped = q.reshape(batch, length, k.shape[2], heads // k.shape[2], width).transpose(0, 2, 3, 1, 4)
    return grouped, k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)


def test_blocks_of_keys_that_no_query_sees_are_never_touched():
    positions, segments = packed([16, 16])
    q, k, v = drawn(32, 2, 1)
    k[:, :16] = v[:, :16] = np.nan  # times a weight of zero it would still be NaN

    def total(q, k, v):
        out = attention(q, k, v, positions=positions, segment_ids=segments, scale=1.0, block=8)
        return jnp.sum(out[:, 16:]), out

    quick = {"xla_backend_optimization_level": 0}
    gradients, out = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True), compiler_options=quick)(q, k, v)
    for array in (out, *gradients):
        assert np.isfinite(array[:, 16:]).all()


def test_the_choices_of_key_blocks_hold_what_a_window_needs():
    assert key_blocks(16, 256, None) == (1, 2, 3, 4, 6, 8, 12, 16)
    assert key_blocks(16, 256, 512) == (1, 2, 3)
    assert key_blocks(3, 256, None) == (1, 2, 3)
    assert key_blocks(8, 128, 1) == (1,)


def test_long_rows_have_at_most_sixteen_blocks():
    positions, segments = packed([100])
    arrays = (*attention_layout(*drawn(100, 2, 1)), positions, segments)
    jaxpr = jax.make_jaxpr(lambda *a: attention_module._unrolled(attention_module._How(1.0, None, None, 7), *a))(
        *arrays
    )
    assert sum("remat" in e.primitive.name or "checkpoint" in e.primitive.name for e in jaxpr.eqns) == 15
    assert len(key_blocks(4096, 128, None)) == 24  # half a million tokens


def test_scores_are_float32_and_the_result_has_the_values_dtype():
    positions, segments = packed([8])
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in drawn(8, 2, 1)]
    got = jax.jit(lambda *qkv: attention(*qkv, positions=positions, segment_ids=segments, scale=1.0))(*narrow)
    assert got.dtype == jnp.bfloat16
    wanted = naive(*narrow, positions=positions, segment_ids=segments, scale=1.0)
    np.testing.assert_allclose(np.asarray(got, np.float64), wanted, atol=0.03)


def test_one_query_against_a_cache_sees_only_what_was_written():
    q, k, v = drawn(10, 4, 2)
    positions, segments = packed([10])
    whole = naive(q, k, v, positions=positions, segment_ids=segments, scale=0.5, window=4)
    cache_k, cache_v = (np.concatenate([x, np.full_like(x, 9.0)], axis=1).transpose(0, 2, 1, 3) for x in (k, v))
    settings = {"scale": 0.5, "softcap": None, "window": 4}
    run = jax.jit(lambda *arrays: attend_block(*arrays, **settings))
    one = run(q[:, 9].reshape(1, 2, 2, 1, 6), cache_k, cache_v, np.array([[9]]), np.arange(20)[None])
    np.testing.assert_allclose(one.reshape(4, 6), whole[0, 9], atol=1e-6)


def test_segments_of_one_side_only_are_refused():
    q, k, places = jnp.zeros((1, 1, 1, 3, 2)), jnp.zeros((1, 1, 3, 2)), jnp.arange(3)[None]
    with pytest.raises(ValueError, match="segments of one side only, wanted both or neither"):
        attend_block(q, k, k, places, places, jnp.ones((1, 3), int), scale=1.0, softcap=None, window=None)
