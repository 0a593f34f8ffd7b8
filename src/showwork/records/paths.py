"""Paths into a row: how a format says where a text lies when it is no column of its own.

Takes:  a path such as `messages[role=assistant].content` and a row, whose values are texts (a list or an object is its JSON).
Leaves: the text, or a typed reason.

    prompt                        a column
    metadata.reasoning            a key of the object in a column
    messages[role=user].content   the one element of a list whose `role` is `user`
    generations[0]                an element by its place, from the end when negative
    generations[?correct]         the first element whose place is `true` in the list of the column `correct`
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from showwork.foundation.nesting import loads
from showwork.records.parse import Rejected, shown

Row = Mapping[str, str | None]

_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?[0-9]+)\]|\[\?([^\[\]]+)\]|\[([^\[\]=]+)=([^\[\]]*)\]")

REASONS = {
    "null": "a column or key that the format needs is null or absent",
    "not_text": "the place that the format names holds a number, list or object",
    "bad_nested_json": "a column that the format looks into holds no JSON, or JSON nested more than 500 levels deep",
    "no_match": "no element of the list is the one that the path asks for",
    "several_turns": "more than one element of the list is the one that the path asks for",
}


def columns_of(path: str) -> list[str]:
    """The columns that a path reads.

    >>> columns_of("generations[?correct]")
    ['generations', 'correct']
    """
    head, steps = _cut(path)
    return [head, *(flag for _, _, flag, _, _ in steps if flag)]


def compile_path(path: str) -> Callable[[Row], str | Rejected]:
    """A function from a row to the text at `path`.

    Raises: ValueError when `path` is no path.
    """
    head, steps = _cut(path)

    def plain(row: Row) -> str | Rejected:
        value = row[head]
        return Rejected("null", head) if value is None else value

    def deep(row: Row) -> str | Rejected:
        value: Any = _decoded(row, head)
        for step in steps:
            if isinstance(value, Rejected):
                return value
            value = _follow(value, step, row, path)
        if value is None:
            return Rejected("null", path)
        return value if isinstance(value, (str, Rejected)) else Rejected("not_text", shown(json.dumps(value)))

    return deep if steps else plain


def _cut(path: str) -> tuple[str, list[tuple[str, str, str, str, str]]]:
    head = re.match(r"[^.\[\]]+", path)
    rest = path[head.end() :] if head else path
    steps = list(_STEP.finditer(rest))
    if head is None or "".join(m.group() for m in steps) != rest:
        raise ValueError(
            f"path {path!r}: expected a column, then .key, [number], [key=value] or [?column] steps, "
            "such as messages[role=user].content; write it so"
        )
    return head.group(), [tuple(g or "" for g in m.groups()) for m in steps]  # type: ignore[misc]


def _decoded(row: Row, column: str) -> Any:
    value = row[column]
    if value is None:
        return Rejected("null", column)
    try:
        return loads(value)
    except ValueError:
        return Rejected("bad_nested_json", shown(value))


def _follow(value: Any, step: tuple[str, str, str, str, str], row: Row, path: str) -> Any:
    """One step down. An absent key is null; a list that offers no element, or several, is a reason."""
    key, place, flag, wanted_key, wanted = step
    if key:
        return value.get(key) if isinstance(value, dict) else Rejected("no_match", f"{path}: no object at .{key}")
    if not isinstance(value, list):
        return Rejected("no_match", f"{path}: no list")
    if place:
        at = int(place)
        inside = -len(value) <= at < len(value)
        return value[at] if inside else Rejected("no_match", f"{path}: the list has {len(value)} elements")
    if flag:
        flags = _decoded(row, flag)
        if isinstance(flags, Rejected):
            return flags
        chosen = [v for v, f in zip(value, flags if isinstance(flags, list) else [], strict=False) if f is True]
        return chosen[0] if chosen else Rejected("no_match", f"{path}: no element is flagged")
    chosen = [v for v in value if isinstance(v, dict) and _said(v.get(wanted_key)) == wanted]
    if len(chosen) > 1:
        return Rejected("several_turns", f"{path}: {len(chosen)} elements")
    return chosen[0] if chosen else Rejected("no_match", f"{path}: no element with {wanted_key}={wanted}")


def _said(value: Any) -> str:
    """A value as a person writes it in a path: true, 3, user."""
    return value if isinstance(value, str) else json.dumps(value)
