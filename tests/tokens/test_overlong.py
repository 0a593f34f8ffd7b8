from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.tokens.overlong import paragraphs, sentences, trim_trace


def starts(text):
    return [word.start() for word in re.finditer(r"\S+", text)]


def words(text):
    return len(starts(text))


def trim(trace: str, room: int, least: int = 1, room_without_answer: int = 1000):
    return trim_trace(
        trace,
        room=room,
        room_without_answer=room_without_answer,
        min_trace_tokens=least,
        count_tokens=words,
        token_starts=starts,
    )


def test_whole_paragraphs_go_first_and_from_the_middle():
    trace = "one one.\n\ntwo two.\n\nthree three.\n\nfour four.\n\nfive five."
    assert trim(trace, 8).trace == "one one.\n\ntwo two.\n\nfour four.\n\nfive five."
    assert trim(trace, 6).trace == "one one.\n\ntwo two.\n\nfive five."
    assert trim(trace, 4).trace == "one one.\n\nfive five."


def test_sentences_go_only_where_paragraphs_are_not_enough():
    trace = "A b. C d.\n\nmiddle.\n\nE f. G h."
    assert trim(trace, 6).trace == "A b. C d.\n\nG h."
    assert trim(trace, 4).trace == "A b. G h."
    assert trim(trace, 8).trace == "A b. C d.\n\nE f. G h."


def test_a_trace_that_fits_is_left_alone():
    assert trim("a b\n\nc", 3).trace == "a b\n\nc"


def test_no_trace_falls_below_the_minimum():
    trimmed = trim("one two.\n\n" + "long " * 30 + ".\n\nlast one.", 20, least=10)
    assert trimmed.trace is None
    assert trimmed.reason == "trace_below_minimum"


def test_what_cannot_fit_says_whose_length_it_is():
    assert trim("a b c.", 5, least=6, room_without_answer=5).reason == "question_too_long"
    assert trim("a b c.", 5, least=6, room_without_answer=9).reason == "answer_too_long"
    assert trim("one single endless sentence", 2).reason == "trace_below_minimum"


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from([". ", ".\n\n", "\n", "! "])), min_size=1, max_size=14
    ),
    room=st.integers(1, 40),
    least=st.integers(1, 5),
)
def test_trimming_cuts_one_gap_fits_and_cuts_no_more_than_needed(pieces, room, least):
    text = "".join(" ".join([f"w{i}"] * n) + end for i, (n, end) in enumerate(pieces))
    trimmed = trim(text, room, least)
    if trimmed.trace is None:
        return
    kept = trimmed.trace
    assert least <= words(kept) <= room or kept == text
    if kept != text:
        assert sentences(kept)[0] == sentences(text)[0]
        assert sentences(kept)[-1] == sentences(text)[-1]
        assert words(text) > room
        assert set(sentences(kept)) <= set(sentences(text))


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=3, max_size=14), room=st.integers(1, 40), wrong=st.integers(-9, 9))
def test_the_fewest_middle_sentences_go_however_wrong_the_first_guess_is(sizes, room, wrong):
    """`token_starts` may miss tokens or see more than there are: it says where to look first, the count decides."""
    pieces = [" ".join([f"w{i}"] * n) + ". " for i, n in enumerate(sizes)]
    text = "".join(pieces)
    trimmed = trim_trace(
        text, room=room, room_without_answer=1000, min_trace_tokens=1, count_tokens=words,
        token_starts=lambda t: [*starts(t)[max(wrong, 0) :], *[len(t) - 1] * -wrong],
    )  # fmt: skip
    middle = (len(pieces) - 1) / 2
    outward = sorted(range(1, len(pieces) - 1), key=lambda i: (abs(i - middle), -i))
    fitting = (
        "".join(p for i, p in enumerate(pieces) if i not in outward[:cut])
        for cut in range(len(outward) + 1)
        if sum(n for i, n in enumerate(sizes) if i not in outward[:cut]) <= room
    )
    assert trimmed.trace == next(fitting, None)


@pytest.mark.parametrize("split", [paragraphs, sentences])
@given(text=st.text(alphabet='ab.!?。 \n"', max_size=40))
def test_pieces_joined_are_the_text(split, text):
    assert "".join(split(text)) == text
