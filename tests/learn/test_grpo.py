"""The policy's loss and updates on a tiny Gemma: exact where exactness is promised."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import CFG, HF, random_params
from tiny_run import SETTINGS

from showwork.learn.advantage import advantages
from showwork.learn.groups import micro_batches
from showwork.learn.grpo import policy_loss, resolved, scores_of, shares
from showwork.learn.learner import PACKED, Learner
from showwork.learn.rollout import Request, generate
from showwork.learn.session import policy_session

HOW = {
    "variant": "dapo", "group_size": 4, "prompts_per_batch": 3, "updates_per_batch": 1, "max_new_tokens": 12,
    "temperature": 0.8, "reference": "start", "kl": 0.0, "clip_low": None, "clip_high": None, "aggregate": None,
    "scale_by_std": None, "mask_overlong": None,
}  # fmt: skip


def made_of(**changes):
    how = resolved({**HOW, **changes})
    train = {
        **SETTINGS["train"],
        "method": "grpo",
        "epochs": None,
        "max_steps": 20,
        "warmup_steps": 0,
        "weight_decay": 0.0,
    }
    return policy_session({**SETTINGS, "train": train, "max_seq_length": 24}, HF, 10, how), how


@pytest.fixture(scope="module")
def policy():
    """(frozen, adapter that is not at its start)."""
    made, _ = made_of()
    draws = np.random.Generator(np.random.PCG64(3))
    adapter = jax.tree.map(lambda a: a + jnp.asarray(draws.normal(0, 0.1, a.shape), jnp.float32), made.fresh_adapter())
    return random_params(), adapter


@pytest.fixture(scope="module")
def written(policy):
    """(prompts, rollouts) of 3 prompts x 4."""
    made, how = made_of()
    draws = np.random.Generator(np.random.PCG64(1))
    asked = [np.array([2, *draws.integers(108, 400, n)], np.int32) for n in (3, 7, 5)]
    prompts = [p for p in asked for _ in range(4)]
    weights = Learner(made, how).weights(policy[1], policy[0])
    stops = tuple(range(150, 200))
    requests = [Request(p, stops, how["max_new_tokens"], i) for i, p in enumerate(prompts)]
    return prompts, generate(weights, CFG, requests, temperature=how["temperature"], seed=5, slots=8)


def rows(written, rewards, how, micro=4):
    prompts, rollouts = written
    gained = advantages(np.asarray(rewards, float).reshape(3, 4), scale_by_std=how["scale_by_std"]).reshape(-1)
    counted = np.array([r.stopped or not how["mask_overlong"] for r in rollouts])
    share = shares(np.array([len(r.ids) for r in rollouts]), counted, how["aggregate"], how["max_new_tokens"])
    return micro_batches(prompts, rollouts, gained, share, length=24, rows=micro)


REWARDS = np.random.Generator(np.random.PCG64(2)).random(12)


def updated(policy, written, rewards=REWARDS, micro=4, times=1, **changes):
    """(state, numbers) after `times` updates."""
    made, how = made_of(**changes)
    learner, micros = Learner(made, how), rows(written, rewards, how, micro)
    learner.judge(micros, policy[0], policy[1])
    state = made.initial_state(jax.tree.map(jnp.copy, policy[1]))
    for update in range(times):
        state, numbers = learner.update(state, policy[0], micros, first=update == 0)
    return jax.device_get(state), jax.device_get(numbers)


def test_the_trainers_log_probabilities_are_the_samplers(policy, written):
    made, how = made_of()
    scores = scores_of(
        CFG, full=False, scale=made.scale, remat="block", temperature=how["temperature"], dtype=jnp.dtype("float32")
    )
    compared = 0
    for micro in rows(written, REWARDS, how):
        found = np.asarray(scores(policy[1], policy[0], {k: micro[k] for k in PACKED})[0])
        np.testing.assert_allclose(found, micro["old"], atol=1e-4)
        compared += np.count_nonzero(micro["old"])
    assert compared == sum(len(r.ids) for r in written[1])


def test_the_first_update_has_ratio_one_no_kl_and_nothing_clipped(policy, written):
    _, numbers = updated(policy, written, clip_low=1e-6, clip_high=1e-6, aggregate="sequence", mask_overlong=False)
    assert numbers["clip_share"] == 0
    assert abs(numbers["kl"]) < 1e-7
    assert numbers["loss"] == pytest.approx(0, abs=1e-6)  # every rollout weighs the same: the advantages sum to 0
    assert numbers["grad_norm"] > 0
    assert numbers["entropy"] > 0


def test_equal_rewards_move_nothing(policy, written):
    state, numbers = updated(policy, written, rewards=np.full(12, 0.1))
    assert numbers["grad_norm"] == 0
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), state["trainable"], jax.device_get(policy[1])))


def test_the_gradient_is_that_of_the_advantage_weighted_log_probability(policy, written):
    made, how = made_of(mask_overlong=False)
    (micro,) = rows(written, REWARDS, how, micro=12)
    micro |= {"reference": micro["old"]}
    dtype = jnp.dtype("float32")
    scores = scores_of(CFG, full=False, scale=made.scale, remat="none", temperature=how["temperature"], dtype=dtype)
    loss = policy_loss(scores, clip_low=0.2, clip_high=0.28, kl=0.0)
    ours = jax.grad(lambda a: loss(a, policy[0], micro, True)[0])(policy[1])

    def plain(adapter):
        return -jnp.sum(micro["share"] * micro["advantage"] * scores(adapter, policy[0], micro)[0])

    theirs = jax.grad(plain)(policy[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)


def test_how_rows_are_cut_into_micro_batches_changes_only_rounding(policy, written):
    one, all_at_once = updated(policy, written, micro=2), updated(policy, written, micro=12)
    assert one[1]["grad_norm"] == pytest.approx(all_at_once[1]["grad_norm"], rel=1e-5)
    assert (
        one[1]["tokens"] == all_at_once[1]["tokens"] == sum(len(p) + len(r.ids) for p, r in zip(*written, strict=True))
    )


def test_later_updates_on_a_batch_see_ratios_and_leave_the_reference(policy, written):
    _, numbers = updated(policy, written, times=4)
    assert numbers["kl"] > 1e-5
    assert numbers["loss"] < updated(policy, written)[1]["loss"] - 1e-3  # what is paid has become likelier
    _, clipped = updated(policy, written, times=4, clip_low=1e-4, clip_high=1e-4)
    assert clipped["clip_share"] > 0.5


def test_a_ratio_beyond_the_clip_has_no_gradient(policy, written):
    made, how = made_of(mask_overlong=False)
    (micro,) = rows(written, REWARDS, how, micro=12)
    scores = scores_of(
        CFG, full=False, scale=made.scale, remat="none", temperature=how["temperature"], dtype=jnp.dtype("float32")
    )
    loss = policy_loss(scores, clip_low=0.2, clip_high=0.28, kl=0.0)
    # The policy now writes everything e times likelier than then: gains above the clip stop, losses go on.
    micro |= {"old": micro["old"] - micro["loss_mask"], "reference": micro["old"]}
    for sign, still in ((1.0, True), (-1.0, False)):
        signed = micro | {"advantage": sign * np.abs(micro["advantage"])}
        gradient = jax.grad(lambda a, m=signed: loss(a, policy[0], m, False)[0])(policy[1])
        assert (max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient)) == 0) is still


def test_the_penalty_pulls_back_to_the_reference(policy, written):
    made, how = made_of(kl=1.0)
    learner, micros = Learner(made, how), rows(written, np.full(12, 0.5), how)
    away = jax.tree.map(lambda a: a * 1.3, policy[1])
    state, seen = made.initial_state(away), []
    for _ in range(8):
        learner.judge(micros, *policy)
        state, numbers = learner.update(state, policy[0], micros, first=True)
        seen.append(float(numbers["kl"]))
    assert seen[-1] < 0.5 * seen[0]


def test_shares_weigh_tokens_rollouts_or_a_constant_and_leave_out_the_masked():
    lengths, counted = np.array([1, 3, 4]), np.array([True, True, False])
    assert shares(lengths, counted, "token", 8).tolist() == [0.25, 0.25, 0]
    np.testing.assert_allclose(shares(lengths, counted, "sequence", 8), [1 / 2, 1 / 6, 0])
    np.testing.assert_allclose(shares(lengths, counted, "constant", 8), [1 / 24, 1 / 24, 0])
    assert shares(lengths, np.zeros(3, bool), "token", 8).tolist() == [0, 0, 0]


def test_a_variant_fills_only_what_is_null():
    found = resolved({**HOW, "variant": "grpo", "kl": None, "clip_high": 0.3})
    assert (found["kl"], found["clip_low"], found["clip_high"], found["aggregate"]) == (0.04, 0.2, 0.3, "sequence")
    assert resolved({**HOW, "variant": "dr_grpo"})["scale_by_std"] is False


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"variant": "ppo"}, "variant is 'ppo', wanted one of grpo, dr_grpo, dapo"),
        ({"aggregate": "mean"}, "aggregate is 'mean', wanted one of token, sequence, constant"),
        ({"group_size": 1}, "group_size is 1, wanted at least 2: an advantage compares"),
        ({"reference": None, "kl": 0.1}, "kl is 0.1 but reference is null"),
    ],
)
def test_impossible_settings_are_one_sentence(changes, text):
    with pytest.raises(ValueError, match=text):
        resolved({**HOW, **changes})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"updates_per_batch": 3}, "max_steps is 20 but must be a multiple of train.grpo.updates_per_batch, 3"),
    ],
)
def test_steps_that_do_not_fit_the_batches_are_one_sentence(changes, text):
    with pytest.raises(ValueError, match=text):
        made_of(**changes)
