"""The draw: uniform, independent of the order of rows and of when they are judged, nested when n grows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.records.parse import Rejected
from showwork.records.selection import ALL, BottomN, Entry

KEYS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=80, unique=True)


def odd(rows: Sequence[int]) -> list[Rejected | None]:
    """Keep odd rows."""
    return [None if row % 2 else Rejected("even", str(row)) for row in rows]


def draw(rows: Sequence[tuple[int, int]], n: int, *, patience: int = 1, wait_bytes: int = 10**9) -> BottomN:
    chosen = BottomN(
        n, odd, digest=lambda row: row.to_bytes(16, "big"), size=lambda row: 8, patience=patience, wait_bytes=wait_bytes
    )
    for place, (key, row) in enumerate(rows):
        if key < chosen.below():
            chosen.offer(key, place, row)
    return chosen


def told(entries: Sequence[Entry]) -> list[tuple[int, str]]:
    return [(e.key, e.why.reason if e.why else "") for e in entries]


@given(KEYS, st.integers(1, 30), st.integers(1, 4), st.sampled_from([8, 80, 10**9]), st.randoms(use_true_random=False))
def test_the_draw_is_a_walk_in_key_order_whatever_the_order_of_rows(
    keys: list[int], n: int, patience: int, wait_bytes: int, shuffler: random.Random
) -> None:
    rows = [(key, i) for i, key in enumerate(keys)]
    shuffled = rows[:]
    shuffler.shuffle(shuffled)
    taken, dropped = draw(shuffled, n, patience=patience, wait_bytes=wait_bytes).finish()
    walk, passing = [], 0
    for key, row in sorted(rows):
        if passing == n:
            break
        walk.append((key, "" if row % 2 else "even"))
        passing += row % 2
    assert sorted([*told(taken), *told(dropped)]) == walk


@given(KEYS, st.integers(1, 20), st.integers(1, 20))
def test_a_larger_sample_begins_with_the_smaller(keys: list[int], n: int, more: int) -> None:
    rows = [(key, i) for i, key in enumerate(keys)]
    small, large = draw(rows, n).finish()[0], draw(rows, n + more).finish()[0]
    assert told(large)[: len(small)] == told(small)


def test_rows_of_equal_key_are_ordered_by_their_content() -> None:
    rows = [(5, 9), (5, 1), (5, 3), (1, 7)]
    for order in (rows, rows[::-1]):
        taken, _ = draw(order, 3).finish()
        assert [e.row for e in taken] == [7, 1, 3]


def test_rows_above_the_limit_are_not_asked_for_and_not_judged() -> None:
    judged: list[int] = []

    def judge(rows: Sequence[int]) -> list[Rejected | None]:
        judged.extend(rows)
        return odd(rows)

    shuffler = random.Random(1)
    keys = [shuffler.getrandbits(64) for _ in range(20_000)]
    chosen = BottomN(100, judge, digest=lambda row: row.to_bytes(16, "big"), size=lambda row: 8, patience=1)
    for place, key in enumerate(keys):
        if key < chosen.below():
            chosen.offer(key, place, place)
    assert chosen.below() < ALL
    taken, _ = chosen.finish()
    assert len(taken) == 100
    assert len(judged) < 4000
    assert chosen.offered < 4000


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_every_row_is_drawn_equally_often(seed: int) -> None:
    shuffler = random.Random(seed)
    drawn: Counter[int] = Counter()
    trials, size, n = 400, 40, 5
    for _ in range(trials):
        rows = [(shuffler.getrandbits(64), row) for row in range(1, 2 * size, 2)]
        drawn.update(e.row for e in draw(rows, n).finish()[0])
    expected = trials * n / size
    chi_square = sum((drawn[row] - expected) ** 2 / expected for row in range(1, 2 * size, 2))
    assert sum(drawn.values()) == trials * n
    assert chi_square < 90  # 39 degrees of freedom: exceeded once in about 100,000 seeds


def test_what_fails_keeps_its_reason_and_not_its_texts() -> None:
    taken, dropped = draw([(1, 2), (2, 3)], 5).finish()
    assert [e.row for e in taken] == [3]
    assert dropped[0].row is None
    assert dropped[0].why == Rejected("even", "2")


def test_too_few_rows_are_given_back_as_they_are() -> None:
    taken, dropped = draw([(i, i) for i in range(10)], 50).finish()
    assert (len(taken), len(dropped)) == (5, 5)


@pytest.mark.parametrize("n", [1, 7])
def test_n_rows_are_drawn_when_enough_pass(n: int) -> None:
    assert len(draw([(i * 7919 % 1009, i) for i in range(1009)], n).finish()[0]) == n


def capped(rows: Sequence[tuple[int, int]], n: int, at_most: int, *, patience: int = 1) -> BottomN:
    """A draw of odd rows, at most so many for each remainder by 5."""
    chosen = BottomN(
        n, odd, digest=lambda row: row.to_bytes(16, "big"), size=lambda row: 8, patience=patience,
        group=lambda row: row % 5, at_most=at_most,
    )  # fmt: skip
    for place, (key, row) in enumerate(rows):
        if key < chosen.below():
            chosen.offer(key, place, row)
    return chosen


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=700, unique=True),
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_cap_passes_over_full_groups_whatever_the_order_of_rows(
    keys: list[int], n: int, at_most: int, patience: int, shuffler: random.Random
) -> None:
    rows = [(key, i) for i, key in enumerate(keys)]
    walk, over = [], 0
    taken: Counter[int] = Counter()
    for key, row in sorted(rows):
        if taken.total() == n:
            break
        if taken[row % 5] == at_most:
            over += 1
        else:
            walk.append((key, "" if row % 2 else "even"))
            taken[row % 5] += row % 2
    shuffler.shuffle(rows)
    chosen = capped(rows, n, at_most, patience=patience)
    drawn, dropped = chosen.finish()
    assert sorted([*told(drawn), *told(dropped)]) == walk
    assert chosen.over_cap == over


@given(KEYS, st.integers(1, 10), st.integers(1, 10), st.integers(1, 3))
def test_a_larger_capped_sample_begins_with_the_smaller(keys: list[int], n: int, more: int, at_most: int) -> None:
    rows = [(key, i) for i, key in enumerate(keys)]
    small, large = capped(rows, n, at_most).finish()[0], capped(rows, n + more, at_most).finish()[0]
    assert told(large)[: len(small)] == told(small)


@given(KEYS, st.integers(1, 20), st.integers(0, 80))
def test_samples_of_parts_merge_into_the_sample_of_the_whole(keys: list[int], n: int, cut: int) -> None:
    rows = [(key, i) for i, key in enumerate(keys)]
    parts = [draw(part, n).finish()[0] for part in (rows[:cut], rows[cut:])]
    merged = draw([(e.key, e.row) for part in parts for e in part], n).finish()[0]
    assert told(merged) == told(draw(rows, n).finish()[0])
