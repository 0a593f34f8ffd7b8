"""How long the texts are: percentiles in characters, to be held against what others measured of the same source.

Takes:  the lengths of a column.
Leaves: {"p1": …, "p99": …}, by nearest rank, so that each is the length of a real row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PERCENTILES = (1, 5, 10, 50, 90, 95, 98, 99)


def percentiles(lengths: Sequence[int] | np.ndarray) -> dict[str, int]:
    """Nearest-rank percentiles; empty for no rows.

    >>> percentiles([3, 1, 2])["p50"]
    2
    """
    if not len(lengths):
        return {}
    ordered = np.sort(np.asarray(lengths, np.int64))
    return {f"p{p}": int(ordered[max(0, -(-p * len(ordered) // 100) - 1)]) for p in PERCENTILES}
