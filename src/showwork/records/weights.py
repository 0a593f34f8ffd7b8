"""Weights: rows of larger weight are drawn sooner, still by hash alone and without replacement.

Takes:  a row, its uniform 64-bit key, what the sample declares:

    weights: {column: task, of: {summarize: 3, translate: 0}, other: 1}   # by the value of a column; 0: never
    weights: {column: score}                                             # the column is the weight

Leaves: another key. Rows of lowest key are drawn: then the first is row i with probability w_i / sum of w, the next likewise
among those that are left, and so on. Keys are functions of a row's content, so weighted draws nest, merge and do not depend on
the order of rows, as unweighted ones.

Source: Efraimidis and Spirakis 2006, as an exponential race (key = -ln(1 - u) / w). The logarithm is made of additions,
multiplications and divisions only, which are the same to the last bit on every machine; a library's need not be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_LN2 = 0.6931471805599453
_TERMS = [1 / (2 * i + 1) for i in range(18, -1, -1)]
UNIT = 2**64
"""Weighted keys count in 1 / 2**64, so that for small keys and weight 1 they are the uniform ones."""


def exponential(key: int) -> float:
    """A uniform 64-bit key as a draw of the exponential distribution of mean 1.

    >>> round(exponential(2**63), 12)
    0.69314718056
    """
    u = (key + 0.5) / UNIT
    if u <= 0.5:
        return 2 * _atanh(u / (2 - u))
    share, power = math.frexp(UNIT - key - 0.5)
    return (64 - power) * _LN2 + 2 * _atanh((1 - share) / (1 + share))


def _atanh(s: float) -> float:
    """The inverse hyperbolic tangent for s up to 1/3, by its series."""
    square, total = s * s, 0.0
    for term in _TERMS:
        total = total * square + term
    return s * total


class Weights:
    """A checked declaration."""

    def __init__(self, declared: Mapping[str, Any], who: str) -> None:
        self.column: str = declared["column"]
        self._who = who
        self._of: dict[str, float] | None = declared.get("of")
        self._other = float(1 if declared.get("other") is None else declared["other"])
        self._largest = max([*self._of.values(), self._other]) if self._of else None

    def of(self, row: Mapping[str, str | None] | None) -> float:
        """The weight of a row; a row that cannot be read (None) has that of `other`.

        Raises: ValueError when the column is to be the weight and holds something else than a number from 0 up.
        """
        value = row and row[self.column]
        if self._of is not None:
            return self._of.get(value or "", self._other)
        if row is None:
            return self._other
        try:
            weight = float(value or "")
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise ValueError(
                f"{self._who}: weights.column {self.column!r} holds {value!r}, expected a number from 0 up; give the weights "
                "by value with weights.of, or leave such rows out with the filter `where`"
            )
        return weight

    def key(self, key: int, row: Mapping[str, str | None] | None) -> int | None:
        """The row's key in the weighted draw; None: it is never drawn."""
        weight = self.of(row)
        return int(exponential(key) / weight * UNIT) if weight else None

    def uniform(self, limit: int) -> int:
        """A uniform key from which on no row has a weighted key below `limit`, whatever its weight."""
        if self._largest is None or limit >= 64 * UNIT:
            return UNIT
        share = -math.expm1(-limit / UNIT * self._largest)
        return min(UNIT, int(share * (1 + 1e-9) * UNIT) + 1)
