"""In which training steps a packed row was trained on.

Takes:  the manifests of a session's packed rows and of its training, and its history.
Leaves: steps and epochs, counted from 1 as in history.jsonl, by the very order that the trainer follows (learn/data.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from showwork.foundation.files import canonical
from showwork.learn.data import Order, rows_per_step
from showwork.tokens.packing import DTYPES


@dataclass(frozen=True)
class Turns:
    """`places[e][row]` is the row's place in epoch e; an epoch takes every row once, in steps of `rows_per_step`."""

    places: list[np.ndarray]
    rows_per_step: int
    steps_per_epoch: int
    steps: int
    skipped: frozenset[int]

    def of(self, row: int) -> list[dict[str, Any]]:
        """[{"step", "epoch", "skipped"}] of every time the row was trained on; a skipped step taught nothing."""
        steps = [(epoch + 1, self._step(epoch, row)) for epoch in range(len(self.places))]
        return [{"step": s, "epoch": e, "skipped": s in self.skipped} for e, s in steps if s <= self.steps]

    def first(self, row: int) -> int:
        """The step of its first turn, whether or not the training went as far."""
        return self._step(0, row)

    def _step(self, epoch: int, row: int) -> int:
        return epoch * self.steps_per_epoch + int(self.places[epoch][row]) // self.rows_per_step + 1


def turns(pack: Mapping[str, Any], train: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> Turns | None:
    """The turns of every packed row of one training, whose `history` has a line for each step.

    None when the training was of other packed rows than those that lie there.
    """
    rows = hashlib.sha256(canonical({name: pack["files"][name]["sha256"] for name in DTYPES}).encode()).hexdigest()
    if rows != train["parts"]["rows"]:
        return None
    settings, steps, num_rows = train["settings"], train["counts"]["steps"], pack["counts"]["rows"]
    each = rows_per_step(settings["train"])
    steps_per_epoch = Order(num_rows, each, rows, settings["seed"]).steps_per_epoch
    whole = Order(num_rows, num_rows, rows, settings["seed"])  # its step e is the whole of epoch e
    places = []
    for epoch in range(-(-steps // steps_per_epoch)):
        place = np.empty(num_rows, np.int64)
        place[whole.rows_at(epoch)] = np.arange(num_rows)
        places.append(place)
    return Turns(places, each, steps_per_epoch, steps, frozenset(_skipped(history)))


def _skipped(history: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """The steps at which the count of skipped steps rises."""
    before = 0
    for line in history:
        if line["skipped"] > before:
            yield line["step"]
        before = line["skipped"]
