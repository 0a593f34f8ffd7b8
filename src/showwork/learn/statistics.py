"""Say how far a measured share or difference can be trusted: Wilson intervals and a paired bootstrap.

*Takes* counts, or one number per prompt from two models that answered the same prompts. *Leaves* intervals and a
two-sided p-value, as plain floats. No files; the bootstrap draws from numpy's PCG64 by seed, so it repeats.

Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference"; B. Efron and
R. Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13 (percentile interval), resampling *prompts* so that
both models are always judged on the same draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NORMAL_975 = 1.959963984540054  # the 0.975 quantile of the standard normal: a two-sided 95 % interval
RESAMPLES_AT_ONCE = 500  # bounds memory at 500 x prompts int64 whatever num_resamples is


@dataclass(frozen=True)
class Share:
    """`count` of `total`, with a 95 % interval. A share of nothing is None, never 0."""

    count: int
    total: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """After minus before over the same prompts: mean, 95 % interval, two-sided p-value, number of prompts."""

    mean: float
    low: float
    high: float
    p_value: float
    num_prompts: int


def wilson(count: int, total: int) -> Share:
    """The share `count / total` with Wilson's 95 % interval, which stays inside [0, 1] and is not empty at 0 or at all.

    `wilson(9, 10)` -> share 0.9, low 0.596, high 0.982; `wilson(0, 300)` -> low 0.0, high 0.0126;
    `wilson(0, 0)` -> share, low and high None.

    Raises:
        ValueError: count is negative or above total.
    """
    if not 0 <= count <= total:
        raise ValueError(
            f"count is {count} of total {total}; it must lie between 0 and the total. Count each prompt once."
        )
    if total == 0:
        return Share(0, 0, None, None, None)
    z2 = NORMAL_975**2
    share = count / total
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = NORMAL_975 * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == total else min(1.0, middle + half)
    return Share(count, total, share, low, high)


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    seed: int,
    num_resamples: int = 10_000,
) -> Difference:
    """The mean of after - before with a 95 % percentile interval, resampling prompts with replacement.

    `paired_bootstrap([0, 0, 1, 0], [1, 1, 1, 1], seed=0).mean` -> 0.75. With `weights` (tokens of each prompt, say)
    both means are weighted: sum(w * x) / sum(w) over the resampled prompts.

    Args:
        before, after: [P] one number per prompt, same prompts in the same order.
        weights: [P] positive, or None for equal weights.
        seed: of numpy's PCG64.
        num_resamples: draws; the p-value cannot fall below 2 / (num_resamples + 1).

    Raises:
        ValueError: no prompts, different lengths, or a weight that is not positive.
    """
    x = np.asarray(before, np.float64)
    y = np.asarray(after, np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64)
    if not len(x) or not len(x) == len(y) == len(w):
        raise ValueError(
            f"paired bootstrap got {len(x)} values before, {len(y)} after and {len(w)} weights; it wants the same "
            "number of each, at least 1. Evaluate both models on the same prompts."
        )
    if not (w > 0).all():
        raise ValueError(
            f"paired bootstrap got the weight {w.min():g}; every weight must be above 0. Leave those prompts out."
        )
    weighted = w * (y - x)
    generator = np.random.Generator(np.random.PCG64(seed))
    means = np.empty(num_resamples)
    for start in range(0, num_resamples, RESAMPLES_AT_ONCE):
        stop = min(start + RESAMPLES_AT_ONCE, num_resamples)
        draw = generator.integers(0, len(x), size=(stop - start, len(x)))
        means[start:stop] = weighted[draw].sum(axis=1) / w[draw].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    # One is added to both counts so that a finite number of draws never claims p = 0.
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (num_resamples + 1))
    return Difference(float(weighted.sum() / w.sum()), float(low), float(high), p_value, len(x))
