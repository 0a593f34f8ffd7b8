"""Weighted draws: the right probabilities, by hash alone, the same on every machine."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showwork.records.weights import UNIT, Weights, exponential

BY_TASK = {"column": "task", "of": {"a": 3.0, "b": 0.5, "never": 0.0}, "other": 1.0}


@given(st.integers(0, 2**64 - 1))
def test_the_logarithm_is_that_of_the_library_to_fifteen_digits(key: int) -> None:
    u = (key + 0.5) / 2**64
    expected = -math.log1p(-u) if u < 0.5 else -math.log((2**64 - key - 0.5) / 2**64)
    assert exponential(key) == pytest.approx(expected, rel=4e-15)


def test_keys_are_these_very_numbers_on_every_machine() -> None:
    keys = [Weights(BY_TASK, "x").key(key, {"task": "a"}) for key in (1, 2**40 + 7, 2**63, 2**64 - 1)]
    assert keys == [0, 366_503_886_850, 4_262_102_881_734_217_728, 277_036_687_312_724_197_376]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from(["a", "b", "c", "never"]))
def test_no_row_below_the_limit_is_passed_over_by_its_uniform_key(key: int, limit: int, task: str) -> None:
    weights = Weights(BY_TASK, "x")
    weighted = weights.key(key, {"task": task})
    if weighted is not None and weighted < limit:
        assert key < weights.uniform(limit)


def test_rows_are_drawn_with_the_probabilities_of_one_draw_after_another() -> None:
    tasks, n, trials = ["a", "a", "b", "b", "c"], 2, 30_000
    weights = Weights(BY_TASK, "x")
    chance: Counter[int] = Counter()
    for order in itertools.permutations(range(len(tasks)), n):
        share, left = 1.0, sum(weights.of({"task": t}) for t in tasks)
        for place in order:
            share *= weights.of({"task": tasks[place]}) / left
            left -= weights.of({"task": tasks[place]})
        for place in order:
            chance[place] += share  # type: ignore[assignment]
    drawn: Counter[int] = Counter()
    bits = random.Random(1)
    for _ in range(trials):
        keys = [(weights.key(bits.getrandbits(64), {"task": t}), place) for place, t in enumerate(tasks)]
        drawn.update(place for _, place in sorted(keys)[:n])
    for place in range(len(tasks)):
        expected = chance[place] * trials
        assert abs(drawn[place] - expected) < 4.5 * math.sqrt(expected * (1 - chance[place]))


def test_a_column_that_is_the_weight_must_hold_numbers() -> None:
    weights = Weights({"column": "score", "of": None, "other": 1}, "sample 's'")
    assert weights.of({"score": "2.5"}) == 2.5
    assert weights.key(5, {"score": "0"}) is None
    assert weights.uniform(10) == UNIT
    for value in ("-1", "nan", "inf", "high", "", None):
        with pytest.raises(
            ValueError, match=r"sample 's': weights.column 'score' holds .*, expected a number from 0 up"
        ):
            weights.of({"score": value})


def test_a_row_that_cannot_be_read_weighs_as_other_values_do() -> None:
    assert Weights(BY_TASK, "x").of(None) == Weights(BY_TASK, "x").of({"task": None}) == 1.0
