"""Whole examples into rows of fixed length, with as little padding as best fit allows.

Takes   lengths of examples (ints), later their ids and trained masks.
Leaves  which examples share which packed row, and four arrays [rows, L]: tokens, loss_mask, segment_ids, positions.
Source  best-fit decreasing with the free sizes kept as bits of one integer, so that the best bin is found by a shift
        and the lowest set bit: 123,000 examples take under a tenth of a second in plain Python.

A row of length 8 that holds an example of 4 ids (2 trained) and one of 3 ids (1 trained):

    tokens       2 10 11 12  2 20 21  0
    loss_mask    0  0  1  1  0  0  1  0     1: this token is a target, predicted from the one before it
    segment_ids  1  1  1  1  2  2  2  0     0: padding
    positions    0  1  2  3  0  1  2  0     restart at every example
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class PackedArrays:
    """The four arrays of packed rows, each [rows, L]; memory-mapped or in memory."""

    tokens: np.ndarray
    loss_mask: np.ndarray
    segment_ids: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)


class Examples(Protocol):
    """Examples by number: (ids, trained), [T] each. A list of pairs is one."""

    def __getitem__(self, example: int, /) -> tuple[np.ndarray, np.ndarray]: ...


DTYPES = {"tokens": np.int32, "loss_mask": np.uint8, "segment_ids": np.int32, "positions": np.int32}


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of example numbers; every example is in exactly one bin and no bin exceeds `capacity`.

    >>> best_fit_decreasing([5, 3, 2, 4], capacity=7)
    [[0, 2], [1, 3]]

    Examples are placed longest first (ties in the order given), each into the fullest bin that still takes it. Within
    a bin they stand in the order given.

    Raises:
      ValueError: a length that is not in 1..capacity.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    bins: list[list[int]] = []
    bins_with_free: list[list[int]] = [[] for _ in range(capacity + 1)]
    open_sizes = 0  # bit f is set while some bin has f free places
    for example in order:
        length = lengths[example]
        if not 1 <= length <= capacity:
            raise ValueError(
                f"example {example} has {length} tokens but a packed row takes 1 to {capacity}; "
                "raise template.max_seq_length or choose another template.overlong"
            )
        fitting = open_sizes >> length
        if fitting:
            free = length + (fitting & -fitting).bit_length() - 1
            chosen = bins_with_free[free].pop()
            if not bins_with_free[free]:
                open_sizes &= ~(1 << free)
        else:
            free, chosen = capacity, len(bins)
            bins.append([])
        bins[chosen].append(example)
        rest = free - length
        if rest:
            bins_with_free[rest].append(chosen)
            open_sizes |= 1 << rest
    for members in bins:
        members.sort()
    return bins


def shuffle_bins(bins: list[list[int]], seed: int) -> list[list[int]]:
    """The bins in an order that depends on `seed` and their number alone; best fit leaves them sorted by length."""
    return sorted(bins, key=lambda members: hashlib.blake2b(f"{seed}:{members[0]}".encode(), digest_size=16).digest())


def pack(examples_per_row: Sequence[Sequence[int]], examples: Examples, into: PackedArrays) -> None:
    """Writes each row's examples one after the other into `into`, which starts out as zeros.

    Args:
      examples_per_row: for each of the rows, the numbers of its examples.
      examples: (ids, trained), [T] each, by number; `trained` is 1 where the token is a target.
    """
    places = np.arange(into.tokens.shape[1], dtype=np.int32)
    for row, members in enumerate(examples_per_row):
        tokens, loss_mask = into.tokens[row], into.loss_mask[row]
        segment_ids, positions = into.segment_ids[row], into.positions[row]
        start = 0
        for segment, example in enumerate(members, start=1):
            ids, trained = examples[example]
            stop = start + len(ids)
            tokens[start:stop] = ids
            loss_mask[start:stop] = trained
            segment_ids[start:stop] = segment
            positions[start:stop] = places[: stop - start]
            start = stop
