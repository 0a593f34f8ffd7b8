"""Does a text go round in circles? One detector for the data we train on and for what a trained model writes.

Takes:  a text.
Leaves: None, or what repeats: `9 words 14 times: "let me check that again"`.

Three looks, each dearer than the one before, on texts that the one before leaves open:
  tail    the last 48 characters also stand a little earlier, and before that: an exact loop that ran to the end. 1 GB/s
  probes  short pieces from all over the text are counted; where none comes again there is no loop
  words   each run of four words points to where it stood before: in a loop most point equally far back. A number that
          counts the rounds does not hide a loop (`Step 7: again. Step 8: again.`); a list of results is none

Measured on seven shapes of loop and on tables, code, lists and poems by benchmarks/loops.py.
"""

from __future__ import annotations

import re

import numpy as np

TAIL = 48
"""Characters at the end that must have stood before."""
TAIL_REPEATS, TAIL_COVERED, TAIL_COVERED_SIGNS = 4, 200, 1000
"""How often the unit stands at the end, characters that makes at least, and the same where the unit has no letter."""
PROBE, PROBES, PROBE_COUNT, REACH = 20, 12, 4, 4000
"""Characters of a piece, how many are taken, how often one must come, within how many characters it must come again."""
FAR = 4
"""One piece in four looks as far as that, the others only as far as these would miss: a unit that comes four times spans
three times its length before it comes for the last time, and that holds such a piece once it is as long as from one to the next."""
RUN = 4
"""Words in a run."""
COVERED_WORDS = 24
REPEATS_EXACT, REPEATS_LOOSE = 3.0, 5.0
"""Times a unit comes again: where nearly all of it comes again, and where some words vary."""
DENSE, LOOSE, SLACK = 0.8, 0.33, 8
"""Shares of a stretch's runs that stood a period earlier, give or take an eighth of it."""

COUNTER = 1.5
"""Numbers a round of a loop may have that change: a step's number is one, a table or a list of results has more."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_TOKEN = re.compile(r"\d+|[^\W\d_]{2,}")


def find_loop(text: str) -> str | None:
    """What repeats in `text`, or None.

    >>> find_loop("I think so. " + "But wait, let me check that again. " * 20)
    '7 words 20 times: "but wait let me check that again"'
    >>> find_loop("I think so. But wait, let me check that again. It is so.") is None
    True
    """
    text = text.rstrip()
    return _tail(text) or (_words(text) if _suspicious(text) else None)


def _tail(text: str) -> str | None:
    """An exact loop at the very end."""
    end = len(text)
    if end < TAIL_COVERED:
        return None
    # Further back than a unit that comes so often can be long, there is no need to look.
    before = text.rfind(text[-TAIL:], max(0, end - TAIL - end // TAIL_REPEATS), end - 1)
    if before < 0:
        return None
    period = end - TAIL - before
    unit, repeats = text[-period:], 1
    while text.endswith(unit, 0, end - repeats * period):
        repeats += 1
    wanted = TAIL_COVERED if any(c.isalpha() for c in unit) else TAIL_COVERED_SIGNS
    if (
        repeats < TAIL_REPEATS
        or repeats * period < wanted
        or (any(map(str.isalpha, unit)) and _WORD.search(unit + unit))
    ):
        return None  # units made of words are described, and counted, by their words
    return f"{period} characters {repeats} times: {unit[:60]!r}"


def _suspicious(text: str) -> bool:
    """Whether some short piece of the text comes again and again close behind itself."""
    size = len(text)
    if size < 4 * PROBE:
        return False
    near, find = min(REACH, max(size * FAR // (3 * PROBES), 4 * PROBE)), text.find
    for i in range(PROBES):
        start = size * i // PROBES
        again = find(text[start : start + PROBE], start + 1, start + (near if i % FAR else REACH))
        if again >= 0 and _again_and_again(text, start, again):
            return True
    for back in (150, 400, 1000):
        if (start := size - back) > 0:
            again = find(text[start : start + PROBE], start + 1)
            if again >= 0 and _again_and_again(text, start, again):
                return True
    return False


def _again_and_again(text: str, start: int, again: int) -> bool:
    """Whether the piece at `start`, which also stands at `again`, is made of words and comes often about there."""
    probe, around = text[start : start + PROBE], (PROBE_COUNT + 1) * max(again - start, PROBE)
    often = text.count(probe, max(0, start - around), start + around) >= PROBE_COUNT
    return often and _WORD.search(probe) is not None


def _words(text: str) -> str | None:
    """A loop of words, with the numbers in it or, where at most one number a round changes, without them."""
    tokens = _TOKEN.findall(text.lower())
    found = _loop_of(tokens, np.arange(len(tokens)), len(tokens))
    if found is None:
        places = np.flatnonzero(np.fromiter((not t.isdigit() for t in tokens), bool, len(tokens)))
        if len(places) < len(tokens):
            found = _loop_of([tokens[i] for i in places], places, COUNTER)
    return found


def _loop_of(words: list[str], places: np.ndarray, numbers: float) -> str | None:
    """The loop in `words`, which stand at `places` among all tokens; at most so many other tokens may stand in a round."""
    if len(words) < COVERED_WORDS + RUN:
        return None
    known: dict[str, int] = {}
    ids = np.fromiter((known.setdefault(w, len(known)) for w in words), np.int64, len(words))
    back = _distances(ids)
    again = back[back > 0]
    if len(again) < COVERED_WORDS:
        return None
    counts = np.bincount(np.minimum(again, len(words) // 2))
    for period in np.argsort(counts, kind="stable")[::-1][:3].tolist():
        start, stop, repeats = _at(period, back)
        if repeats:
            others = (places[stop] - places[start]) - (stop - start)
            if others <= numbers * repeats:
                unit = " ".join(words[max(0, start - period) :][: min(period, 8)])
                return f'{period} words {round(repeats + 1)} times: "{unit}"'
    return None


def _distances(ids: np.ndarray) -> np.ndarray:
    """int[n] words -> int[n - RUN + 1]: how many words ago the run that begins here stood before, 0 when never.

    Shown with runs of one word: [5, 6, 5, 6, 7] -> [0, 0, 2, 2, 0]
    """
    size = len(ids) - RUN + 1
    runs = np.zeros(size, np.uint64)
    for i in range(RUN):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + ids[i : i + size].astype(np.uint64) + np.uint64(1)
    order = np.argsort(runs, kind="stable")
    same = runs[order][1:] == runs[order][:-1]
    back = np.zeros(size, np.int64)
    back[order[1:][same]] = (order[1:] - order[:-1])[same]
    return back


def _at(period: int, back: np.ndarray) -> tuple[int, int, float]:
    """(first run, last run, times it comes again) of the loop of this period; (0, 0, 0.0) where there is none.

    A loop is many runs, close together, that all stood one to three periods before (a word that varies hides the
    round before).
    """
    none = 0, 0, 0.0
    if period < 1:
        return none
    off = np.minimum(back % period, period - back % period)
    rounds = 3 if period >= SLACK else 1
    hits = np.flatnonzero((back > 0) & (back <= rounds * period + period // SLACK) & (off <= period // SLACK))
    start, stop = _densest(hits, gap=max(2 * period, 30))
    covered = stop - start
    if covered < COVERED_WORDS:
        return none
    first, last = int(hits[start]), int(hits[stop - 1])
    share, repeats = covered / (last - first + 1), (last - first + 1) / period
    if (share >= DENSE and repeats >= REPEATS_EXACT - 1) or (share >= LOOSE and repeats >= REPEATS_LOOSE):
        return first, last, repeats
    return none


def _densest(hits: np.ndarray, gap: int) -> tuple[int, int]:
    """(start, stop) in `hits` of the longest chain whose members are at most `gap` apart."""
    if not len(hits):
        return 0, 0
    cuts = np.flatnonzero(np.diff(hits) > gap) + 1
    edges = np.concatenate([[0], cuts, [len(hits)]])
    longest = int(np.argmax(np.diff(edges)))
    return int(edges[longest]), int(edges[longest + 1])
