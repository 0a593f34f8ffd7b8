"""Texts made of the parser's own grammar, cut and joined by seed, and what must hold of every answer that it gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from showwork.records.neutralize import CONTROL_TOKENS, neutralize
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
)
from showwork.tokens.template import completion_text

PAIRS = (("<think>", "</think>"), ("<Thought>", "</Thought>"), ("<<", ">>"), TARGET.trace)
ANSWERS = (None, ("<answer>", "</answer>"), ("<Output>", "</Output>"), ("[", "]"))
WORDS = (
    "a", "t ", "\n", " ", "\n\n", "\u00a0", "\u2028", "\0", "\ud800", "\udfff", "\u202e", "\u2066", "\ufeff", "<", ">", "</", "<answer",
    "<script>alert(1)</script>", "e\u0301", "天", "🙂", "x" * 300, "<reasoning ", "</reasoning\n>", *CONTROL_TOKENS[:6],
)  # fmt: skip
_BLANK = re.compile(r"\s*\Z")
_EXACT = re.compile("<reasoning>(.*)</reasoning>\n<answer>(.*)</answer>", re.DOTALL)


def cases(seed: int, count: int) -> Iterator[tuple[str, Tags]]:
    """`count` texts, most of them nearly of a form, each with the tags it is to be read by."""
    chance = Random(seed)
    for _ in range(count):
        tags = TARGET if chance.random() < 0.3 else _tags(chance)
        yield _text(chance, tags), tags


def check(text: str, tags: Tags) -> str:
    """The reason that the parser gives, "" for none.

    Raises: AssertionError where what it gives is no answer to this text.
    """
    found = parse(text, tags)
    if isinstance(found, Rejected):
        assert found.reason in REASONS, found
        assert len(found.detail) <= DETAIL_CHARACTERS, found
    else:
        assert isinstance(found, Parsed), found
        assert not _BLANK.match(found.trace), found
        assert not _BLANK.match(found.answer), found
        assert found.trace in text, found
        assert found.answer in text, found
        assert not any(tag in found.trace for tag in (*tags.trace, *(tags.answer or ()))), found
        if tags.answer and "no_answer_open" not in found.recovered:
            assert not any(tag in found.answer for tag in tags.answer), found
        assert set(found.recovered) <= {*tags.recover, "text_around"}, found
    if tags is TARGET:
        _check_exact(text, found)
    return found.reason if isinstance(found, Rejected) else ""


def _check_exact(text: str, found: Parsed | Rejected) -> None:
    """Our own form is what a regular expression says, and what it holds is rendered to the same text."""
    form = _EXACT.fullmatch(text)
    well_formed = (
        form is not None
        and all(part.strip() for part in form.groups())
        and all(text.count(tag) == 1 for tag in TARGET_TAGS)
    )
    assert isinstance(found, Parsed) == well_formed, (text, found)
    if (
        isinstance(found, Parsed)
        and neutralize(found.trace)[0] == found.trace
        and neutralize(found.answer)[0] == found.answer
    ):
        assert completion_text(found.trace, found.answer) == text


def _tags(chance: Random) -> Tags:
    recover = frozenset(reason for reason in RECOVERABLE if chance.random() < 0.2)
    return Tags(
        chance.choice(PAIRS), chance.choice(ANSWERS), opening_optional=chance.random() < 0.2,
        text_around=chance.random() < 0.2, recover=recover,
    )  # fmt: skip


def _text(chance: Random, tags: Tags) -> str:
    """The form itself, with pieces lost, doubled, exchanged or put in, and now and then cut off."""
    answer = tags.answer or ("", "")
    between = "\n" if tags.exact else chance.choice(("", "\n", "\n\n"))
    pieces = [tags.trace[0], chance.choice(WORDS), tags.trace[1], between, answer[0], chance.choice(WORDS), answer[1]]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(pieces) + 1)
        act = chance.randrange(4)
        if act == 0 and pieces:
            del pieces[at - 1]
        elif act == 1:
            pieces.insert(at, chance.choice(WORDS))
        elif act == 2:
            pieces.insert(at, chance.choice((*tags.trace, *(tags.answer or tags.trace), *TARGET_TAGS)))
        elif pieces:
            other = chance.randrange(len(pieces))
            pieces[at - 1], pieces[other] = pieces[other], pieces[at - 1]
    text = "".join(pieces)
    return text if chance.random() < 0.9 else text[: chance.randrange(len(text) + 1)]
