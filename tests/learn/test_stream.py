"""What is handed over while it grows against what the sampler leaves whole."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_model import CFG, HF, random_params

from showwork.learn.rollout import Request, generate
from showwork.learn.stream import LEAST_COLUMNS, Stream
from showwork.model.decode import unstack

LIMIT = 12


@pytest.fixture(scope="module")
def weights():
    return unstack(random_params(), CFG)


def requests(weights, temperature) -> list[Request]:
    """Prompts of one bucket and of the next; every second one ends in the middle of what it would write."""
    draws = np.random.Generator(np.random.PCG64(2))
    prompts = [[2, *draws.integers(10, HF["vocab_size"], size=n).tolist()] for n in (3, 9, 60, LEAST_COLUMNS + 5)]
    endless = [Request(prompt, (1 + 2 * (number % 2),), LIMIT, number) for number, prompt in enumerate(prompts)]
    written = generate(weights, CFG, endless, temperature=temperature, seed=3, slots=2)
    stops = [int(rollout.ids[LIMIT // 2]) if number % 2 else 1 for number, rollout in enumerate(written)]
    return [
        Request(prompt, (stop,), LIMIT, number)
        for number, (prompt, stop) in enumerate(zip(prompts, stops, strict=True))
    ]


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_a_stream_grows_into_what_generate_leaves(weights, temperature):
    asked = requests(weights, temperature)
    whole = generate(weights, CFG, asked, temperature=temperature, seed=3, slots=2)
    for tokens_at_once, request, wanted in zip((1, 5, 1, 5), asked, whole, strict=True):
        growing = Stream(weights, CFG, request, temperature=temperature, seed=3)
        parts = list(growing.write(weights, tokens_at_once=tokens_at_once))
        lengths = [len(part.ids) for part in parts]
        assert lengths == [*range(1, len(wanted.ids), tokens_at_once), len(wanted.ids)]
        for part in parts:
            np.testing.assert_array_equal(part.ids, wanted.ids[: len(part.ids)])
        np.testing.assert_allclose(parts[-1].log_probs, wanted.log_probs, atol=1e-4)
        assert [part.stopped for part in parts] == [False] * (len(parts) - 1) + [wanted.stopped]
    assert {rollout.stopped for rollout in whole} == {True, False}


def test_a_stream_refuses_what_generate_refuses(weights):
    with pytest.raises(ValueError, match="max_new_tokens is 0, wanted at least 1"):
        Stream(weights, CFG, Request([2], (1,), 0))
    with pytest.raises(ValueError, match="temperature is 0, wanted null"):
        Stream(weights, CFG, Request([2], (1,), 4), temperature=0)
