"""Texts as numbers: a hash for each word, a hash for each run of words, for many texts at a time.

Takes:  texts.
Leaves: for all of them together the hashes of their words or runs, and which text each belongs to.

A word is a run of letters and digits; letter case, Unicode form and punctuation do not count. Words are found and hashed in the
bytes of all the texts at once, eight bytes a step. The hash of a run of words is a polynomial in the hashes of its words, taken
from running sums, so that a run of eight words costs no more than a run of three.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONGEST = 64
"""Bytes of a word that are told apart; of a longer one its length is, too."""
_BASE = 0x9E3779B97F4A7C15
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_LETTER = np.array(
    [ord(chr(b).lower()) if chr(b).isalnum() or b >= 0x80 else 0 for b in range(128)] + list(range(128, 256)), np.uint8
)
"""Each byte of UTF-8 -> the letter or digit in lower case, or 0."""
_PUNCTUATION = ((0xE2, 0x80), (0xE2, 0x81), (0xE3, 0x80))
"""How the three bytes of general and of Chinese punctuation begin: dashes, quotation marks, dots, spaces."""
_WITHIN = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""The first n of eight bytes."""


class Hashed(NamedTuple):
    """The words of some texts: uint64[words] hashes; int64[texts + 1] where each text begins and ends."""

    words: np.ndarray
    ends: np.ndarray


class Runs(NamedTuple):
    """The runs of some texts: uint64[runs] hashes; int64[runs] the place of the text of each."""

    hashes: np.ndarray
    texts: np.ndarray


def hashed(texts: Sequence[str]) -> Hashed:
    """The words of the texts, in order."""
    parts = [text.encode() if text.isascii() else _folded(text).encode() for text in texts]
    buffer = b"\n" + b"\n".join(parts) + b"\n" * 8
    raw = np.frombuffer(buffer, np.uint8)
    letters = _LETTER[raw]
    lead = np.flatnonzero(raw >= _PUNCTUATION[0][0])
    for first, second in _PUNCTUATION:
        here = lead[(raw[lead] == first) & (raw[lead + 1] == second)]
        for i in range(3):
            letters[here + i] = 0
    inside = letters != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, lengths = edges[0::2], edges[1::2] - edges[0::2]
    eights = np.ndarray((len(letters) - 7,), "<u8", letters.data, strides=(1,))
    words = scrambled(lengths.astype(np.uint64) * np.uint64(_BASE) + (eights[starts] & _WITHIN[np.minimum(lengths, 8)]))
    for done in range(8, LONGEST, 8):
        longer = np.flatnonzero(lengths > done)
        if not len(longer):
            break
        more = eights[starts[longer] + done] & _WITHIN[np.minimum(lengths[longer] - done, 8)]
        words[longer] = scrambled(words[longer] * np.uint64(_BASE) + more)
    begins = 1 + np.cumsum([0, *(len(part) + 1 for part in parts)])
    return Hashed(words, np.searchsorted(starts, begins))


def _folded(text: str) -> str:
    """Without letter case and Unicode form."""
    return unicodedata.normalize("NFKC", text).casefold()


def runs(found: Hashed, size: int, *, whole: bool) -> Runs:
    """Every run of `size` words. A text of fewer words is one run if `whole`, else it has none."""
    lengths = np.diff(found.ends)
    counts = np.maximum(lengths - size + 1, 1 if whole else 0)
    texts = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(len(texts)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = found.ends[:-1][texts] + within
    last = first + np.minimum(size, lengths)[texts]
    power, inverse = _powers(len(found.words) + 1)
    sums = np.zeros(len(found.words) + 1, np.uint64)
    np.cumsum(found.words * power[:-1], out=sums[1:])
    return Runs(scrambled((sums[last] - sums[first]) * inverse[first]), texts)


def scrambled(z: np.ndarray) -> np.ndarray:
    """splitmix64's finalizer over z [...], so that every bit of a hash depends on every bit of what went in."""
    z = (z ^ (z >> np.uint64(30))) * _MIX[0]
    z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    return np.asarray(z ^ (z >> np.uint64(31)))


_POWERS: list[np.ndarray] = [np.ones(1, np.uint64), np.ones(1, np.uint64)]


def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint64[count] each, modulo 2^64: the powers of an odd base from 0, and their inverses."""
    if len(_POWERS[0]) < count:
        for i, base in enumerate((_BASE, pow(_BASE, -1, 1 << 64))):
            steps = np.full(2 * count, base, np.uint64)
            steps[0] = 1
            _POWERS[i] = np.cumprod(steps)
    return _POWERS[0][:count], _POWERS[1][:count]
