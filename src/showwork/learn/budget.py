"""How many steps fit into a span of time: what each thing costs is measured on this machine before the first step.

Takes   the compiled step, a state to use up, batches, what a checkpoint and the evaluation do.
Leaves  `Costs` in seconds, and the largest number of steps whose costs fit. The number is chosen once: train notes it in
        its work folder, and whoever goes on from there takes it from there.
Source  the step's own program is timed on the session's own first batches, not a formula. A completion of the evaluation
        is counted at its longest, because a model that has not been trained yet says nothing of how soon it will stop.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from showwork.learn.checkpoint import Checkpoints
from showwork.learn.data import Order, batch
from showwork.learn.health import relative_change
from showwork.learn.mesh import Devices
from showwork.learn.rollout import Request, generate
from showwork.learn.session import Session
from showwork.learn.start import starting_point
from showwork.model.config import GemmaConfig, dtype_named
from showwork.model.decode import unstack
from showwork.tokens.packing import PackedArrays

RESERVE = 0.03  # of the span: steps differ by some per cent, and Python's own start was not timed
LEAST_STEPS, MOST_STEPS, PROBE_SECONDS = 3, 50, 10.0
PROBE_TOKENS = 16  # written in the timed decoding


@dataclass(frozen=True)
class Costs:
    """Seconds that a training takes, part by part.

    Until the first step (a second compilation counted), of a step, of a checkpoint with its measurements, of what
    comes after the last step, and of the evaluation at its longest.
    """

    start: float
    step: float
    checkpoint: float
    end: float
    evaluation: float

    def total(self, steps: int, every: int) -> float:
        """Seconds of a session of `steps` steps with a checkpoint after `every` of them and after the last."""
        return self.start + steps * self.step + -(-steps // every) * self.checkpoint + self.end + self.evaluation


def fitting(seconds: float, costs: Costs, every: int) -> int:
    """The largest number of steps that fits.

    >>> fitting(100.0, Costs(start=7, step=1, checkpoint=5, end=0, evaluation=20), every=10)   # 97 s to give
    45

    Raises:
      ValueError: not one step fits.
    """
    usable = seconds * (1 - RESERVE)
    if costs.total(1, every) > usable:
        parts = ", ".join(f"{name} {value:,.1f} s" for name, value in asdict(costs).items())
        raise ValueError(
            f"train.time_budget is {seconds:,g} s, but one step takes {costs.total(1, every):,.0f} s with all that "
            f"belongs to it ({parts}); raise it above {costs.total(1, every) / (1 - RESERVE):,.0f} s"
        )
    low, high = 1, int(usable / costs.step) + 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if costs.total(middle, every) <= usable else (low, middle - 1)
    return low


def measured_costs(
    settings: dict[str, Any],
    made: Session,
    start: Path | None,
    folder: Path,
    packed: PackedArrays,
    rows: str,
    home: Path,
    devices: Devices,
    micro: int,
    begun: float,
) -> Costs:
    """What this session costs here. Its weights are read for this and given back: the steps that are timed use a state up.

    Args:
      rows: digest of the packed rows, which their order depends on.
      begun: time.perf_counter() when the session began.
    """
    order = Order(len(packed), made.rows_per_step, rows, made.seed)
    frozen, trainable = starting_point(start, made, folder)
    loading = time.perf_counter() - begun
    weights = unstack(jax.tree.map(lambda w: w.astype(dtype_named(made.dtype)), frozen or trainable), made.cfg)
    evaluation = evaluation_seconds(weights, made.cfg, packed, **settings["asked"])
    del weights

    frozen = devices.place(frozen, split=True)
    state, first, step = timed_steps(
        made.step(devices.mesh),
        jax.device_put(devices.place(made.initial_state(trainable), split=made.full)),
        frozen,
        lambda number: devices.place_batch(batch(packed, order.rows_at(number), made.rows_per_step, micro)),
    )
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        places = Checkpoints(Path(scratch) / "checkpoints")
        numbers = iter((1, 2))

        def save() -> None:
            places.save(next(numbers), state, {})
            places.wait()

        checkpoint = timed(save)
        places.close()
    if not made.full:
        look = jax.jit(lambda now, layers: relative_change(now, layers, made.scale))
        checkpoint += timed(lambda: jax.block_until_ready(look(state["trainable"], frozen["layers"])))
    gold = settings["asked"]["prompts"] / made.rows_per_step * step  # one row each at most, forward only
    spent = time.perf_counter() - begun
    return Costs(spent + first, step, checkpoint, checkpoint, loading + evaluation + gold)


def timed_steps(
    step: Callable[[Any, Any, Any], tuple[Any, Any]], state: Any, frozen: Any, batch_at: Callable[[int], Any]
) -> tuple[Any, float, float]:
    """(state, seconds of the first step with its compilation, mean seconds of those after it). The given state is used up."""
    begun = time.perf_counter()
    state, numbers = step(state, frozen, batch_at(0))
    jax.block_until_ready((state, numbers))
    first, begun, done = time.perf_counter() - begun, time.perf_counter(), 0
    while done < LEAST_STEPS or (done < MOST_STEPS and time.perf_counter() - begun < PROBE_SECONDS):
        done += 1
        state, numbers = step(state, frozen, batch_at(done))
        jax.block_until_ready((state, numbers))
    return state, first, (time.perf_counter() - begun) / done


def timed(what: Callable[[], Any]) -> float:
    """Seconds of a call that has been made once before, so that nothing is compiled in it."""
    what()
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def evaluation_seconds(
    weights: dict, cfg: GemmaConfig, packed: PackedArrays, *, prompts: int, max_new_tokens: int, slots: int, passes: int
) -> float:
    """Seconds of writing `passes` completions of `max_new_tokens` to each of `prompts`, `slots` at a time.

    Questions of the session's own first packed rows are answered with one token and with PROBE_TOKENS, in a cache as large
    as the evaluation's; the difference is the cost of a token.
    """
    asked = first_prompts(packed, slots)
    room = max(map(len, asked)) + max_new_tokens

    def written(tokens: int) -> float:
        requests = [Request(ids, (), tokens, number) for number, ids in enumerate(asked)]
        return timed(lambda: generate(weights, cfg, requests, slots=slots, prompt_columns=room))

    begun = time.perf_counter()
    short, long = written(1), written(PROBE_TOKENS)
    compiling = max(0.0, time.perf_counter() - begun - 2 * (short + long))
    token = max(0.0, long - short) / (PROBE_TOKENS - 1)
    return compiling + passes * -(-prompts // slots) * (short + max_new_tokens * token)


def first_prompts(packed: PackedArrays, count: int) -> Sequence[np.ndarray]:
    """The tokens [n] before the first trained one of the first `count` examples, repeated where there are fewer."""
    found: list[np.ndarray] = []
    for tokens, mask, segments in zip(packed.tokens, packed.loss_mask, packed.segment_ids, strict=True):
        for segment in range(1, int(segments.max()) + 1):
            mine = segments == segment
            found.append(np.asarray(tokens[mine])[: max(1, int(np.argmax(mask[mine])))])
        if len(found) >= count:
            break
    return [found[i % len(found)] for i in range(count)]
