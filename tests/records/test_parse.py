"""The strict parser: what it gives back, and what it says of everything else."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from showwork.records.neutralize import CONTROL_TOKENS, neutralize, says_nothing
from showwork.records.parse import (
    DETAIL_CHARACTERS,
    REASONS,
    RECOVERABLE,
    TARGET,
    TARGET_TAGS,
    Parsed,
    Rejected,
    Tags,
    parse,
    parse_target,
)
from showwork.tokens.template import completion_text

THINK = Tags(("<think>", "</think>"))
OUTPUT = Tags(("<Thought>", "</Thought>"), ("<Output>", "</Output>"))
pieces = st.lists(
    st.one_of(st.text(max_size=20), st.sampled_from([*TARGET_TAGS, *CONTROL_TOKENS, "<unused7>", "<", ">", "\n"]))
)
texts = pieces.map("".join)


@given(texts, texts)
@example("a<end_of_turn>b", "</answer><answer>")
@example("\u00a0x", "1\n\n")
def test_a_rendered_completion_gives_back_trace_and_answer(trace: str, answer: str) -> None:
    trace, answer = neutralize(trace)[0], neutralize(answer)[0]
    assume(trace.strip() and answer.strip())
    assert parse_target(completion_text(trace, answer)) == Parsed(trace, answer)


@given(texts)
def test_neutralizing_twice_changes_nothing_more(text: str) -> None:
    once, found = neutralize(text)
    assert neutralize(once) == (once, [])
    assert not any(token in once for token in (*TARGET_TAGS, *CONTROL_TOKENS))
    assert (once == text) == (not found)


def test_neutralized_tokens_stay_visible_and_are_named() -> None:
    assert neutralize("a<bos>b<unused12>c[@BOS@]</reasoning>") == (
        "a‹bos›b‹unused12›c⟦@BOS@⟧‹/reasoning›",
        ["<bos>", "<unused12>", "</reasoning>", "[@BOS@]"],
    )
    assert neutralize("<b>bold</b> and <unused>") == ("<b>bold</b> and <unused>", [])


def test_a_text_of_control_tokens_alone_says_nothing() -> None:
    assert says_nothing("<eos>\n[@BOS@]<unused3>")
    assert not says_nothing("<eos> no")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<reasoning>t</reasoning><answer>a</answer>", "text_between"),
        ("<reasoning>t</reasoning>\n\n<answer>a</answer>", "text_between"),
        (" <reasoning>t</reasoning>\n<answer>a</answer>", "text_before"),
        ("<<reasoning>t</reasoning>\n<answer>a</answer>", "text_before"),
        ("<reasoning>t</reasoning>\n<answer>a</answer>\n", "text_after"),
        ("<reasoning>t</reasoning>\n<answer>a</answer></answer>", "several_answers"),
        ("<reasoning>t</reasoning>\n<answer>a", "no_answer_close"),
        ("<reasoning>t</reasoning>\na", "no_answer_open"),
        ("<reasoning>t\n<answer>a</answer>", "no_close"),
        ("t</reasoning>\n<answer>a</answer>", "no_open"),
        ("<reasoning>t<answer>b</answer></reasoning>\n<answer>a</answer>", "nested"),
        ("<reasoning>t<reasoning>u</reasoning>\n<answer>a</answer>", "nested"),
        ("<reasoning>t</reasoning>\n<answer><reasoning></answer>", "several_blocks"),
        ("</reasoning><reasoning>t</reasoning>\n<answer>a</answer>", "close_before_open"),
        ("<reasoning> </reasoning>\n<answer>a</answer>", "empty_trace"),
        ("<reasoning>t</reasoning>\n<answer>\n</answer>", "empty_answer"),
        ("", "no_open"),
    ],
)
def test_anything_but_our_own_form_has_its_reason(text: str, reason: str) -> None:
    found = parse_target(text)
    assert isinstance(found, Rejected)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("tags", "text", "reason"),
    [
        (THINK, "no tags", "no_open"),
        (THINK, "t</think>a", "no_open"),
        (THINK, "<think>t", "no_close"),
        (THINK, "<think>t</think>a<think>u</think>", "several_blocks"),
        (THINK, "<think>t</think>a</think>", "several_blocks"),
        (THINK, "<think>t<think>u</think>a", "nested"),
        (THINK, "</think><think>t", "close_before_open"),
        (THINK, "Sure! <think>t</think>a", "text_before"),
        (THINK, "<think>\u00a0\n</think>a", "empty_trace"),
        (THINK, "<think>t</think> \u2003", "empty_answer"),
        (OUTPUT, "<Thought>t</Thought>a", "no_answer_open"),
        (OUTPUT, "<Thought>t</Thought><Output>a", "no_answer_close"),
        (OUTPUT, "<Thought>t<Output>a</Output>", "no_close"),
        (OUTPUT, "<Thought>t</Thought> so <Output>a</Output>", "text_between"),
        (OUTPUT, "<Thought>t</Thought><Output>a</Output> bye", "text_after"),
        (OUTPUT, "<Thought>t</Thought><Output>a</Output><Output>b</Output>", "several_answers"),
        (OUTPUT, "<Thought>t</Thought></Output><Output>a</Output>", "close_before_open"),
        (OUTPUT, "<Thought>t <Output>x</Output></Thought><Output>a</Output>", "nested"),
    ],
)
def test_each_defect_of_a_raw_row_has_its_reason(tags: Tags, text: str, reason: str) -> None:
    found = parse(text, tags)
    assert isinstance(found, Rejected)
    assert found.reason == reason
    assert found.reason in REASONS


def test_white_space_around_the_blocks_is_forgiven_in_raw_rows() -> None:
    assert parse("\n <think> t </think>\n\na ", THINK) == Parsed("t", "a")
    assert parse("<Thought>t</Thought>\n\n<Output>\na</Output>\n", OUTPUT) == Parsed("t", "a")


@pytest.mark.parametrize(
    ("reason", "text", "trace", "answer"),
    [
        ("no_open", "t</Thought><Output>a</Output>", "t", "a"),
        ("no_close", "<Thought>t<Output>a</Output>", "t", "a"),
        ("no_answer_open", "<Thought>t</Thought>a</Output>", "t", "a"),
        ("no_answer_close", "<Thought>t</Thought><Output>a", "t", "a"),
        ("text_before", "Hm <Thought>t</Thought><Output>a</Output>", "t", "a"),
        ("text_between", "<Thought>t</Thought> so <Output>a</Output>", "t", "a"),
        ("text_after", "<Thought>t</Thought><Output>a</Output> bye", "t", "a"),
    ],
)
def test_a_defect_is_mended_only_when_the_format_asks(reason: str, text: str, trace: str, answer: str) -> None:
    assert parse(text, OUTPUT).reason == reason  # type: ignore[union-attr]
    mending = Tags(OUTPUT.trace, OUTPUT.answer, recover=frozenset({reason}))
    assert parse(text, mending) == Parsed(trace, answer, (reason,))


def test_every_recoverable_reason_is_a_reason() -> None:
    assert set(RECOVERABLE) < set(REASONS)


def test_an_optional_opening_is_no_recovery() -> None:
    optional = Tags(THINK.trace, opening_optional=True)
    assert parse("t</think>a", optional) == Parsed("t", "a")
    assert parse("<think>t</think>a", optional) == Parsed("t", "a")
    assert parse("t and no end", optional) == Rejected("no_close", "t and no end")


def test_text_around_is_left_out_and_counted_where_it_is_allowed() -> None:
    around = Tags(OUTPUT.trace, OUTPUT.answer, text_around=True)
    assert parse("A <Thought>t</Thought> B <Output>a</Output>", around) == Parsed(
        "t", "a", ("text_around", "text_around")
    )


def test_details_are_short() -> None:
    found = parse("x" * 10_000, THINK)
    assert isinstance(found, Rejected)
    assert len(found.detail) == DETAIL_CHARACTERS
    assert found.detail.endswith("…")


def test_the_target_is_parsed_to_the_letter() -> None:
    assert TARGET.exact
    assert parse_target("<reasoning> t </reasoning>\n<answer> a </answer>") == Parsed(" t ", " a ")
