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
    sizes = np.asarray(lengths, np.int64)
    for example in np.flatnonzero((sizes < 1) | (sizes > capacity))[:1]:
        raise ValueError(
            f"example {example} has {sizes[example]} tokens but a packed row takes 1 to {capacity}; "
            "raise template.max_seq_length or choose another template.overlong"
        )
    order = np.argsort(-sizes, kind="stable").tolist()
    bins: list[list[int]] = []
    bins_with_free: list[list[int]] = [[] for _ in range(capacity + 1)]
    open_sizes = 0  # bit f is set while some bin has f free places
    for example, length in zip(order, sizes[order].tolist(), strict=True):
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
    """Writes each row's examples one after the other into the first rows of `into`, and padding after them.

    Args:
      examples_per_row: for each of the rows, the numbers of its examples.
      into: [rows, L], contiguous.
    """
    length = into.tokens.shape[1]
    places, nothing = np.arange(length, dtype=np.int32), np.zeros(length, np.uint8)
    ids: list[np.ndarray] = []
    trained: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    segments: list[int] = []
    runs: list[int] = []
    for members in examples_per_row:
        free = length
        for segment, example in enumerate(members, start=1):
            its_ids, its_trained = examples[example]
            ids.append(its_ids)
            trained.append(its_trained)
            positions.append(places[: len(its_ids)])
            segments.append(segment)
            runs.append(len(its_ids))
            free -= len(its_ids)
        if free:
            for pieces in (ids, trained, positions):
                pieces.append(nothing[:free])
            segments.append(0)
            runs.append(free)
    if runs:
        rows = slice(len(examples_per_row))
        np.concatenate(ids, out=into.tokens[rows].reshape(-1))
        np.concatenate(trained, out=into.loss_mask[rows].reshape(-1))
        np.concatenate(positions, out=into.positions[rows].reshape(-1))
        into.segment_ids[rows] = np.repeat(np.array(segments, np.int32), runs).reshape(-1, length)
