"""Ten thousand texts for the parser, and as many files and configurations as a minute of the tests has room for; benchmarks/fuzz_campaign.py
tries a hundred times as many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fuzz import config_cases, parser_cases, reader_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.records.parse import REASONS, TARGET

pieces = st.lists(
    st.one_of(st.sampled_from([*parser_cases.WORDS, *TARGET.trace, *(TARGET.answer or ())]), st.text(max_size=3))
)


def test_every_text_is_parsed_or_rejected_with_a_reason() -> None:
    found = Counter(parser_cases.check(text, tags) for text, tags in parser_cases.cases(0, 10_000))
    assert set(found) == {"", *REASONS}, "the cases meet every reason"


@settings(max_examples=150, deadline=None)
@given(pieces)
def test_our_own_form_is_what_a_regular_expression_says_of_any_text(parts: list[str]) -> None:
    parser_cases.check("".join(parts), TARGET)


def test_every_configuration_is_refused_in_sentences_or_can_be_planned() -> None:
    found = Counter(map(config_cases.check, config_cases.cases(0, 300)))
    assert set(found) == {"accepted", "refused"}


def test_every_file_is_refused_in_a_sentence_or_each_of_its_rows_has_a_fate(tmp_path: Path) -> None:
    whole = reader_cases.originals(tmp_path)
    found = Counter(
        reader_cases.check(layout, content, tmp_path / "case") for layout, content in reader_cases.cases(0, 600, whole)
    )
    assert set(found) == {"read", "refused"}
