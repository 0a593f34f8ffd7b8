"""JSON nested so deeply that a parser gives up is told by our own bound, the same in every process and at any stack.

Takes:  JSON from outside.
Leaves: what it says, or a ValueError. (Python's and msgspec's parsers raise RecursionError from somewhere near 1,000 levels on,
        sooner the deeper the caller stands, so that two processes could judge one row differently.)
"""

from __future__ import annotations

import json
import re
from typing import Any

LEVELS = 500
"""Lists and objects within each other."""
TOO_DEEP = f"nested more than {LEVELS} levels deep"

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SIGN = re.compile(rb"[\[\]{}]")


def too_deep(text: str | bytes) -> bool:
    """Whether lists and objects in `text` lie more than LEVELS deep within each other; brackets in strings do not count.

    >>> too_deep("[" * 501 + "]" * 501), too_deep('{"a": "' + "[" * 501 + '"}')
    (True, False)
    """
    opened = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if opened <= LEVELS:
        return False
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    depth = 0
    for sign in _SIGN.findall(_STRING.sub(b"", data)):
        depth += 1 if sign in b"[{" else -1
        if depth > LEVELS:
            return True
    return False


def loads(text: str | bytes) -> Any:
    """What the JSON says.

    Raises: ValueError when it is none, or nested more than LEVELS deep.
    """
    if too_deep(text):
        raise ValueError(TOO_DEEP)
    return json.loads(text)
