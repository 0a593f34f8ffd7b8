from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.tokens.packing import DTYPES, PackedArrays, best_fit_decreasing, pack, shuffle_bins


def arrays(rows: int, length: int) -> PackedArrays:
    return PackedArrays(**{name: np.zeros((rows, length), dtype) for name, dtype in DTYPES.items()})


def test_a_row_is_what_the_picture_in_the_module_shows():
    into = arrays(1, 8)
    pack(
        [[0, 1]],
        [
            (np.array([2, 10, 11, 12]), np.array([0, 0, 1, 1], np.uint8)),
            (np.array([2, 20, 21]), np.array([0, 0, 1], np.uint8)),
        ],
        into,
    )
    assert into.tokens.tolist() == [[2, 10, 11, 12, 2, 20, 21, 0]]
    assert into.loss_mask.tolist() == [[0, 0, 1, 1, 0, 0, 1, 0]]
    assert into.segment_ids.tolist() == [[1, 1, 1, 1, 2, 2, 2, 0]]
    assert into.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0]]


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=60))
def test_packing_keeps_every_example_once_and_no_row_too_long(lengths):
    bins = best_fit_decreasing(lengths, 50)
    assert sorted(i for members in bins for i in members) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in members) <= 50 for members in bins)


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_packing_finds_the_same_bins_as_looking_at_every_bin(lengths):
    slow: list[list[int]] = []
    free: list[int] = []
    when: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [b for b in range(len(free)) if free[b] >= lengths[i]]
        if fitting:
            least = min(free[b] for b in fitting)
            chosen = max((b for b in fitting if free[b] == least), key=lambda b: when[b])
        else:
            chosen = len(free)
            slow.append([])
            free.append(30)
            when.append(0)
        slow[chosen].append(i)
        free[chosen] -= lengths[i]
        when[chosen] = max(when) + 1
    assert best_fit_decreasing(lengths, 30) == [sorted(members) for members in slow]


def test_lengths_like_those_of_the_recipe_fill_rows_to_98_percent():
    generator = np.random.Generator(np.random.PCG64(0))
    lengths = np.clip(generator.lognormal(6.0, 0.6, 5000), 24, 1024).astype(int).tolist()
    bins = best_fit_decreasing(lengths, 1024)
    assert sum(lengths) / (1024 * len(bins)) >= 0.98


def test_an_example_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="example 1 has 9 tokens but a packed row takes 1 to 8"):
        best_fit_decreasing([3, 9], 8)


def test_rows_are_shuffled_by_seed_and_repeatably():
    bins = [[i] for i in range(100)]
    assert shuffle_bins(bins, 1) == shuffle_bins(bins, 1) != shuffle_bins(bins, 2)
    assert sorted(shuffle_bins(bins, 1)) == bins != shuffle_bins(bins, 1)
