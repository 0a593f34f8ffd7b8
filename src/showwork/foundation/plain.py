"""Whether a value is plain: what JSON can hold, of a size that a person may have written.

Takes:  what a YAML loader made: besides JSON's values it makes dates, bytes, sets, tuples and functions of the standard library, and by
        aliases a block that holds itself, or a few lines that stand for a billion.
Leaves: what is not plain, by its key. Everything that reads the value afterwards may walk it to its end.
"""

from __future__ import annotations

import math
import re
from typing import Any

DEEPEST = 32
MOST = 100_000
SHOWN_CHARACTERS = 200
_LONE = re.compile("[\ud800-\udfff\0]")

Key = tuple[str | int, ...]


def unplain(value: Any) -> list[tuple[Key, str]]:
    """(key, what is wrong there) of everything that is not plain; only one for a value too deep or too large.

    >>> unplain({"seed": 42, "rate": float("nan")})
    [(('rate',), 'is nan, expected a finite number')]
    """
    found: list[tuple[Key, str]] = []
    todo: list[tuple[Key, Any]] = [((), value)]
    for entries in range(1, MOST + 1):
        if not todo:
            return found
        key, node = todo.pop()
        if len(key) > DEEPEST:
            return [
                (
                    key[:2],
                    f"is nested more than {DEEPEST} deep; write it flatter (an alias must not name a block around it)",
                )
            ]
        if isinstance(node, dict):
            for name, inner in node.items():
                if type(name) is int or (isinstance(name, str) and not _LONE.search(name)):
                    todo.append(((*key, name), inner))
                else:
                    found.append(
                        (
                            key,
                            f"has the key {shown(name)}, expected text or a whole number; put it in quotes or correct it",
                        )
                    )
        elif isinstance(node, list):
            todo += [((*key, i), inner) for i, inner in enumerate(node)]
        elif problem := _of_one(node):
            found.append((key, problem))
        if entries + len(todo) > MOST:
            break
    return [((), f"has more than {MOST:,} entries, aliases counted as often as they are named; write fewer")]


def shown(value: Any) -> str:
    """`repr` of a value, cut to 200 characters."""
    return cut(repr(value))


def cut(text: str) -> str:
    """The first 200 characters of a text."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _of_one(value: Any) -> str:
    """What is wrong with a value that holds no others; "" for a plain one."""
    if isinstance(value, str):
        return f"is {shown(value)}, expected text without NUL and halves of characters" if _LONE.search(value) else ""
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, expected a finite number"
    if value is None or isinstance(value, bool | int | float):
        return ""
    return f"is {shown(value)}, expected text, a number, true, false, null, a list or a block; put text in quotes"
