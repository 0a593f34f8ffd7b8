"""Near duplicates: sketches of word shingles find the pairs worth a look, the exact Jaccard similarity decides.

Takes:  texts, in the order in which the first of two equals is to be kept; a threshold.
Leaves: for each text the earlier text that it repeats, and how similar they are.

A text is the set of its runs of `SHINGLE_WORDS` words (lower case). Its sketch holds the smallest hash in each of 128 bins;
two sketches agree in about as many bins as the sets are similar. Texts that agree in all bins of some band become candidates;
the bands are as wide as a chance of 99.5 % at the threshold allows, so nearly every true pair is looked at, and since the exact
similarity decides, no false pair is ever removed.

Source: one-permutation MinHash (Li, Owen and Zhang, 2012) with optimal densification (Shrivastava, 2017) and banding (Broder).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash

SHINGLE_WORDS = 3
BINS = 128
FOUND_AT_THRESHOLD = 0.995
DOUBT = 0.15
"""How far below the threshold the sketches' estimate may lie: 3.4 standard deviations at 128 bins."""
GROUP = 48
"""In a group that agrees in a band a text is compared with this many before it: half of them the nearest, half the first."""
KNOWN_WORDS = 200_000
_ATTEMPTS = 64

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_EDGES = (np.arange(BINS, dtype=np.uint64) << np.uint64(57)).astype(np.uint64)


@functools.cache
def _elsewhere() -> np.ndarray:
    """int64[BINS, _ATTEMPTS]: the bins from which an empty one borrows, tried in this order."""
    draws = b"".join(xxhash.xxh3_64_digest(f"{b} {a}".encode()) for b in range(BINS) for a in range(_ATTEMPTS))
    return (np.frombuffer(draws, ">u8").reshape(BINS, _ATTEMPTS) % BINS).astype(np.int64)


class Repeat(NamedTuple):
    """One near duplicate: the place of the text that is kept, and the exact similarity."""

    of: int
    similarity: float


class Words(dict[str, int]):
    """{word: its place in `hashes`}, filled as words are asked for; emptied when it grows too large."""

    def __init__(self) -> None:
        super().__init__()
        self.hashes = np.zeros(1 << 12, np.uint64)

    def __missing__(self, word: str) -> int:
        place = len(self)
        if place == len(self.hashes):
            self.hashes = np.concatenate([self.hashes, np.zeros(place, np.uint64)])
        self.hashes[place] = xxhash.xxh3_64_intdigest(word.encode())
        self[word] = place
        return place


class Shingler:
    """Turns texts into sets of shingle hashes; remembers the hashes of the words it has met."""

    def __init__(self) -> None:
        self._known = Words()

    def __call__(self, text: str) -> np.ndarray:
        """uint64[n], sorted, each once: the text's shingles. A text shorter than one shingle is one shingle."""
        words = text.lower().split()
        if len(self._known) > KNOWN_WORDS:
            self._known = Words()
        places = np.fromiter(map(self._known.__getitem__, words), np.int64, len(words))
        count = max(1, len(words) - SHINGLE_WORDS + 1)
        padded = np.zeros(count + SHINGLE_WORDS - 1, np.uint64)
        padded[: len(words)] = self._known.hashes[places]
        mixed = np.zeros(count, np.uint64)
        for i in range(SHINGLE_WORDS):
            mixed = _scrambled(mixed + padded[i : i + count] + np.uint64(i + 1))
        mixed.sort()
        distinct: np.ndarray = mixed[np.append(True, mixed[1:] != mixed[:-1])]
        return distinct


def _scrambled(z: np.ndarray) -> np.ndarray:
    """splitmix64's finalizer, so that every bit of a shingle depends on every bit of its words."""
    z = z * _MIX[0]
    z = (z ^ (z >> np.uint64(30))) * _MIX[1]
    z = (z ^ (z >> np.uint64(27))) * _MIX[2]
    return np.asarray(z ^ (z >> np.uint64(31)))


def sketch(shingles: np.ndarray) -> np.ndarray:
    """uint64[n] sorted shingles -> uint32[BINS]: the smallest of each bin; an empty bin borrows from another one."""
    first = np.searchsorted(shingles, _EDGES)
    last = np.append(first[1:], len(shingles))
    empty = first == last
    smallest = (shingles[np.minimum(first, len(shingles) - 1)] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    full = ~empty
    for attempt in range(_ATTEMPTS):
        if not empty.any():
            break
        lender = _elsewhere()[:, attempt]
        now = empty & full[lender]
        smallest[now] = smallest[lender[now]]
        empty &= ~now
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


def candidates(sketches: np.ndarray, threshold: float) -> np.ndarray:
    """uint32[n, BINS] -> int64[m, 2], sorted: pairs (later, earlier) whose sketches say that they may be near."""
    number, width = bands(threshold)
    size = len(sketches)
    codes: list[np.ndarray] = []
    for band in range(number):
        key = np.zeros(size, np.uint64)
        for column in range(band * width, (band + 1) * width):
            key = _scrambled(key + sketches[:, column].astype(np.uint64) + np.uint64(1))
        codes.append(_pairs_of_equal(key) @ np.array([size, 1], np.int64))
    unique = np.unique(np.concatenate(codes)) if codes else np.zeros(0, np.int64)
    pairs = np.stack([unique // max(size, 1), unique % max(size, 1)], axis=1)
    kept = [
        part[(sketches[part[:, 0]] == sketches[part[:, 1]]).mean(axis=1) >= threshold - DOUBT]
        for part in np.array_split(pairs, len(pairs) // 50_000 + 1)
    ]
    return np.concatenate(kept)


def _pairs_of_equal(key: np.ndarray) -> np.ndarray:
    """int64[m, 2]: (later, earlier) places of equal keys. [7, 5, 7, 7] -> [[2, 0], [3, 0], [3, 2]]"""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(ordered)))
    group_start = np.repeat(starts, sizes)
    place = np.arange(len(ordered)) - group_start
    half, found = GROUP // 2, []
    for back in range(1, half + 1):
        near = np.flatnonzero(place >= back)
        found.append(np.stack([order[near], order[near - back]], axis=1))
    for first in range(half):
        far = np.flatnonzero(place > first + half)
        found.append(np.stack([order[far], order[group_start[far] + first]], axis=1))
    return np.concatenate(found)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Shared over all members of two sorted sets. [1, 2, 3], [2, 3, 4] -> 0.5"""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def repeats(
    pairs: np.ndarray, shingles: dict[int, np.ndarray], threshold: float, *, references: int = 0
) -> dict[int, Repeat]:
    """{place of a text: the kept text before it that it repeats}; the first `references` texts are always kept."""
    gone: dict[int, Repeat] = {}
    for later, earlier in pairs.tolist():
        if later < references or later in gone or earlier in gone:
            continue
        similarity = jaccard(shingles[later], shingles[earlier])
        if similarity >= threshold:
            gone[later] = Repeat(earlier, similarity)
    return gone


def near_duplicates(texts: Sequence[str], threshold: float, *, references: int = 0) -> dict[int, Repeat]:
    """All of the above for texts that fit into memory.

    >>> near_duplicates(["a b c d e f g", "x y z", "a b c d e f g h"], 0.8)
    {2: Repeat(of=0, similarity=0.8333333333333334)}
    """
    shingler = Shingler()
    sets = [shingler(text) for text in texts]
    pairs = candidates(np.stack([sketch(s) for s in sets]), threshold) if sets else np.zeros((0, 2), np.int64)
    return repeats(pairs, dict(enumerate(sets)), threshold, references=references)
