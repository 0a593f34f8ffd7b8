"""Filters: each keeps or drops with a reason; a wrong declaration is one sentence."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from showwork.records.filters import Where, filters_of, verdict
from showwork.records.formats import Texts
from showwork.records.guard import grouped, listed, require
from showwork.records.judge import Judge
from showwork.records.language import foreign, not_english
from showwork.records.loops import find_loop
from showwork.records.parse import Rejected
from showwork.records.prose import not_prose

CLEAN = Texts("Why is the sky blue?", "Short waves scatter most, and blue is short.", "Scattering.")
LOOP = "But wait, let me check that again. " * 30
ROWS: list[dict[str, str | None]] = [{"task": "a", "n": "1"}, {"task": "b", "n": None}, {"task": "a", "n": "3"}]


@pytest.mark.parametrize(
    ("declared", "texts", "wanted"),
    [
        ({"language": "en"}, CLEAN._replace(question="天空为什么是蓝色的?"), Rejected("language", "question: zh 1.00")),
        (
            {"loops": True},
            CLEAN._replace(trace=LOOP),
            Rejected("loops", '7 words 30 times: "but wait let me check that again"'),
        ),
        (
            {"prose": True},
            CLEAN._replace(trace="So x^2 = 4 and x = 2, y = 3."),
            Rejected("prose", "maths 20.0 in 1,000 characters"),
        ),
        ({"length": {"max_trace": 10}}, CLEAN, Rejected("length", "trace has 44 characters, max 10")),
        ({"length": {"min_answer": 50}}, CLEAN, Rejected("length", "answer has 11 characters, min 50")),
        ({"length": {"max_trace": 44, "min_answer": 11}}, CLEAN, None),
        ({"language": "en", "loops": True, "prose": True}, CLEAN, None),
        (
            {"language": None, "loops": False, "prose": False, "length": {}, "where": None},
            CLEAN._replace(trace=LOOP),
            None,
        ),
    ],
)
def test_a_filter_keeps_or_drops_with_the_value_that_failed(
    declared: Any, texts: Texts, wanted: Rejected | None
) -> None:
    assert verdict(texts, filters_of(declared)) == wanted


def test_filters_apply_in_one_order_whatever_the_order_in_the_configuration() -> None:
    assert list(filters_of({"language": "en", "length": {"max_trace": 1}, "loops": True})) == [
        "length",
        "loops",
        "language",
    ]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (
            {"languages": "en"},
            "filter 'languages': there is none of this name; the filters are where, length, loops, prose",
        ),
        ({"language": "de"}, "filter 'language': is 'de', expected en, the one language it can tell; write en"),
        ({"length": {"max": 1}}, "filter 'length': there is no bound 'max'; the bounds are min_question, max_question"),
    ],
)
def test_a_filter_that_there_is_not_is_one_sentence(declared: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="filter") as error:
        filters_of(declared)
    assert sentence in str(error.value)


def test_where_keeps_rows_for_which_the_condition_is_true() -> None:
    assert Where("task = 'a' AND n::int > 1", "cot").keeps(ROWS) == [False, False, True]
    assert Where("n IS NULL", "cot").keeps(ROWS) == [False, True, False]
    assert Where("n > '0'", "cot").keeps(ROWS) == [True, False, True]
    assert Where("true", "cot").keeps([]) == []


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("tusk = 'a'", "declares \"tusk = 'a'\" but duckdb says: Binder Error"),
        ("task", "filter 'where': 'task' is no condition, it gave 'a'; write one that is true or false"),
        ("true) FROM source_rows; SELECT (1", "is more than one statement; write one condition"),
        ("task = 'a' --", "but duckdb says"),
        ("(SELECT count(*) > 0 FROM read_text('/etc/hostname'))", "but duckdb says: Permission Error"),
        ("(SELECT count(*) > 0 FROM 'https://example.org/x.parquet')", "but duckdb says"),
        ("(SELECT count(*) > 0 FROM parquet_scan('https://example.org/x'))", "but duckdb says: Permission Error"),
        ("(SELECT count(*) > 0 FROM read_blob('/proc/self/environ'))", "but duckdb says: Permission Error"),
        ("(SELECT count(*) > 0 FROM glob('/etc/*'))", "but duckdb says: Permission Error"),
        ("(SELECT count(*) > 0 FROM sniff_csv('/etc/passwd'))", "but duckdb says: Permission Error"),
        ("(SELECT count(*) > 0 FROM sqlite_scan('/x', 'y'))", "but duckdb says: Catalog Error"),
        ("(SELECT count(*) > 0 FROM query('COPY (SELECT 1) TO ''/tmp/x'''))", "but duckdb says: Parser Error"),
        ("getenv('HOME') IS NOT NULL", "but duckdb says: Catalog Error"),
    ],
)
def test_a_condition_that_is_none_or_reaches_outside_is_one_sentence(condition: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="filter 'where'") as error:
        Where(condition, "cot").keeps(ROWS)
    assert sentence in str(error.value)


def test_a_failed_condition_names_the_columns() -> None:
    with pytest.raises(ValueError, match=r"source 'cot' declares 'tusk = 1' .*the columns are task, n \(all text\)"):
        Where("tusk = 1", "cot").keeps(ROWS)


def test_the_judge_asks_where_first_then_the_format_then_the_filters() -> None:
    rows: list[dict[str, str | None]] = [
        {"q": "Why?", "r": "<think>Because it is so.</think>It is.", "keep": "no"},
        {"q": "Why?", "r": "Because.", "keep": "yes"},
        {"q": "Why?", "r": f"<think>{LOOP}</think>It is.", "keep": "yes"},
        {"q": "Why?", "r": "<think>Because it is so.</think>It is.", "keep": "yes"},
    ]
    judge = Judge("src", "think", {"question": "q", "response": "r"}, {"loops": True, "where": "keep = 'yes'"})
    found = judge(rows)
    assert [v.reason if isinstance(v, Rejected) else "" for v in found] == ["where", "no_open", "loops", ""]
    assert judge.filters == ["where", "loops"]


@pytest.mark.parametrize(
    "text",
    [
        "The word 你好 means hello in Chinese, and 谢谢 means thanks; children learn both in their first week.",
        "def f(x):\n    return x + 1",
        "x = 3, y = 4",
        "",
        "Zoë and François met José in München; they spoke English all evening and laughed a lot.",
    ],
)
def test_code_numbers_names_and_quotations_do_not_make_a_text_foreign(text: str) -> None:
    assert not_english(text) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bonjour, je voudrais savoir comment aller à la gare, s'il vous plaît.", "fr"),
        ("Können Sie mir bitte erklären, wie das Wetter entsteht?", "de"),
        ("请解释一下 Python 的装饰器是如何工作的,并给出一个例子。", "zh"),
        ("日本の首都はどこですか。そして人口はどのくらいですか。", "ja"),
        ("한국의 수도는 어디입니까? 그리고 인구는 얼마나 됩니까?", "ko"),
        ("Какая самая длинная река в мире и где она находится?", "cyrillic"),
    ],
)
def test_another_language_is_named(text: str, language: str) -> None:
    assert (not_english(text) or "").split()[0] == language


def test_a_long_text_that_goes_on_in_another_language_is_foreign() -> None:
    assert not_english("I think this is easy. " * 10 + "我们需要仔细考虑这个问题的每一个步骤。" * 200)
    assert (
        not_english("我们需要仔细考虑这个问题。" * 3 + "Then I go on in plain English words for a long while. " * 100)
        is None
    )


def test_question_and_trace_must_be_english_but_an_answer_may_be_what_was_asked_for() -> None:
    question, trace = "Translate 'good morning' into Chinese.", "The usual greeting in the morning is this one. " * 3
    assert foreign(question, trace, "早上好") is None
    assert foreign("翻译“早上好”", trace, "Good morning") == "question: zh 1.00"
    assert foreign(question, "这是早上的问候语。" * 5, "Good morning") == "trace: zh 1.00"


def test_language_is_told_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert not_english("Wo ist denn bitte der Bahnhof in dieser Stadt?")


@pytest.mark.parametrize(
    "text",
    [
        LOOP,
        "First I think. " + "Step 1: check it. " + "".join(f"Step {i}: check it once more. " for i in range(40)),
        "好的。" * 200,
        "</answer>" * 60,
        "x" + "1" * 2000,
    ],
)
def test_a_text_that_goes_round_in_circles_is_a_loop(text: str) -> None:
    assert find_loop(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Short. Short. Short.",
        "| a | b |\n|---|---|\n" + "".join(f"| {i} | {i * i} |\n" for i in range(60)),
        "".join(
            f"The capital of country {name} is a town named {name[::-1]}.\n" for name in map(str, range(1000, 1040))
        ),
        "-" * 200,
        "1/3 = 0." + "3" * 500,
    ],
)
def test_tables_lists_and_numbers_are_no_loops(text: str) -> None:
    assert find_loop(text) is None


def test_prose_with_years_and_prices_is_prose() -> None:
    assert (
        not_prose(
            "Who painted it?", "In 1889, for 400 francs, he sold 12% of his work; 3 of 4 went to Theo.", "Van Gogh"
        )
        is None
    )
    assert not_prose("Write it.", "```python\ndef f(x):\n    return x\n```\nprint(f(2))", "f()") is not None


def test_counts_are_grouped_for_the_sentence() -> None:
    assert grouped({"language": 5, "no_close": 2, "bad_utf8": 1}) == {"language": 5, "well_formed": 3}
    assert listed({"b": 1, "a": 1, "c": 1000}) == "c 1,000, a 1, b 1"


def test_min_kept_names_counts_reasons_and_the_value_that_would_have_passed() -> None:
    counts = {"who": "standardize 'x': source 'y'", "looked_at": 180_000, "kept": 1_786, "what": "Rejected"}
    with pytest.raises(ValueError, match="kept") as error:
        require(0.5, reasons={"length": 178_214}, **counts)  # type: ignore[arg-type]
    assert str(error.value) == (
        "standardize 'x': source 'y' kept 1,786 of 180,000 rows (0.99%) but min_kept is 0.5. Rejected: length 178,214. "
        "Relax the filters or the format that dropped them, or lower min_kept to 0.0099."
    )
    require(0.0099, reasons={}, **counts)  # type: ignore[arg-type]
