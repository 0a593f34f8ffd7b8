"""A completion is painted by its tags however it is cut into pieces, and nothing of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showwork.look.painted import ANSWER, OUTSIDE, TAG, TRACE, UNFINISHED, Painter
from showwork.records.parse import TARGET_TAGS

GOOD = "<reasoning>Two < three.</reasoning>\n<answer>4</answer>"


def painted(text: str, cuts: list[int]) -> list[tuple[str, str]]:
    """What a painter gives of a text that grows to these lengths; neighbours of one style are joined."""
    painter, found = Painter(), []
    pieces = [piece for cut in cuts for piece in painter.grow(text[:cut])]
    for style, piece in [*pieces, *painter.grow(text, whole=True)]:
        if found and found[-1][0] == style:
            found[-1] = (style, found[-1][1] + piece)
        else:
            found.append((style, piece))
    return found


def test_trace_is_dim_and_answer_bright_letter_by_letter():
    wanted = [
        (TAG, "<reasoning>"), (TRACE, "Two < three."), (TAG, "</reasoning>"), (OUTSIDE, "\n"), (TAG, "<answer>"),
        (ANSWER, "4"), (TAG, "</answer>"),
    ]  # fmt: skip
    assert painted(GOOD, list(range(len(GOOD)))) == wanted
    assert painted(GOOD, []) == wanted


@given(st.lists(st.sampled_from([*TARGET_TAGS, "<", "</ans", "a b", "\n", "›"])).map("".join), st.data())
def test_any_cut_paints_the_same(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    assert painted(text, cuts) == painted(text, [])
    assert "".join(piece for _, piece in painted(text, cuts)) == text


@pytest.mark.parametrize(("end", "held"), [("</answ", 6), ("<", 1), (UNFINISHED * 2, 2), ("<b", 0), ("", 0)])
def test_what_may_still_change_is_held_back(end, held):
    text = f"So{end}"
    assert "".join(piece for _, piece in Painter().grow(text)) == text[: len(text) - held]
