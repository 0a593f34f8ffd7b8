from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from look.shown import on_a_terminal
from rich.text import Text

from showwork.look.terminal import console, cut, harmless, labelled, written

ATTACKS = {
    "\x1b[2J\x1b[31mred": "␛[2J␛[31mred",
    "\x1b]0;title\x07": "␛]0;title␇",
    "\x9b2J": "⟨U+009B⟩2J",
    "over\rwritten": "over␍written",
    "\x08\x7f": "␈␡",
    "a\u202etxt.exe\u202c": "a⟨U+202E⟩txt.exe⟨U+202C⟩",
    "\u2066\u2069\u200e\u061c\ufeff\u200b": "⟨U+2066⟩⟨U+2069⟩⟨U+200E⟩⟨U+061C⟩⟨U+FEFF⟩⟨U+200B⟩",
    "half \ud83d": "half ⟨U+D83D⟩",
    "hidden\U000e0041": "hidden⟨U+E0041⟩",
    "a\u2028b": "a⟨U+2028⟩b",
}


@pytest.mark.parametrize("text", ATTACKS, ids=[ascii(text) for text in ATTACKS])
def test_every_character_that_steers_is_shown_instead(text):
    assert harmless(text) == ATTACKS[text]


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_steers_a_terminal_or_cannot_be_printed_is_left_of_any_text(text):
    shown = harmless(text)
    shown.encode()
    left = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - set("\n\t\u200c\u200d")
    # Marks of Egyptian, Arabic, musical and shorthand notation are of category Cf and only mark.
    assert all(unicodedata.bidirectional(c) in ("AN", "L", "NSM", "BN", "AL", "") for c in left)
    assert not {c for c in left if ord(c) < 0x600 or 0x2000 <= ord(c) < 0x2070}


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_a_text_without_them_stays_as_it_is(text):
    assert harmless(text) == text


def test_joined_letters_and_emoji_are_left_joined():
    assert harmless("नि\u200dक 👨‍👩‍👧") == "नि\u200dक 👨‍👩‍👧"


@pytest.mark.parametrize("text", ["[bold red]x[/]", "[/]", ":smile:", "\\[x]", "[link=http://e]x[/link]"])
def test_data_are_never_read_as_markup(text):
    out = io.StringIO()
    console(out).print(written(text))
    assert out.getvalue() == f"{text}\n"


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_printed_holds_no_escape_where_there_is_no_terminal(attack, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    console(out).print(written(f"‹bos› {attack}", "bold"), soft_wrap=True)
    assert out.getvalue() == f"‹bos› {ATTACKS[attack]}\n"


def test_what_was_made_harmless_is_marked_on_a_terminal_and_plain_with_no_color(small):
    asked = ("inspect", small / "results/mix/session1/train.parquet", "--where", "question LIKE '%‹%'", "--no-tokens")
    assert "\x1b[1;33m‹" in on_a_terminal(*asked)
    assert "\x1b" not in on_a_terminal(*asked, NO_COLOR="1")


def test_numbers_of_a_table_are_whole_on_a_narrow_terminal(small):
    seen = on_a_terminal("inspect", small / "results/train/session1/history.jsonl", COLUMNS="40", NO_COLOR="1")
    line = json.loads((small / "results/train/session1/history.jsonl").read_text().splitlines()[4])
    assert f"{line['loss']:.4g}" in seen
    assert f"{line['tokens']:,}" in seen
    assert "…" not in seen


def test_a_long_text_is_cut_in_its_middle_and_says_by_how_much():
    assert cut("abcdefghij", 6) == "abcd […4 characters…] ij"
    assert cut("abcdefghij", 0) == cut("abcdefghij", 10) == "abcdefghij"
    assert cut("abcdefghij", 1) == "a […9 characters…] "


def test_lines_after_the_first_stand_below_the_text_and_not_below_its_label():
    out = io.StringIO()
    narrow = console(out)
    narrow.width = 30
    labelled(narrow, [("mix", Text("one two three four five six seven")), ("packed", Text("a\nb"))])
    assert out.getvalue() == "mix     one two three four\n        five six seven\npacked  a\n        b\n"
