"""Formats as data: the twelve built-in ones, a user's own, and the sentences for a wrong declaration."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showwork.records.formats import BUILT_IN, REASONS, Format, Texts, format_of
from showwork.records.neutralize import says_nothing
from showwork.records.parse import Rejected
from showwork.records.paths import columns_of, compile_path

TAGGED = [name for name, spec in BUILT_IN.items() if "trace" in spec]
fragments = sorted(
    {tag for name in TAGGED for key in ("trace", "answer") for tag in BUILT_IN[name][key] if len(tag) > 1}
)
texts = st.lists(st.one_of(st.text(max_size=12), st.sampled_from([*fragments, " ", "\n", "<eos>"])), max_size=6).map(
    "".join
)


def row_of(kind: Format, question: str, trace: str, answer: str) -> dict[str, str | None]:
    """A row in the shape of a format whose columns are plain."""
    return {kind.columns[role]: text for role, text in kind.render(question, trace, answer).items()}


def test_there_are_twelve_built_in_formats() -> None:
    assert len(BUILT_IN) == 12
    for name in BUILT_IN:
        assert format_of(name).needs


@given(st.sampled_from([n for n in [*TAGGED, "columns"] if n != "flagged_traces"]), texts, texts, texts)
def test_a_rendered_row_gives_back_its_texts_or_a_reason(name: str, question: str, trace: str, answer: str) -> None:
    kind = format_of(name)
    (found,) = kind.texts_of([row_of(kind, question, trace, answer)])
    if isinstance(found, Rejected):
        assert found.reason in REASONS
        marks = [t for key in ("trace", "answer") for t in BUILT_IN[name].get(key, []) if len(t) > 1]
        said = (question, trace, answer)
        assert any(mark in text for mark in marks for text in said) or any(map(says_nothing, said))
    else:
        plain = [t.strip() for t in (question, trace, answer)]
        if not found.neutralized:
            assert list(found[:3]) == plain


@given(texts, texts, texts)
def test_columns_give_back_any_text(question: str, trace: str, answer: str) -> None:
    kind = format_of("columns", {"question": "q", "trace": "t", "answer": "a"})
    (found,) = kind.texts_of([{"q": f"q{question}", "t": f"t{trace}", "a": f"a{answer}"}])
    assert isinstance(found, Texts)
    assert [plain(t) for t in found[:3]] == [
        plain(f"{a}{b}".strip()) for a, b in zip("qta", (question, trace, answer), strict=True)
    ]


def plain(text: str) -> str:
    """A harmless text as it was before."""
    return text.translate(str.maketrans("‹›⟦⟧", "<>[]"))


NESTED: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "messages": (
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                      {"role": "assistant", "content": "a", "reasoning_content": "t"}]},
        ("q", "t", "a"),
    ),
    "nested_reasoning": ({"prompt": "q", "metadata": {"reasoning": "t"}, "response": "a"}, ("q", "t", "a")),
    "flagged_traces": (
        {"problem": "q", "generations": ["<think>w</think>x", "<think>t</think>a"], "correctness": [False, True]},
        ("q", "t", "a"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
def test_nested_forms_are_read_by_path(name: str) -> None:
    row, wanted = NESTED[name]
    cells = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
    (found,) = format_of(name).texts_of([cells])
    assert tuple(found[:3]) == wanted


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": None, "response": "<think>t</think>a"}, "null"),
        ({"prompt": "q", "response": None}, "null"),
        ({"prompt": " \n", "response": "<think>t</think>a"}, "empty_question"),
        ({"prompt": "q", "response": "<think>t</think><eos><end_of_turn>"}, "only_control_tokens"),
        ({"prompt": "<bos>", "response": "<think>t</think>a"}, "only_control_tokens"),
    ],
)
def test_a_row_that_says_nothing_has_its_reason(row: dict[str, str | None], reason: str) -> None:
    (found,) = format_of("think").texts_of([row])
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_control_tokens_and_our_tags_are_made_harmless_and_named() -> None:
    (found,) = format_of("think").texts_of(
        [{"prompt": "What is <eos>?", "response": "<think>see <answer></think>4<bos>"}]
    )
    assert found == Texts("What is ‹eos›?", "see ‹answer›", "4‹bos›", ["<eos>", "<answer>", "<bos>"], ())


@pytest.mark.parametrize(
    ("path", "row", "wanted"),
    [
        ("a", {"a": "x"}, "x"),
        ("a", {"a": None}, "null"),
        ("a.b", {"a": '{"b": "x"}'}, "x"),
        ("a.b", {"a": '{"c": "x"}'}, "null"),
        ("a.b", {"a": "no json"}, "bad_nested_json"),
        ("a.b", {"a": '{"b": [1]}'}, "not_text"),
        ("a[0]", {"a": '["x", "y"]'}, "x"),
        ("a[-1]", {"a": '["x", "y"]'}, "y"),
        ("a[2]", {"a": '["x", "y"]'}, "no_match"),
        ("a[r=u].c", {"a": '[{"r": "u", "c": "x"}]'}, "x"),
        ("a[r=u].c", {"a": '[{"r": "u", "c": "x"}, {"r": "u", "c": "y"}]'}, "several_turns"),
        ("a[r=u].c", {"a": '[{"r": "v"}]'}, "no_match"),
        ("a[ok=true].c", {"a": '[{"ok": false, "c": "x"}, {"ok": true, "c": "y"}]'}, "y"),
        ("a[?f]", {"a": '["x", "y"]', "f": "[false, true]"}, "y"),
        ("a[?f]", {"a": '["x", "y"]', "f": "[false, false]"}, "no_match"),
        ("a[?f]", {"a": '["x", "y"]', "f": None}, "null"),
        ("a[0]", {"a": '{"b": 1}'}, "no_match"),
        ("a.b", {"a": "[1]"}, "no_match"),
    ],
)
def test_a_path_finds_the_text_or_says_why_not(path: str, row: dict[str, str | None], wanted: str) -> None:
    found = compile_path(path)(row)
    assert (found.reason if isinstance(found, Rejected) else found) == wanted


def test_a_path_names_the_columns_it_reads() -> None:
    assert columns_of("generations[?correct].text") == ["generations", "correct"]


@pytest.mark.parametrize("path", ["", ".a", "a[", "a[]", "a[b", "a..b", "a]"])
def test_a_text_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path .* expected a column, then .key, \[number\]"):
        columns_of(path)


def test_a_format_of_ones_own_is_read() -> None:
    kind = format_of({"columns": {"question": "q", "response": "r"}, "trace": ["<<", ">>"], "answer": "rest"})
    assert kind.texts_of([{"q": "x", "r": "<<t>> a"}]) == [Texts("x", "t", "a", [], ())]
    like = format_of({"like": "thought_output", "recover": ["no_answer_close"]})
    (found,) = like.texts_of([{"instruction": "x", "output": "<Thought>t</Thought><Output>a"}])
    assert found.recovered == ("no_answer_close",)


def test_a_sources_columns_go_before_the_formats() -> None:
    assert format_of("think", {"question": "q"}).needs == ["q", "response"]


@pytest.mark.parametrize(
    ("declared", "columns", "sentence"),
    [
        (
            "thnik",
            None,
            "format: unknown format 'thnik', did you mean 'think'?; the formats are think, think_unopened,",
        ),
        ("zzz", None, "format: unknown format 'zzz'; the formats are think,"),
        (
            {"like": "think", "recovr": []},
            None,
            "format: unknown key 'recovr', did you mean 'recover'?; the keys are like,",
        ),
        (
            {"like": "think", "recover": ["no_clos"]},
            None,
            "format: recover names 'no_clos', did you mean 'no_close'?; it can",
        ),
        (
            {"like": "think", "trace": ["<t>"]},
            None,
            "format: trace is ['<t>'], expected [open, close]; give the two tags as",
        ),
        (
            {"like": "think", "trace": ["|", "|"]},
            None,
            "format: trace opens and closes with '|'; the two tags must differ",
        ),
        ({"like": "think", "answer": "tail"}, None, "format: answer is 'tail', expected [open, close] or rest; give"),
        (
            {"columns": {"question": "q"}},
            None,
            "format: no column for 'trace'; add `columns: {trace: name of the source's",
        ),
        (
            "think",
            {"trace": "t"},
            "format: columns name 'trace', expected question, response (the trace is found by its tags)",
        ),
        (
            "columns",
            {"response": "r"},
            "format: columns name 'response', expected question, trace, answer (there are no tags",
        ),
        (
            {"like": "columns", "recover": ["no_open"]},
            None,
            "format: recover is given but no trace: [open, close]; add the",
        ),
    ],
)
def test_a_wrong_declaration_is_one_sentence(declared: Any, columns: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="format: ") as error:
        format_of(declared, columns)
    assert sentence in str(error.value)
