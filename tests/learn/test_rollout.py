"""The sampler against the plainest loop there is, and against the trainer's own log-probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from showwork.learn.rollout import Request, _Draw, _pick, generate
from showwork.learn.score import token_log_probs
from showwork.model.config import GemmaConfig
from showwork.model.decode import unstack
from showwork.model.gemma import hidden, logits
from showwork.model.params import layer_shapes

V, STOPS = 50, (5, 6, 7)
CFG = GemmaConfig.from_hf(
    {
        "model_type": "gemma2",
        "num_hidden_layers": 2,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 6,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
)


@pytest.fixture(scope="module")
def params():
    """Weights large enough that greedy continuations differ from prompt to prompt."""
    draws = np.random.Generator(np.random.PCG64(0))

    def normal(*shape):
        return jnp.asarray(draws.normal(size=shape), jnp.float32)

    # The norms after each block are large: else the residual is the last token's own embedding and repeats it.
    layers = {
        name: normal(CFG.num_layers, *shape) * 0.35 if len(shape) == 2 else 2.0 + 0.2 * normal(CFG.num_layers, *shape)
        for name, shape in layer_shapes(CFG).items()
    }
    return {"embed": normal(V, 24) * 0.5, "final_norm": jnp.zeros(24), "layers": layers}


@pytest.fixture(scope="module")
def prompts():
    draws = np.random.Generator(np.random.PCG64(1))
    return [[2, *draws.integers(10, V, size=n).tolist()] for n in draws.integers(1, 30, size=21)]


def naive(params, prompt, max_new_tokens):
    """The whole sequence through the whole model for every token."""
    ids, scores = list(prompt), []
    width = 64
    for _ in range(max_new_tokens):
        row = np.zeros((1, width), np.int32)
        row[0, : len(ids)] = ids
        states = forward(params, row, (np.arange(width) < len(ids)).astype(np.int32)[None])
        log_probs = jax.nn.log_softmax(states[0, len(ids) - 1])
        ids.append(int(jnp.argmax(log_probs)))
        scores.append(float(log_probs[ids[-1]]))
        if ids[-1] in STOPS:
            break
    return ids[len(prompt) :], scores


@jax.jit
def forward(params, tokens, segment_ids):
    positions = jnp.arange(tokens.shape[1])[None]
    return logits(params, CFG, hidden(params, CFG, tokens, positions, segment_ids))


def requests_of(prompts, max_new_tokens=16, stop_ids=STOPS):
    return [Request(prompt, stop_ids, max_new_tokens, number) for number, prompt in enumerate(prompts)]


def tokens_of(rollouts):
    return [r.ids.tolist() for r in rollouts]


@pytest.fixture(scope="module")
def weights(params):
    return unstack(params, CFG)


@pytest.fixture(scope="module")
def wanted(params, prompts):
    """What the plainest loop writes: [(ids, log-probabilities)]."""
    return [naive(params, prompt, 16) for prompt in prompts]


@pytest.fixture(scope="module")
def special(prompts, wanted):
    """A completion that stops, asked again with its limit on the stop token, with one token less, and without stops."""
    which = next(i for i, (ids, _) in enumerate(wanted) if ids[-1] in STOPS and len(ids) > 1)
    ids, prompt = wanted[which][0], prompts[which]
    return ids, [Request(prompt, STOPS, len(ids)), Request(prompt, STOPS, len(ids) - 1), Request(prompt, (), 16)]


@pytest.fixture(scope="module")
def rollouts(weights, prompts, special):
    return generate(weights, CFG, [*requests_of(prompts), *special[1]], slots=8)


@pytest.fixture(scope="module")
def greedy(rollouts, prompts):
    return rollouts[: len(prompts)]


def test_greedy_writes_the_tokens_of_a_full_forward_loop(wanted, greedy):
    assert tokens_of(greedy) == [ids for ids, _ in wanted]
    assert {r.stopped for r in greedy} == {True, False}, "both ends must occur for this test to mean anything"
    assert [r.reason for r in greedy] == ["stop" if ids[-1] in STOPS else "length" for ids, _ in wanted]
    for rollout, (_, scores) in zip(greedy, wanted, strict=True):
        np.testing.assert_allclose(rollout.log_probs, scores, atol=1e-4)


def test_a_stop_at_the_limit_is_a_stop_and_one_token_less_is_cut_by_length(rollouts, prompts, special):
    ids = special[0]
    at, below, free = rollouts[len(prompts) :]
    assert [r.reason for r in (at, below, free)] == ["stop", "length", "length"]
    assert tokens_of([at, below]) == [ids, ids[:-1]]
    assert len(free.ids) == 16
    assert free.ids.tolist()[: len(ids)] == ids


def test_log_probs_are_those_of_the_trainer_on_packed_rows(params, prompts, greedy):
    width = 128
    tokens, positions, segments = (np.zeros((8, width), np.int32) for _ in range(3))
    row, start, places = 0, 0, []
    for prompt, rollout in zip(prompts, greedy, strict=True):
        ids = [*prompt, *rollout.ids]
        if start + len(ids) > width:
            row, start = row + 1, 0
        where = slice(start, start + len(ids))
        tokens[row, where], positions[row, where], segments[row, where] = ids, range(len(ids)), len(places) + 1
        places.append((row, start + len(prompt)))
        start += len(ids)
    found = np.asarray(token_log_probs(params, CFG, tokens, positions, segments))
    for rollout, (row, begin) in zip(greedy, places, strict=True):
        np.testing.assert_allclose(found[row, begin : begin + len(rollout.ids)], rollout.log_probs, atol=1e-4)
    assert (found[segments == 0] == 0).all()
    assert (found[positions == 0] == 0).all()


def test_neither_slots_nor_cache_length_nor_order_changes_a_token(weights, prompts, greedy):
    short = [i for i, prompt in enumerate(prompts) if len(prompt) <= 16]
    again = generate(weights, CFG, [requests_of(prompts)[i] for i in short[::-1]], slots=3)
    assert len(short) >= 7
    assert tokens_of(again[::-1]) == [greedy[i].ids.tolist() for i in short]


def sample(weights, requests, seed=5, temperature=0.9):
    return generate(weights, CFG, requests, temperature=temperature, seed=seed, slots=8)


def test_samples_belong_to_seed_and_number_and_not_to_their_batch(weights, prompts):
    requests = requests_of([prompt[:9] for prompt in prompts[:10]])
    drawn = tokens_of(sample(weights, requests))
    assert tokens_of(sample(weights, requests[3:5])) == drawn[3:5]
    assert tokens_of(sample(weights, requests, seed=6)) != drawn
    assert len({tuple(ids) for ids in tokens_of(sample(weights, requests_of([prompts[0][:9]] * 6)))}) > 1


def test_sampled_tokens_follow_the_distribution_they_report(weights, prompts):
    """600 first tokens of one prompt at temperature 2: shares within four standard errors of exp(log_prob)."""
    rollouts = sample(weights, requests_of([prompts[0][:9]] * 600, max_new_tokens=1), temperature=2.0)
    tokens = np.array([r.ids[0] for r in rollouts])
    shares = np.bincount(tokens, minlength=V) / len(tokens)
    assert len(np.unique(tokens)) > 10
    for token in np.unique(tokens):
        p = float(np.exp(rollouts[int(np.flatnonzero(tokens == token)[0])].log_probs[0]))
        assert abs(shares[token] - p) <= 4 * np.sqrt(p * (1 - p) / len(tokens)) + 1e-3


def test_of_tokens_equally_likely_greedy_takes_the_first():
    draw = _Draw(jnp.uint32(0), jnp.float32(1.0), jnp.zeros((1, 4), bool))
    token, log_prob = _pick(
        draw, False, jnp.array([[1.0, 3.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0]]), *[jnp.zeros(2, int)] * 2
    )
    assert token.tolist() == [1, 0]
    np.testing.assert_allclose(log_prob[1], -np.log(4), rtol=1e-6)


def test_no_requests_give_no_rollouts(weights):
    assert generate(weights, CFG, []) == []


@pytest.mark.parametrize(
    ("requests", "how", "text"),
    [
        ([Request([2], STOPS, 3), Request([], STOPS, 3)], {}, "prompt 1 has no ids, wanted at least 1"),
        ([Request([2], STOPS, 0)], {}, "max_new_tokens is 0, wanted at least 1"),
        ([Request([2], STOPS, 3)], {"slots": 0}, "slots is 0, wanted at least 1"),
        ([Request([2], STOPS, 3)], {"temperature": 0.0}, "temperature is 0.0, wanted null"),
    ],
)
def test_impossible_requests_are_refused_in_one_sentence(weights, requests, how, text):
    with pytest.raises(ValueError, match=text):
        generate(weights, CFG, requests, **how)
