"""One strict parser for every text that holds a trace and an answer between tags: raw rows and generations alike.

Takes:  a text and the tags of its format.
Leaves: the trace and the answer, or one typed reason with the piece of text that failed. Nothing is guessed: what a format
        does not allow is a reason, and a reason is mended only where the format lists it under `recover`.

>>> parse("<think>Two and two.</think> 4", Tags(("<think>", "</think>")))
Parsed(trace='Two and two.', answer='4', recovered=())
>>> parse("Two and two.</think> 4", Tags(("<think>", "</think>")))
Rejected(reason='no_open', detail='Two and two.</think> 4')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DETAIL_CHARACTERS = 200
TRIES = 8
"""Characters that only look like the beginning of a tag before the tag itself is searched for."""

REASONS = {
    "no_open": "the tag that opens the trace is not there",
    "no_close": "the tag that closes the trace is not there",
    "close_before_open": "a closing tag stands before its opening tag",
    "several_blocks": "the trace is opened or closed more than once",
    "nested": "a tag of the format stands inside the trace",
    "empty_trace": "nothing but white space between the trace's tags",
    "no_answer_open": "the tag that opens the answer is not there",
    "no_answer_close": "the tag that closes the answer is not there",
    "several_answers": "the answer is opened or closed more than once",
    "empty_answer": "the answer is nothing but white space",
    "text_before": "text before the trace",
    "text_between": "text between trace and answer",
    "text_after": "text after the answer",
}
"""What the parser can say of a text."""

RECOVERABLE = ("no_open", "no_close", "no_answer_open", "no_answer_close", "text_before", "text_between", "text_after")
"""Reasons that `recover` may name, and what is then done: no_open: the text begins in the trace; no_close: the trace ends
where the answer opens; no_answer_open: the rest is the answer; no_answer_close: the answer runs to the end; text_*: that
text is left out."""


class Parsed(NamedTuple):
    """The two texts; `recovered` names what had to be mended, and `text_around` where text outside was left out."""

    trace: str
    answer: str
    recovered: tuple[str, ...] = ()


class Rejected(NamedTuple):
    """Why a text is not of its format; `detail` is the piece that failed, at most 200 characters."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Tags:
    """How a text holds trace and answer. `answer` None: the rest is the answer. `exact`: no white space is forgiven."""

    trace: tuple[str, str]
    answer: tuple[str, str] | None = None
    opening_optional: bool = False
    text_around: bool = False
    recover: frozenset[str] = frozenset()
    exact: bool = False


TARGET = Tags(("<reasoning>", "</reasoning>"), ("<answer>", "</answer>"), exact=True)
"""What we train a model to write; the text between the two blocks is one newline."""

TARGET_TAGS = (*TARGET.trace, "<answer>", "</answer>")


def parse_target(text: str) -> Parsed | Rejected:
    """Trace and answer of a completion in our own form, to the letter.

    >>> parse_target("<reasoning>Two and two.</reasoning>\\n<answer>4</answer>").answer
    '4'
    """
    return parse(text, TARGET)


def parse(text: str, tags: Tags) -> Parsed | Rejected:
    """Trace and answer of `text`, stripped of white space at their ends (not so when `tags.exact`)."""
    opened, closed = tags.trace
    mended: list[str] = []
    start, end = _find(text, opened), _find(text, closed)
    if start < 0:
        if not tags.opening_optional and ("no_open" not in tags.recover or end < 0):
            return Rejected("no_open", shown(text))
        if not tags.opening_optional:
            mended.append("no_open")
        begin, before = 0, ""
    else:
        begin, before = start + len(opened), text[:start]
        if 0 <= end < start:
            return Rejected("close_before_open", shown(text[end:]))
    if outside := _outside(before, "text_before", tags, mended):
        return outside
    if end < 0:
        end = text.find(tags.answer[0], begin) if tags.answer and "no_close" in tags.recover else -1
        if end < 0:
            return Rejected("no_close", shown(text[-DETAIL_CHARACTERS:]))
        mended.append("no_close")
        rest = text[end:]
    else:
        rest = text[end + len(closed) :]
    again = _find(text, opened, begin)
    if again >= 0:
        return Rejected("nested" if again < end else "several_blocks", shown(text[again:]))
    if (again := _find(rest, closed)) >= 0:
        return Rejected("several_blocks", shown(rest[again:]))
    trace = text[begin:end]
    answer = rest if tags.answer is None else _answer(trace, rest, tags, mended)
    if isinstance(answer, Rejected):
        return answer
    if not trace.strip():
        return Rejected("empty_trace")
    if not answer.strip():
        return Rejected("empty_answer", shown(trace[-DETAIL_CHARACTERS:]))
    if tags.exact:
        return Parsed(trace, answer, tuple(mended))
    return Parsed(trace.strip(), answer.strip(), tuple(mended))


def _find(text: str, tag: str, start: int = 0) -> int:
    """`text.find(tag, start)`, five times as fast where the tag's first character is rare.

    One character is looked for with the processor's widest registers.
    """
    first, at = tag[0], start
    for _ in range(TRIES):
        at = text.find(first, at)
        if at < 0 or text.startswith(tag, at):
            return at
        at += 1
    return text.find(tag, at)


def _answer(trace: str, rest: str, tags: Tags, mended: list[str]) -> str | Rejected:
    """The text between the answer's tags, `rest` being all that follows the trace."""
    opened, closed = tags.answer or ("", "")
    for tag in (opened, closed):
        if tag in trace:
            return Rejected("nested", shown(trace[trace.find(tag) :]))
    start = rest.find(opened)
    if start < 0:
        if "no_answer_open" not in tags.recover:
            return Rejected("no_answer_open", shown(rest.strip()))
        mended.append("no_answer_open")
        between, begin = "", 0
    else:
        between, begin = rest[:start], start + len(opened)
    if closed in between:
        return Rejected("close_before_open", shown(between.strip()))
    if tags.exact and between == "\n":
        between = ""
    elif tags.exact and not between:
        return Rejected("text_between", "no newline between trace and answer")
    if outside := _outside(between, "text_between", tags, mended):
        return outside
    if rest.find(opened, begin) >= 0:
        return Rejected("several_answers", shown(rest[rest.find(opened, begin) :]))
    end = rest.find(closed, begin)
    if end < 0:
        if "no_answer_close" not in tags.recover:
            return Rejected("no_answer_close", shown(rest[-DETAIL_CHARACTERS:]))
        mended.append("no_answer_close")
        return rest[begin:]
    after = rest[end + len(closed) :]
    if closed in after:
        return Rejected("several_answers", shown(after.strip()))
    if outside := _outside(after, "text_after", tags, mended):
        return outside
    return rest[begin:end]


def _outside(text: str, reason: str, tags: Tags, mended: list[str]) -> Rejected | None:
    """What becomes of text outside the tags: nothing when there is none, else a reason unless the format lets it go."""
    if not text or (text.isspace() and not tags.exact):
        return None
    if tags.text_around or reason in tags.recover:
        mended.append("text_around" if tags.text_around else reason)
        return None
    return Rejected(reason, shown(text.strip() or repr(text)))


def shown(text: str) -> str:
    """At most 200 characters of `text`, with an ellipsis when it was longer."""
    return text if len(text) <= DETAIL_CHARACTERS else text[: DETAIL_CHARACTERS - 1] + "…"
