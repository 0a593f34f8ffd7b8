"""How fast training goes: tokens a second, share of what the machine's matrix products reach, time left.

Takes   the tokens of each finished step.
Leaves  a line for the terminal and a line for timing.jsonl; what the clock says never enters history.jsonl.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import jax


class Pace:
    """Counts from the end of the first step, because compiling belongs to no speed."""

    def __init__(self, num_steps: int, flops_per_token: float, matmul_flops_per_second: float):
        self._num_steps = num_steps
        self._flops_per_token = flops_per_token
        self._peak = matmul_flops_per_second
        self._begun = self._last = time.monotonic()
        self._first: float | None = None
        self._first_step = self._steps = self._tokens = 0

    def step(self, done: int, tokens: int) -> dict[str, Any]:
        """Notes that step `done` has ended; its seconds, tokens and the memory so far."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._first_step = now, done
        else:
            self._tokens += tokens
            self._steps += 1
        seconds, self._last = now - self._last, now
        line = {"step": done, "seconds": round(seconds, 4), "tokens": tokens, "peak_bytes": peak_bytes()}
        return line | {"tokens_per_s": round(tokens / seconds, 1), "mfu": self._mfu(tokens / seconds)}

    def _mfu(self, tokens_per_s: float) -> float:
        return round(tokens_per_s * self._flops_per_token / self._peak, 4)

    def __str__(self) -> str:
        if not self._steps:
            return "compiled"
        seconds = self._last - (self._first or self._last)
        speed = self._tokens / seconds
        left = int(seconds / self._steps * (self._num_steps - self._first_step - self._steps))
        return f"{speed:,.0f} tokens/s  MFU {self._mfu(speed):.0%}  {clock(left)} left"

    def summary(self) -> str:
        """One sentence after the last step."""
        if not self._steps:
            return "nothing was left to train"
        seconds = self._last - (self._first or self._last)
        speed = self._tokens / seconds
        first = self._last - seconds
        return (
            f"{clock(int(self._last - self._begun))} minutes, {clock(int(first - self._begun))} of them until the "
            f"first step; {speed:,.0f} tokens/s, {self._mfu(speed):.0%} of the {self._peak / 1e9:,.0f} GFLOP/s that a "
            "plain matrix product reached at the start"
        )


def clock(seconds: int) -> str:
    """Minutes and seconds.

    >>> clock(75)
    '1:15'
    """
    return f"{seconds // 60}:{seconds % 60:02}"


def peak_bytes() -> int:
    """Peak memory: of the device where it says, else of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
