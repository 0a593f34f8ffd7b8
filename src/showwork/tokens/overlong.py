"""An example longer than a packed row is trimmed in the middle of its trace, or dropped with a reason.

Takes   a trace, a way to count tokens, and what the rest of the example needs.
Leaves  the shortened trace and the tokens cut, or the reason why it cannot be kept. The question and the answer are
        never touched, and no example keeps less trace than the stated minimum.
Source  our own rule: the beginning of a trace sets the problem up and its end leads to the answer, so the middle goes
        first; paragraphs are cut whole, and sentences only where paragraphs are not enough.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ANSWER_TOO_LONG = "answer_too_long"
QUESTION_TOO_LONG = "question_too_long"
TRACE_BELOW_MINIMUM = "trace_below_minimum"
OVERLONG = "overlong"

CountTokens = Callable[[str], int]
TokenStarts = Callable[[str], Sequence[int] | np.ndarray]

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
# A sentence ends at a stop (with closing quotes or brackets) before white space, an ideographic stop, or a line's end.
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*\s+|[。！？]+[”’）」]*\s*|\n\s*")


@dataclass(frozen=True)
class Trimmed:
    """`trace` is None when nothing could be kept; then `reason` says why. Otherwise `reason` is empty."""

    trace: str | None
    reason: str


def paragraphs(text: str) -> list[str]:
    """Pieces that end after blank lines; joined they are the text.

    >>> paragraphs("One. Two.\\n\\nThree.")
    ['One. Two.\\n\\n', 'Three.']
    """
    return _pieces(text, _PARAGRAPH_END)


def sentences(text: str) -> list[str]:
    """Pieces that end after a sentence or a line; joined they are the text.

    >>> sentences("One. Two?\\nThree.")
    ['One. ', 'Two?\\n', 'Three.']
    """
    return _pieces(text, _SENTENCE_END)


def trim_trace(
    trace: str,
    *,
    room: int,
    room_without_answer: int,
    min_trace_tokens: int,
    count_tokens: CountTokens,
    token_starts: TokenStarts,
) -> Trimmed:
    """Removes whole paragraphs, then sentences, from the middle of `trace` until it has at most `room` tokens.

    >>> words = lambda text: [word.start() for word in re.finditer(r"\\S+", text)]
    >>> cut = dict(room_without_answer=9, min_trace_tokens=2, count_tokens=lambda t: len(words(t)), token_starts=words)
    >>> trim_trace("a b\\n\\nc d\\n\\ne f", room=4, **cut).trace
    'a b\\n\\ne f'
    >>> trim_trace("a. b. c. d. e. f.", room=4, **cut).trace
    'a. b. e. f.'

    Nothing is put in place of what is cut. The first and the last piece always stay, and a piece stays if cutting it
    would leave less than `min_trace_tokens`.

    Args:
      room: tokens that a row leaves for the trace beside question, answer and template; may be negative.
      room_without_answer: the same if the answer were empty: tells whose length it is that does not fit.
      count_tokens: decides what fits.
      token_starts: at which character each token begins; it says where to look first, and may be slightly wrong.
    """
    if room_without_answer < min_trace_tokens:
        return Trimmed(None, QUESTION_TOO_LONG)
    if room < min_trace_tokens:
        return Trimmed(None, ANSWER_TOO_LONG)
    kept = trace
    for split in (paragraphs, sentences):
        pieces = split(kept)
        if split is paragraphs and len(pieces) < 3:
            continue  # there is none in the middle
        kept, tokens = _cut_middle(pieces, room, min_trace_tokens, count_tokens, token_starts)
        if tokens <= room:
            return Trimmed(kept, "") if tokens >= min_trace_tokens else Trimmed(None, TRACE_BELOW_MINIMUM)
    return Trimmed(None, TRACE_BELOW_MINIMUM)


def _cut_middle(
    pieces: list[str], room: int, least: int, count_tokens: CountTokens, token_starts: TokenStarts
) -> tuple[str, int]:
    """The fewest middle pieces removed so that the rest has at most `room` tokens, or as many as `least` allows."""
    middle = (len(pieces) - 1) / 2
    # Where two pieces are equally far from the middle the later goes first: what sets the problem up is worth more.
    outward = sorted(range(1, len(pieces) - 1), key=lambda i: (abs(i - middle), -i))

    def without(num_cut: int) -> str:
        cut = set(outward[:num_cut])
        return "".join(piece for i, piece in enumerate(pieces) if i not in cut)

    @functools.cache
    def tokens_without(num_cut: int) -> int:
        return count_tokens(without(num_cut))

    # The tokens that begin in each piece say nearly how many cuts are needed; the count of the joined text decides.
    starts, ends = np.asarray(token_starts("".join(pieces))), np.cumsum([len(piece) for piece in pieces])
    lengths = np.diff(np.searchsorted(starts, ends), prepend=0)
    tokens, num_cut = len(starts), 0
    while num_cut < len(outward) and tokens > room:
        tokens -= lengths[outward[num_cut]]
        num_cut += 1
    while num_cut < len(outward) and tokens_without(num_cut) > room:
        num_cut += 1
    while num_cut and tokens_without(num_cut - 1) <= room:
        num_cut -= 1
    while num_cut and tokens_without(num_cut) < least:
        num_cut -= 1
    return without(num_cut), tokens_without(num_cut)


def _pieces(text: str, end: re.Pattern[str]) -> list[str]:
    stops = [match.end() for match in end.finditer(text)]
    edges = [0, *stops] + ([len(text)] if not stops or stops[-1] < len(text) else [])
    return [text[a:b] for a, b in itertools.pairwise(edges)]
