"""Near duplicates: sketches of word shingles find the pairs worth a look, the exact Jaccard similarity decides.

Takes:  texts, in the order in which the first of two equals is to be kept; a threshold.
Leaves: for each text the earlier text that it repeats, and how similar they are.

A text is the set of its runs of `SHINGLE_WORDS` words. Its sketch holds the smallest hash in each of 128 bins; two sketches
agree in about as many bins as the sets are similar. Texts that agree in all bins of some band become candidates; the bands are
as wide as a chance of 99.5 % at the threshold allows, so nearly every true pair is looked at, and since the exact similarity
decides, no false pair is ever removed.

Instances of one template are no duplicates: what they share, many share. So what two texts share must reach half the threshold
also when a shingle of more than `COMMON` candidates counts less, as the square of COMMON over their number. In a large family
of true repeats all shingles count less alike, and nothing changes.

Source: one-permutation MinHash (Li, Owen and Zhang, 2012) with optimal densification (Shrivastava, 2017) and banding (Broder).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash

from showwork.records.words import Hashed, Runs, hashed, runs, scrambled

SHINGLE_WORDS = 3
BINS = 128
FOUND_AT_THRESHOLD = 0.995
DOUBT = 0.15
"""How far below the threshold the sketches' estimate may lie: 3.4 standard deviations at 128 bins."""
GROUP = 24
"""In a group that agrees in a band a text is compared with this many before it: half of them the nearest, half the first."""
COMMON = 10
"""A shingle of more candidates than this is a phrase or part of a template."""
_EMPTY = np.uint32(0xFFFFFFFF)
_ATTEMPTS = 64
_COUNTERS = 1 << 25


@functools.cache
def _elsewhere() -> np.ndarray:
    """int64[BINS, _ATTEMPTS]: the bins from which an empty one borrows, tried in this order."""
    draws = b"".join(xxhash.xxh3_64_digest(f"{b} {a}".encode()) for b in range(BINS) for a in range(_ATTEMPTS))
    return (np.frombuffer(draws, ">u8").reshape(BINS, _ATTEMPTS) % BINS).astype(np.int64)


class Repeat(NamedTuple):
    """One near duplicate: the place of the text that is kept, and the exact similarity."""

    of: int
    similarity: float


def shingles(words: Hashed) -> Runs:
    """The runs of three words of each text. A text shorter than one shingle is one shingle."""
    return runs(words, SHINGLE_WORDS, whole=True)


def sets(found: Runs, count: int) -> list[np.ndarray]:
    """uint32[n] for each of `count` texts: its shingles, sorted, each once."""
    ends = np.searchsorted(found.texts, np.arange(1, count))
    return [np.unique(part) for part in np.split(found.hashes.astype(np.uint32), ends)]


def sketches(found: Runs, count: int) -> np.ndarray:
    """uint32[count, BINS]: the smallest shingle of each bin; an empty bin borrows from another one."""
    smallest = np.full((count, BINS), _EMPTY, np.uint32)
    bins = (found.hashes >> np.uint64(57)).astype(np.int64)
    np.minimum.at(smallest.reshape(-1), found.texts * BINS + bins, found.hashes.astype(np.uint32))
    lent = smallest.copy()
    for attempt in range(_ATTEMPTS):
        empty = smallest == _EMPTY
        if not empty.any():
            break
        smallest[empty] = lent[:, _elsewhere()[:, attempt]][empty]
    return smallest


def bands(threshold: float) -> tuple[int, int]:
    """(bands, bins in each): the widest that find a pair at the threshold with a chance of 99.5 %.

    >>> bands(0.85), bands(0.5)
    ((18, 7), (42, 3))
    """
    for width in range(16, 0, -1):
        number = BINS // width
        if 1 - (1 - threshold**width) ** number >= FOUND_AT_THRESHOLD:
            return number, width
    return BINS, 1


def candidates(drawn: np.ndarray, threshold: float) -> np.ndarray:
    """uint32[n, BINS] sketches -> int64[m, 2], sorted: pairs (later, earlier) whose sketches say that they may be near."""
    number, width = bands(threshold)
    size = max(len(drawn), 1)
    codes = [np.zeros(0, np.int64)]
    for band in range(number):
        key = np.zeros(len(drawn), np.uint64)
        for column in range(band * width, (band + 1) * width):
            key = scrambled(key + drawn[:, column].astype(np.uint64) + np.uint64(1))
        for later, earlier in _pairs_of_equal(key):
            for start in range(0, len(later), 20_000):
                one, other = later[start : start + 20_000], earlier[start : start + 20_000]
                alike = (drawn[one] == drawn[other]).sum(axis=1) >= (threshold - DOUBT) * BINS
                codes.append(one[alike] * size + other[alike])
        codes = [np.unique(np.concatenate(codes))]
    return np.stack([codes[0] // size, codes[0] % size], axis=1)


def _pairs_of_equal(key: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(later, earlier) places of equal keys, each pair once. [7, 5, 7, 7] -> [2, 3], [0, 2] and [3], [0]"""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(ordered)))
    many = np.repeat(sizes > 1, sizes)
    order, group_start = order[many], np.repeat(np.cumsum(sizes * (sizes > 1)) - sizes, sizes)[many]
    place = np.arange(len(order)) - group_start
    half, found = GROUP // 2, []
    for back in range(1, half + 1):
        near = np.flatnonzero(place >= back)
        found.append((order[near], order[near - back]))
    for first in range(half):
        far = np.flatnonzero(place > first + half)
        found.append((order[far], order[group_start[far] + first]))
    return found


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """bool[len(b)]: which members of the sorted set b are in the sorted set a."""
    return np.asarray(a[np.minimum(np.searchsorted(a, b), len(a) - 1)] == b)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Shared over all members of two sorted sets. [1, 2, 3], [2, 3, 4] -> 0.5"""
    both = int(shared(a, b).sum())
    return both / (len(a) + len(b) - both)


def commonness(members: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """float32[n] for each set of n shingles: 1, or less where more than COMMON of the sets hold the shingle."""
    counts = np.zeros(_COUNTERS, np.uint16)
    top = np.iinfo(np.uint16).max
    for member in members.values():
        slots = member % _COUNTERS
        counts[slots] = np.minimum(counts[slots], top - 1) + 1
    weight = (np.minimum(1.0, COMMON / np.maximum(np.arange(top + 1), 1)) ** 2).astype(np.float32)
    return {place: weight[counts[member % _COUNTERS]] for place, member in members.items()}


def repeats(
    pairs: np.ndarray,
    members: dict[int, np.ndarray],
    threshold: float,
    *,
    references: int = 0,
    left_out: frozenset[int] = frozenset(),
) -> tuple[dict[int, Repeat], int]:
    """{place of a text: the kept text before it that it repeats}, and how many pairs share no more than a template.

    `pairs` [n, 2] are places of texts, `members` the sorted set [m] of each text in them. The first `references`
    texts are always kept; texts `left_out` are gone already, so nothing repeats them.
    """
    gone: dict[int, Repeat] = {}
    templates = 0
    weights = commonness(members)
    for later, earlier in pairs.tolist():
        if later < references or later in gone or earlier in gone or later in left_out or earlier in left_out:
            continue
        a, b = members[earlier], members[later]
        in_both = shared(a, b)
        both = int(in_both.sum())
        similarity = both / (len(a) + len(b) - both)
        if similarity < threshold:
            continue
        weight = weights[later][in_both].sum()
        if weight < threshold / 2 * (weights[earlier].sum() + weights[later].sum() - weight):
            templates += 1
            continue
        gone[later] = Repeat(earlier, similarity)
    return gone, templates


def near_duplicates(texts: Sequence[str], threshold: float, *, references: int = 0) -> dict[int, Repeat]:
    """All of the above for texts that fit into memory.

    >>> near_duplicates(["a b c d e f g", "x y z", "a b c d e f g h"], 0.8)
    {2: Repeat(of=0, similarity=0.8333333333333334)}
    """
    if not texts:
        return {}
    found = shingles(hashed(texts))
    pairs = candidates(sketches(found, len(texts)), threshold)
    members = dict(enumerate(sets(found, len(texts))))
    return repeats(pairs, {i: members[i] for i in np.unique(pairs).tolist()}, threshold, references=references)[0]
