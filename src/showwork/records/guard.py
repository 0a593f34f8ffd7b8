"""The guard against data that vanish: counts by reason, and a failure when too little is left.

Takes:  how many rows were looked at and what became of them.
Leaves: nothing when enough was kept, else one sentence with the counts and the settings that would have passed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from showwork.records.filters import NAMES


def grouped(reasons: Mapping[str, int]) -> Counter[str]:
    """Counts by filter; every reason that a format or a reader gives is `well_formed`.

    >>> grouped({"language": 5, "no_close": 2, "no_open": 1})
    Counter({'language': 5, 'well_formed': 3})
    """
    counts: Counter[str] = Counter()
    for reason, count in reasons.items():
        counts[reason if reason in NAMES else "well_formed"] += count
    return counts


def listed(reasons: Mapping[str, int]) -> str:
    """`language 5, no_close 2`: the largest first, equal ones by name."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0])))


def require(
    min_kept: float | None, *, who: str, looked_at: int, kept: int, reasons: Mapping[str, int], what: str
) -> None:
    """Hold the share kept against `min_kept`; `who` begins the sentence, `what` was done to the rows.

    Raises: ValueError when it is below.
    """
    if min_kept is None or (looked_at and kept >= min_kept * looked_at) or (not looked_at and not min_kept):
        return
    share = kept / looked_at if looked_at else 0.0
    passing = math.floor(share * 10_000) / 10_000
    raise ValueError(
        f"{who} kept {kept:,} of {looked_at:,} rows ({share:.2%}) but min_kept is {min_kept:g}. "
        f"{what}: {listed(reasons) or 'nothing'}. Relax the filters or the format that dropped them, "
        f"or lower min_kept to {passing:g}."
    )
