"""Words and runs as numbers: the same as told apart one by one."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from showwork.records.words import LONGEST, hashed, runs

ASCII = st.text(st.characters(max_codepoint=127), max_size=80)


def plainly(text: str) -> list[str]:
    """The words of a text of ASCII, general punctuation and letters, one by one."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", re.sub("[\u2000-\u206f\u3000-\u303f]", " ", folded.lower()))


@given(st.lists(st.one_of(ASCII, st.text("aA bÉé“”—…1 \n's", max_size=60)), max_size=6))
def test_the_words_of_many_texts_are_those_of_each(texts: list[str]) -> None:
    found, known = hashed(texts), {}
    assert len(found.ends) == len(texts) + 1
    for i, text in enumerate(texts):
        words = plainly(text)
        here = found.words[found.ends[i] : found.ends[i + 1]].tolist()
        assert len(here) == len(words)
        for word, number in zip(words, here, strict=True):
            assert known.setdefault(word, number) == number
    assert len(set(known.values())) == len(known), "different words, different numbers"


def test_case_form_and_punctuation_do_not_count_but_letters_and_their_order_do() -> None:
    one, other = (hashed([t]).words.tolist() for t in ('"Love?" — ＬＯＶＥ, DON’T', "love love don t"))
    assert one == other
    assert len(set(hashed(["ab ba abc a b ab1 äb 中文"]).words.tolist())) == 8


def test_words_longer_than_eight_bytes_are_told_apart_up_to_the_longest_and_then_by_length() -> None:
    long = "x" * LONGEST
    assert (
        len(set(hashed([f"international internationale internationals {long} {long}y {long}yy"]).words.tolist())) == 6
    )
    same = hashed([f"{long}y {long}z"]).words.tolist()
    assert same[0] == same[1]


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join), max_size=5),
    st.integers(1, 4),
)
def test_runs_are_those_of_each_text_and_never_cross_into_the_next(texts: list[str], size: int) -> None:
    for whole in (True, False):
        found, known = runs(hashed(texts), size, whole=whole), {}
        for i, text in enumerate(texts):
            words = text.split()
            wanted = [tuple(words[k : k + size]) for k in range(len(words) - size + 1)]
            if whole and len(words) < size:
                wanted = [tuple(words)]
            here = found.hashes[found.texts == i].tolist()
            assert len(here) == len(wanted)
            for run, number in zip(wanted, here, strict=True):
                assert known.setdefault(run, number) == number
        assert len(set(known.values())) == len(known)
    assert np.array_equal(found.texts, np.sort(found.texts))
