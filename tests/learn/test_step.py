from __future__ import annotations

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import CFG, random_packed, random_params

from showwork.learn.data import batch
from showwork.learn.optimizer import adamw
from showwork.learn.step import accumulated, initial_state, make_step, supervised_loss
from showwork.model.gemma import hidden
from showwork.model.lora import init_lora, match_targets

PARAMS = random_params()
KEY = jax.random.key(0)
TRAIN = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
BINS = [[0, 1, 2], [3, 4], [5], [6, 7, 8]]
LENGTHS = [9, 6, 5, 12, 8, 20, 4, 7, 6]
PACKED = random_packed(BINS, LENGTHS, 20)


@functools.cache
def adapter(seed: int = 0):
    """An adapter that already acts: B is not zero."""
    generator = np.random.Generator(np.random.PCG64(seed))
    shapes = jax.eval_shape(lambda: init_lora(CFG, match_targets("all-linear", CFG), rank=2, seed=seed))
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(0, 0.2, leaf.shape), jnp.float32), shapes)


@partial(jax.jit, static_argnames=("remat", "full"))
def summed(trainable, one, *, remat="block", full=False):
    return accumulated(supervised_loss(CFG, full=full, remat=remat), trainable, PARAMS, one, KEY)


def rows(*numbers: int, micro: int = 4, packed=PACKED):
    """A batch of four rows, those not named missing: one shape, so that one program serves most tests."""
    return batch(packed, np.array(numbers), 4, micro)


def close(one, other, relative=1e-5):
    """Every leaf within `relative` of its own largest entry."""

    def check(a, b):
        a, b = np.asarray(a), np.asarray(b)
        assert np.abs(a - b).max() <= relative * max(np.abs(a).max(), 1e-6)

    jax.tree.map(check, one, other)


def test_the_packed_gradient_is_the_sum_of_the_separate_gradients():
    alone = random_packed([[i] for i in range(len(LENGTHS))], LENGTHS, 20)
    separate = [summed(adapter(), rows(i, packed=alone)) for i in range(len(LENGTHS))]
    close(jax.tree.map(lambda *parts: sum(parts), *separate), summed(adapter(), rows(0, 1, 2, 3)))


def test_perturbing_one_example_moves_no_logit_of_another():
    one = {name: array[0] for name, array in rows(0).items()}
    other = dict(one, tokens=np.where(one["segment_ids"] == 2, 399 - one["tokens"] % 100, one["tokens"]))
    states = [
        np.asarray(hidden(PARAMS, CFG, x["tokens"], x["positions"], x["segment_ids"], adapter())) for x in (one, other)
    ]
    elsewhere = one["segment_ids"] != 2
    np.testing.assert_array_equal(states[0][elsewhere], states[1][elsewhere])
    assert (states[0] != states[1])[~elsewhere].any()


def test_micro_batches_add_up_to_the_one_batch():
    close(summed(adapter(), rows(0, 1, 2, 3)), summed(adapter(), rows(0, 1, 2, 3, micro=1)))


@pytest.mark.parametrize("remat", ["dots", "none"])
def test_what_is_recomputed_changes_no_gradient(remat):
    close(summed(adapter(), rows(0, 1)), summed(adapter(), rows(0, 1), remat=remat))


def test_prompt_tokens_carry_no_loss():
    counted = int(summed(adapter(), rows(0, 1, 2, 3))[1]["loss_tokens"])
    assert counted == sum(n - max(1, n // 3) for n in LENGTHS)
    assert int(summed(adapter(), rows(0, 1, 2, 3))[1]["tokens"]) == sum(LENGTHS)


def test_only_adapter_leaves_get_gradients_and_all_of_them_do():
    gradient = summed(adapter(), rows(0, 1))[2]
    assert jax.tree.structure(gradient) == jax.tree.structure(adapter())
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))


def test_full_training_reaches_every_weight_and_the_embedding_from_both_ends():
    loss, _, gradient = summed(PARAMS, rows(0, 1), full=True)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))
    direction = jax.random.normal(jax.random.key(5), PARAMS["embed"].shape)
    moved = [
        summed({**PARAMS, "embed": PARAMS["embed"] + e * direction}, rows(0, 1), full=True)[0] for e in (2e-3, -2e-3)
    ]
    slope = float(jnp.vdot(gradient["embed"], direction))
    assert slope == pytest.approx(float(moved[0] - moved[1]) / 4e-3, rel=2e-2)
    assert np.isfinite(loss)


@jax.jit
def stepped(state, frozen, one, clip):
    return make_step(supervised_loss(CFG, full=False), adamw(TRAIN), lambda s: jnp.float32(1e-2), clip, 0)(
        state, frozen, one
    )


def run(state, one, *, clip=1.0, frozen=PARAMS):
    return stepped(state, frozen, one, clip)


def test_a_batch_is_divided_by_its_own_tokens_once():
    state = initial_state(adapter(), adamw(TRAIN))
    _, numbers = run(state, rows(0, 1, 2, 3))
    loss, sums, _ = summed(adapter(), rows(0, 1, 2, 3))
    assert float(numbers["loss"]) == pytest.approx(float(loss / sums["loss_tokens"]), rel=1e-6)


def test_missing_rows_at_the_end_of_an_epoch_count_for_nothing():
    halves = [summed(adapter(), rows(*some)) for some in ((0, 1), (2, 3))]
    close(jax.tree.map(jnp.add, *halves), summed(adapter(), rows(0, 1, 2, 3)))


def test_the_first_update_moves_each_entry_by_the_learning_rate():
    state = initial_state(adapter(), adamw(TRAIN))
    after, _ = run(state, rows(0, 1, 2, 3))
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a - b)).max(), after["trainable"], state["trainable"])
    assert all(0.009 < float(m) < 0.0101 for m in jax.tree.leaves(moved))


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    state = initial_state(adapter(), adamw(TRAIN))
    broken = {**PARAMS, "final_norm": PARAMS["final_norm"].at[0].set(jnp.nan)}
    after, numbers = run(state, rows(0, 1), frozen=broken)
    after, numbers = run(after, rows(0, 1), frozen=broken)
    jax.tree.map(np.testing.assert_array_equal, after["trainable"], state["trainable"])
    jax.tree.map(np.testing.assert_array_equal, after["moments"], state["moments"])
    assert (int(numbers["skipped"]), int(numbers["skipped_in_a_row"]), int(after["step"])) == (2, 2, 2)
    after, numbers = run(after, rows(0, 1))
    assert (int(numbers["skipped"]), int(numbers["skipped_in_a_row"])) == (2, 0)


def test_clipping_shortens_the_gradient_and_reports_its_true_norm():
    state = initial_state(adapter(), adamw(TRAIN))
    first, loose = run(state, rows(0), clip=np.inf)
    second, tight = run(state, rows(0), clip=1e-4)
    assert float(loose["grad_norm"]) == float(tight["grad_norm"]) > 1e-4
    means = [state["moments"][0].mu["q"]["a"] for state in (first, second)]
    np.testing.assert_allclose(means[0] * (1e-4 / float(tight["grad_norm"])), means[1], rtol=1e-5)


def test_the_residual_stream_stays_bfloat16_under_float32_adapters():
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS)
    one = {name: array[0] for name, array in rows(0).items()}
    found = jax.eval_shape(lambda: hidden(half, CFG, one["tokens"], one["positions"], one["segment_ids"], adapter()))
    assert found.dtype == jnp.bfloat16
    state = initial_state(adapter(), adamw(TRAIN))
    after, _ = jax.eval_shape(stepped, state, half, rows(0), 1.0)
    kept = jax.tree.leaves((after["trainable"], after["moments"][0].mu))
    assert {leaf.dtype for leaf in kept} == {jnp.dtype("float32")}
