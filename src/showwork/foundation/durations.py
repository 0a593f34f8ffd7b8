"""Spans of time as people write them.

Takes:  text such as `9 hours`, `90 minutes`, `1 hour 30 minutes`.
Leaves: seconds.
"""

from __future__ import annotations

import re

_UNITS = {"s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(seconds?|s|minutes?|min|hours?|h|days?|d)\b\s*")


def seconds_of(text: object) -> float:
    """Seconds of a span.

    >>> seconds_of("1 hour 30 minutes"), seconds_of("0.5 h")
    (5400.0, 1800.0)

    Raises:
      ValueError: no span of time, or none at all.
    """
    found, at = 0.0, 0
    whole = text.strip() if isinstance(text, str) else ""
    while part := _PART.match(whole, at):
        unit = part[2] if part[2] in _UNITS else part[2].removesuffix("s")
        found, at = found + float(part[1]) * _UNITS[unit], part.end()
    if not found or at != len(whole):
        raise ValueError(
            f"is {text!r}, expected a span of time above 0 with its unit, such as 9 hours, 90 minutes or 1 hour 30 minutes"
        )
    return found
