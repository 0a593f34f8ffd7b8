"""Intervals and differences: known values, limits, and what they must say about chance."""

from __future__ import annotations

import numpy as np
import pytest

from showwork.learn.statistics import paired_bootstrap, wilson


def test_wilson_gives_the_published_values():
    share = wilson(9, 10)
    assert (share.share, round(share.low, 3), round(share.high, 3)) == (0.9, 0.596, 0.982)
    share = wilson(81, 263)  # Newcombe 1998, table I, method 3
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)
    share = wilson(0, 20)  # Newcombe 1998, table I, method 3
    assert (share.low, round(share.high, 4)) == (0.0, 0.1611)


def test_wilson_is_symmetric_in_yes_and_no():
    for count in range(0, 31, 3):
        yes, no = wilson(count, 30), wilson(30 - count, 30)
        assert yes.low == pytest.approx(1 - no.high)
        assert yes.high == pytest.approx(1 - no.low)


def test_wilson_of_nothing_is_none_and_not_zero():
    share = wilson(0, 0)
    assert (share.share, share.low, share.high) == (None, None, None)


def test_wilson_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.Generator(np.random.PCG64(1)).binomial(200, 0.9, size=400)
    covered = np.mean([wilson(int(d), 200).low <= 0.9 <= wilson(int(d), 200).high for d in draws])
    assert 0.92 <= covered <= 0.98


def test_wilson_refuses_more_successes_than_trials():
    with pytest.raises(ValueError, match="count is 5 of total 4; it must lie between 0 and the total"):
        wilson(5, 4)


def test_bootstrap_finds_a_large_paired_gain_and_brackets_it():
    before, after = [0, 0, 1, 0] * 50, [1, 1, 1, 1] * 50
    gain = paired_bootstrap(before, after, seed=3)
    assert gain.mean == 0.75
    assert 0.66 < gain.low < 0.75 < gain.high < 0.83
    assert gain.p_value == pytest.approx(2 / 10_001)
    assert gain.num_prompts == 200


def test_bootstrap_sees_no_difference_where_both_answer_alike():
    same = paired_bootstrap([0, 1, 1, 0], [0, 1, 1, 0], seed=3)
    assert (same.mean, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_pairing_narrows_the_interval_when_prompts_differ_in_difficulty():
    generator = np.random.Generator(np.random.PCG64(0))
    difficulty = generator.normal(0, 5, 300)
    before, after = difficulty, difficulty + generator.normal(0.3, 0.5, 300)
    paired = paired_bootstrap(before, after, seed=1)
    shuffled = paired_bootstrap(before, generator.permutation(after), seed=1)
    assert paired.low > 0
    assert (paired.high - paired.low) * 5 < shuffled.high - shuffled.low


def test_bootstrap_weights_prompts_by_their_tokens():
    assert paired_bootstrap([1, 1], [2, 1], [3, 1], seed=0).mean == 0.75


def test_bootstrap_repeats_by_seed_and_does_not_depend_on_chunks():
    before, after = np.zeros(40), np.arange(40) % 3 - 1.0
    first = paired_bootstrap(before, after, seed=5, num_resamples=1234)
    assert first == paired_bootstrap(before, after, seed=5, num_resamples=1234)
    assert first != paired_bootstrap(before, after, seed=6, num_resamples=1234)


def test_bootstrap_refuses_unpaired_values():
    with pytest.raises(ValueError, match="got 2 values before, 3 after and 2 weights; it wants the same"):
        paired_bootstrap([0, 1], [0, 1, 1], seed=0)
    with pytest.raises(ValueError, match="got 0 values before"):
        paired_bootstrap([], [], seed=0)
    with pytest.raises(ValueError, match="got the weight 0; every weight must be above 0"):
        paired_bootstrap([0, 1], [0, 1], [1, 0], seed=0)
