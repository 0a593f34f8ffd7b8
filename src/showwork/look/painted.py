"""A completion in colours while it grows: the trace dimmed, the answer bright, what is neither as it is.

Takes:  the text of a completion, longer at every call.
Leaves: its new pieces, each with a style. The tags stay: nothing that a model wrote is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from showwork.records.parse import TARGET_TAGS

TRACE, ANSWER, TAG, OUTSIDE = "dim", "bold bright_white", "dim cyan", ""
_AFTER = {"<reasoning>": TRACE, "</reasoning>": OUTSIDE, "<answer>": ANSWER, "</answer>": OUTSIDE}
_TAG = re.compile("|".join(map(re.escape, TARGET_TAGS)))
UNFINISHED = "\ufffd"  # what a tokenizer writes for the first bytes of a character


class Painter:
    """Colours a completion while it grows.

    `list(painter.grow("<reasoning>So"))` -> [("dim cyan", "<reasoning>"), ("dim", "So")]; then `grow("<reasoning>So,
    yes")` gives [("dim", ", yes")].
    """

    def __init__(self) -> None:
        self._style = OUTSIDE
        self._told = 0

    def grow(self, text: str, *, whole: bool = False) -> Iterator[tuple[str, str]]:
        """(style, piece) of what is new. Until it is `whole`, an end that may become a tag or a character is held back."""
        end = len(text) if whole else len(text) - _held_back(text)
        while self._told < end:
            tag = _TAG.search(text, self._told, end)
            stop = tag.start() if tag else end
            if stop > self._told:
                yield self._style, text[self._told : stop]
            self._told = stop
            if tag:
                yield TAG, tag.group()
                self._told, self._style = tag.end(), _AFTER[tag.group()]


def _held_back(text: str) -> int:
    """Characters at the end that may still change: the beginning of a tag, of a character.

    >>> _held_back("So</rea"), _held_back("a < b"), _held_back("So.")
    (5, 0, 0)
    """
    whole = text.rstrip(UNFINISHED)
    start = whole.rfind("<")
    if start >= 0 and any(tag.startswith(whole[start:]) and tag != whole[start:] for tag in TARGET_TAGS):
        return len(text) - start
    return len(text) - len(whole)
