"""Which questions no session may train on: one rule, by the question alone, for every sample and session.

Takes:  a question's id and the held-out share.
Leaves: yes or no. Rows that ask the same question in another letter case fall on the same side.
"""

from __future__ import annotations

import functools
import math


def is_held_out(question_id: str, share: float) -> bool:
    """Whether a question (its id in hex) belongs to evaluation; a larger share keeps all that a smaller one held out.

    >>> is_held_out("0" * 32, 0.01), is_held_out("f" * 32, 0.01)
    (True, False)
    """
    return question_id < boundary(share)


@functools.cache
def boundary(share: float) -> str:
    """The first id, in 16 hex digits, that is not held out.

    >>> boundary(0.25)
    '4000000000000000'
    """
    return f"{math.ceil(share * 2**64):016x}"
