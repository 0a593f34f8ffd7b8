"""What is printed: harmless whatever the data hold, coloured only where a person looks at a terminal.

Takes:  texts that came from outside.
Leaves: the same texts with every character shown that would steer a terminal or turn a line around: `\\x1b` as ␛, U+202E as
        ⟨U+202E⟩. Nothing is left out. Data are never read as markup.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from showwork.records.neutralize import CONTROL_TOKENS
from showwork.records.parse import TARGET_TAGS

WIDE = 100_000
"""Columns where nobody looks: lines are then left as long as they are, for grep and for copying."""

_JOINERS = "\u200c\u200d"  # many scripts and emoji are written with them, and they move nothing
_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    r"|[\U000e0000-\U000e007f]"
)
_MARK = re.compile(r"[\u2400-\u2421]|⟨U\+[0-9A-F]{4,6}⟩")
_NAMES = "|".join(re.escape(token[1:-1]) for token in (*CONTROL_TOKENS, *TARGET_TAGS))
NEUTRALIZED = re.compile(rf"‹(?:{_NAMES}|unused[0-9]+)›|⟦(?:{_NAMES})⟧")
"""How records/neutralize.py writes what it has made harmless."""


def console(file: IO[str] | None = None) -> Console:
    """Where to print. No colour when it is no terminal, or NO_COLOR is set."""
    made = Console(
        file=file,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
    if not made.is_terminal:
        made.width = WIDE
    return made


def harmless(text: str) -> str:
    """The text with every character visible that is not to be obeyed; newlines and tabs stay.

    >>> harmless("\\x1b[2Jred\\u202e")
    '␛[2Jred⟨U+202E⟩'
    """
    return _STEERING.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"


def written(text: str, style: str = "") -> Text:
    """Data as they are printed: harmless, what was made harmless before highlighted."""
    shown = Text(harmless(text), style=style)
    shown.highlight_regex(NEUTRALIZED, "bold yellow")
    shown.highlight_regex(_MARK, "reverse red")
    return shown


def cut(text: str, most: int) -> str:
    """At most `most` characters of a text, two thirds of them from its beginning, and how many are left out; 0: all.

    >>> cut("abcdefghij", 6)
    'abcd […4 characters…] ij'
    """
    if not most or len(text) <= most:
        return text
    head = most - most // 3
    tail = text[len(text) - most // 3 :] if most // 3 else ""
    return f"{text[:head]} […{len(text) - most:,} characters…] {tail}"


def line(text: str, most: int) -> str:
    """The beginning of a text on one line.

    >>> line("What\\nis it?", 6)
    'What i…'
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[:most]}…"


def grid(out: Console, table: Table) -> None:
    """Print a table as wide as it is: a number that is cut to fit a narrow terminal is no number."""
    table.width = out.measure(table, options=out.options.update(max_width=WIDE)).maximum
    out.print(table, crop=False)


def labelled(out: Console, labels: Sequence[tuple[str, Text]]) -> None:
    """Print texts beside their labels; lines after the first stand below the text, not below the label."""
    width = max((len(label) for label, _ in labels), default=0) + 2
    for label, text in labels:
        for number, part in enumerate(text.wrap(out, max(out.width - width, 20))):
            part.rstrip()
            out.print(Text.assemble((f"{label if number == 0 else '':{width}}", "dim"), part), soft_wrap=True)
