"""What one completion is worth: form by the data's own parser, answers, copying."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.learn.grade import NOT_STOPPED, answers_match, grade, graded_form, is_copied, switches_language
from showwork.records.parse import Parsed, parse_target

GOOD = "<reasoning>Hal serves Cleo. Cleo serves Rob.</reasoning>\n<answer>Rob</answer>"


def test_a_perfect_completion_is_well_formed_right_and_neither_looping_nor_copied():
    found = grade(GOOD, "rob.", stopped=True)
    assert (found.trace, found.answer) == ("Hal serves Cleo. Cleo serves Rob.", "Rob")
    assert (found.well_formed, found.graded, found.correct) == (True, 1.0, True)
    assert (found.looping, found.answer_copied) == (False, False)


def test_a_completion_that_did_not_stop_is_neither_well_formed_nor_right():
    found = grade(GOOD, "Rob", stopped=False)
    assert (found.reason, found.well_formed, found.correct, found.graded) == (NOT_STOPPED, False, False, 0.8)


def test_a_malformed_completion_is_wrong_even_when_it_names_the_answer():
    found = grade("Rob", "Rob", stopped=True)
    assert (found.reason, found.correct, found.answer, found.answer_copied) == ("no_open", False, "", None)


def test_a_long_gold_answer_is_not_judged_by_equality():
    assert grade(GOOD, "It is Rob, as the chain of servants shows. " * 3, stopped=True).correct is None
    assert grade(GOOD, "Rob", stopped=True, match_max_characters=2).correct is None


def test_answers_match_up_to_case_space_form_and_a_final_full_stop():
    assert answers_match("  Ａna\n Lee. ", "ana lee")
    assert not answers_match("Ana", "Ana Lee")
    assert not answers_match("-4", "4")
    assert not answers_match("3.5", "35")


def test_only_a_long_answer_can_be_copied():
    trace = "First the cup is Ana's. Then Bo and Ana swap it, so that now the cup is with Bo, not Ana."
    assert is_copied("Then Bo and Ana  swap it, so that now the cup is with Bo, not Ana.", trace)
    assert not is_copied("Bo", trace)
    assert not is_copied("Something that is long enough but stands nowhere in the trace above.", trace)


def test_repetition_is_called_looping():
    assert grade("<reasoning>" + "now Bo and Ana swap, " * 40, "Bo", stopped=False).looping


@pytest.mark.parametrize(
    ("text", "graded"),
    [
        ("", 0.0),
        (" " + GOOD, 0.0),
        ("<<reasoning>Two.", 0.0),
        ("<reasoning></reasoning>\n<answer>2</answer>", 0.0),
        ("<reasoning><reasoning>Two.", 0.0),
        ("<reasoning>Two.", 0.2),
        ("<reasoning>Two.</reasoning><answer>2</answer>", 0.4),
        ("<reasoning>Two.</reasoning>\n<answer>2", 0.6),
        ("<reasoning>Two.</reasoning>\n<answer> </answer>", 0.6),
        ("<reasoning>Two.</reasoning>\n<answer>2<answer>2</answer>", 0.6),
        ("<reasoning>Two.</reasoning>\n<answer>2</answer>\n", 0.8),
        ("<reasoning>Two.</reasoning>\n<answer>2</answer></answer>", 0.8),
        ("<reasoning>Two.</reasoning>\n<answer>2</answer>", 1.0),
    ],
)
def test_graded_form_counts_parts_in_order(text: str, graded: float):
    assert graded_form(text, stopped=True) == graded


PIECES = ["<reasoning>", "</reasoning>", "<answer>", "</answer>", "\n", " ", "a", "4", "</reasoning>\n<answer>"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.booleans(), st.booleans())
def test_graded_form_is_full_exactly_when_the_strict_parser_accepts(text: str, framed: bool, stopped: bool):
    text = f"<reasoning>{text}</reasoning>\n<answer>a</answer>" if framed else text
    assert (graded_form(text, stopped=stopped) == 1.0) == (stopped and isinstance(parse_target(text), Parsed))


@pytest.mark.parametrize(
    ("question", "completion", "switched"),
    [
        ("Why do leaves fall?", "<reasoning>Because the nights grow cold.</reasoning>\n<answer>Cold</answer>", False),
        ("Why do leaves fall?", "<reasoning>因为天气变冷,叶子就会掉下来。</reasoning>\n<answer>冷</answer>", True),
        (
            "Why do leaves fall?",
            "Because the nights grow long and cold. " * 3 + "因为天气变冷,叶子就会掉下来。" * 9,
            True,
        ),
        ("Why do leaves fall?", "```py\nx = 4\n``` $x^2$", False),
        ("树叶为什么会掉下来?", "因为天气变冷,叶子就会掉下来。" * 2, False),
        ("树叶为什么会掉下来?", "因为天气变冷,叶子就会掉下来。" * 20 + "чтобы не замёрзнуть зимой " * 13, True),
        ("树叶为什么会掉下来?", "Because the nights grow cold.", None),
        ("Why?", "", False),
    ],
)
def test_a_switch_of_language_is_seen_in_the_whole_and_in_either_half_of_a_long_completion(
    question, completion, switched
):
    assert switches_language(question, completion) is switched


def test_any_short_reference_will_do():
    said = "<reasoning>So.</reasoning>\n<answer>autumn.</answer>"
    assert grade(said, ["fall", "Autumn"], stopped=True).correct is True
    assert grade(said, ["fall", "x" * 65], stopped=True).correct is False
    assert grade(said, ["x" * 65], stopped=True).correct is None
    assert grade(said, [], stopped=True).correct is None
