"""The loop around the step: dispatch, report, checkpoint, stop.

Takes   a compiled step, a function from step number to batch, and what to call with the numbers.
Leaves  the last state; history, progress and checkpoints are left by the functions it is given.
Source  numbers are fetched one step late, so that the device already works on the next step while the host writes.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

MOST_SKIPPED = 10  # steps in a row; by then the parameters have not moved for that many batches and will not


class Interrupted(Exception):
    """A signal asked to stop; the state after `step` steps has been checkpointed."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


def train(
    state: dict[str, Any],
    step: Callable[[dict[str, Any], Any, Any], tuple[dict[str, Any], dict[str, jax.Array]]],
    frozen: Any,
    batch_at: Callable[[int], Any],
    *,
    start: int,
    stop: int,
    look_every: int,
    look: Callable[[dict[str, Any]], dict[str, Any]],
    report: Callable[[int, dict[str, Any]], None],
    checkpoint: Callable[[int, dict[str, Any]], None],
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Runs steps start .. stop - 1.

    Args:
      step: (state, frozen, batch) -> (state, numbers), each number a scalar.
      look_every: after so many steps, and after the last, the state is looked at and checkpointed.
      look: further numbers of a state, for the history.
      report: called once per step, in order, with the number of steps done and all numbers as Python values.
      checkpoint: called with the number of steps done and the state, after all of them have been reported.
      interrupted: asked after every step.

    Raises:
      ValueError: too many steps in a row were not finite.
      Interrupted: after the checkpoint that a signal asked for.
    """
    waiting: tuple[int, dict[str, Any]] | None = None

    def settle() -> None:
        nonlocal waiting
        if waiting is None:
            return
        (done, numbers), waiting = waiting, None
        numbers = jax.tree.map(plain, jax.device_get(numbers))
        in_a_row = numbers.pop("skipped_in_a_row")
        report(done, numbers)
        if in_a_row >= MOST_SKIPPED:
            raise ValueError(
                f"train: the last {in_a_row} steps up to step {done:,} had a loss or gradient that is not finite; lower "
                "train.learning_rate or train.clip_norm, or train in float32, then run the same command again"
            )

    if interrupted():
        raise Interrupted(start)
    for number in range(start, stop):
        state, numbers = step(state, frozen, batch_at(number))
        done = number + 1
        settle()
        asked = interrupted()
        due = done % look_every == 0 or done == stop
        waiting = (done, numbers | (look(state) if due else {}))
        if due or asked:
            settle()
            checkpoint(done, state)
        if asked and done < stop:
            raise Interrupted(done)
    settle()
    return state


def plain(number: np.ndarray) -> float | int | None:
    """A scalar as a Python value: floats with as few digits as tell float32s apart, None where not finite.

    >>> plain(np.float32(0.1)), plain(np.int32(3)), plain(np.float32("nan"))
    (0.1, 3, None)
    """
    if np.issubdtype(number.dtype, np.integer):
        return int(number)
    return float(str(np.float32(number))) if np.isfinite(number) else None


@contextlib.contextmanager
def listening(signals: tuple[int, ...] = (signal.SIGTERM,)) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether one of `signals` has come; inside the block they do not end the process."""
    heard: list[int] = []
    before = {one: signal.signal(one, lambda number, _: heard.append(number)) for one in signals}
    try:
        yield lambda: bool(heard)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
