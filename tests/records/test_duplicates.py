"""Near duplicates: sketches find them, the exact similarity decides, the first of two stays."""

from __future__ import annotations

import random

import numpy as np
import pytest

from showwork.records.duplicates import (
    BINS,
    COMMON,
    Repeat,
    bands,
    candidates,
    jaccard,
    near_duplicates,
    sets,
    shingles,
    sketches,
)
from showwork.records.words import hashed

WORDS = [f"w{i}" for i in range(400)]


def text(shuffler: random.Random, size: int = 150) -> list[str]:
    return shuffler.choices(WORDS, k=size)


def changed(words: list[str], share: float, shuffler: random.Random) -> list[str]:
    return [shuffler.choice(WORDS) if shuffler.random() < share else w for w in words]


def members(*texts: str) -> list[np.ndarray]:
    return sets(shingles(hashed(texts)), len(texts))


def test_shingles_are_runs_of_three_words_whatever_the_case_and_white_space() -> None:
    same, other = members("The cat sat on", "the  CAT\nsat on.")
    assert np.array_equal(same, other)
    assert [len(m) for m in members("a b c d", "a b", "", "a b c a b c", "x")] == [2, 1, 1, 3, 1]
    assert not np.array_equal(*members("a b", "b a"))


def test_jaccard_is_shared_over_all() -> None:
    assert jaccard(np.array([1, 2, 3]), np.array([2, 3, 4])) == 0.5


def test_sketches_agree_about_as_often_as_sets_are_similar() -> None:
    shuffler, errors = random.Random(3), []
    for _ in range(60):
        words = text(shuffler, 300)
        found = shingles(hashed([" ".join(words), " ".join(changed(words, 0.08, shuffler))]))
        one, other = sketches(found, 2)
        errors.append(float((one == other).mean()) - jaccard(*sets(found, 2)))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 2 * np.sqrt(0.25 / BINS)


@pytest.mark.parametrize("size", [4, 30, 150, 1500])
def test_injected_repeats_are_found_and_others_left_alone(size: int) -> None:
    shuffler = random.Random(size)
    clean = [text(shuffler, size) for _ in range(200)]
    repeated = [changed(words, 0.01, shuffler) for words in clean[:100]]
    all_texts = [" ".join(words) for words in clean + repeated]
    of = members(*all_texts)
    wanted = {200 + i for i in range(100) if jaccard(of[i], of[200 + i]) >= 0.85}
    found = near_duplicates(all_texts, 0.85)
    assert set(found) <= wanted
    assert len(found) >= 0.95 * len(wanted)
    assert all(hit.of == place - 200 for place, hit in found.items())


def test_the_first_of_a_chain_stays_and_references_always_do() -> None:
    a = [f"x{i}" for i in range(100)]
    b = [*a[:98], "y", "z"]
    texts = [" ".join(words) for words in (a, b, a)]
    assert near_duplicates(texts, 0.8) == {1: Repeat(0, 0.96), 2: Repeat(0, 1.0)}
    assert set(near_duplicates(texts, 0.8, references=2)) == {2}


def test_a_large_group_of_equals_leaves_one() -> None:
    found = near_duplicates(["the same text again and again"] * 500 + ["quite another text than the one before"], 0.85)
    assert set(found) == set(range(1, 500))


def test_instances_of_one_template_are_no_duplicates_but_a_large_family_of_repeats_is() -> None:
    shuffler = random.Random(5)
    template, body = text(shuffler, 60), text(shuffler, 60)
    instances = [" ".join([*template, *(f"own{i} {j}" for j in range(6))]) for i in range(4 * COMMON)]
    assert all(jaccard(*members(instances[0], other)) > 0.5 for other in instances[1:])
    assert near_duplicates(instances, 0.5) == {}
    assert len(near_duplicates(instances[:COMMON], 0.5)) == COMMON - 1, "so few are repeats and no template"
    family = [" ".join([*template, *body[:30], f"own{i}", *body[30:]]) for i in range(4 * COMMON)]
    assert len(near_duplicates(family, 0.5)) == 4 * COMMON - 1


def test_the_same_in_one_batch_and_in_many() -> None:
    shuffler = random.Random(9)
    texts = [" ".join(text(shuffler, shuffler.randrange(0, 90))) for _ in range(60)]
    whole = shingles(hashed(texts))
    one_at_a_time = [shingles(hashed([t])) for t in texts]
    assert np.array_equal(whole.hashes, np.concatenate([s.hashes for s in one_at_a_time]))
    assert np.array_equal(sketches(whole, 60), np.concatenate([sketches(s, 1) for s in one_at_a_time]))


def test_bands_find_a_pair_at_the_threshold_with_a_chance_of_995_in_1000() -> None:
    for threshold in (0.3, 0.5, 0.7, 0.85, 0.95):
        number, width = bands(threshold)
        assert number * width <= BINS
        assert 1 - (1 - threshold**width) ** number >= 0.995


def test_no_texts_have_no_candidates() -> None:
    assert near_duplicates([], 0.85) == {}
    assert len(candidates(np.zeros((1, BINS), np.uint32), 0.85)) == 0
