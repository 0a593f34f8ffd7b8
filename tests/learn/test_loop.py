from __future__ import annotations

import os
import signal

import jax.numpy as jnp
import pytest

from showwork.learn.loop import MOST_SKIPPED, Interrupted, listening, train


def run(stop: int, *, start: int = 0, every: int = 3, interrupted=lambda: False, in_a_row=lambda done: 0):
    """A step that counts; what the loop called, in order."""
    called: list[tuple] = []

    def step(state, frozen, batch):
        done = state + 1
        return done, {"loss": jnp.float32(batch), "skipped_in_a_row": jnp.int32(in_a_row(done))}

    state = train(
        start, step, None, lambda number: number * 10, start=start, stop=stop, look_every=every,
        look=lambda state: {"looked": jnp.int32(state)},
        report=lambda done, numbers: called.append(("report", done, numbers)),
        checkpoint=lambda done, state: called.append(("checkpoint", done, state)), interrupted=interrupted,
    )  # fmt: skip
    return state, called


def test_every_step_is_reported_once_before_the_checkpoint_that_holds_it():
    state, called = run(5)
    assert state == 5
    assert called == [
        ("report", 1, {"loss": 0.0}),
        ("report", 2, {"loss": 10.0}),
        ("report", 3, {"loss": 20.0, "looked": 3}),
        ("checkpoint", 3, 3),
        ("report", 4, {"loss": 30.0}),
        ("report", 5, {"loss": 40.0, "looked": 5}),
        ("checkpoint", 5, 5),
    ]


def test_a_resumed_loop_looks_at_the_same_steps():
    assert [c[:2] for c in run(5, start=3)[1]] == [("report", 4), ("report", 5), ("checkpoint", 5)]
    assert run(5, start=5) == (5, [])


def test_a_signal_checkpoints_the_step_it_came_in_and_stops():
    with listening((signal.SIGUSR1,)) as interrupted:
        called = []

        def heard():
            called.append(1)
            if len(called) == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
            return interrupted()

        with pytest.raises(Interrupted) as stopped:
            run(9, interrupted=heard)
    assert stopped.value.step == 2


def test_too_many_steps_that_are_not_finite_stop_the_run():
    with pytest.raises(ValueError, match="the last 10 steps up to step 10 had a loss or gradient that is not finite"):
        run(20, in_a_row=lambda done: done)
    assert run(MOST_SKIPPED - 1, in_a_row=lambda done: done)[0] == MOST_SKIPPED - 1
