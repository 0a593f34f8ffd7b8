"""How long a transfer keeps trying: back-off that doubles, obeys Retry-After, and starts anew whenever bytes arrived.

Takes:  failures, as they happen.
Leaves: waits, or the last failure when patience is at an end.
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class Retryable(Exception):
    """A failure that another attempt may mend; `retry_after_s` is what the server asked for."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Stopped(Exception):
    """Another file of the same download failed for good."""


@dataclass
class Patience:
    """The limits of one download; setting `stop` ends all waits at once."""

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_retry_after_s: float = 900.0
    stall_s: float = 30.0
    stop: threading.Event = field(default_factory=threading.Event)

    def insist(
        self, what: str, attempt: Callable[[], T], say: Callable[[str], None], progress: Callable[[], int] = lambda: 0
    ) -> T:
        """What `attempt` returns, tried again while it raises Retryable and attempts are left.

        `progress` is a number that moves when bytes arrive: a failure after progress counts as the first one, so that a
        long transfer over a poor line ends.

        Raises: ValueError naming `what` and the last failure when patience is at an end; Stopped.
        """
        failures, mark = 0, progress()
        while True:
            if self.stop.is_set():
                raise Stopped
            try:
                return attempt()
            except Retryable as e:
                failure = e
            failures, mark = (1 if progress() != mark else failures + 1), progress()
            if failures >= self.attempts:
                times = f"{failures} times in a row" if failures > 1 else "once"
                raise ValueError(f"{what}: {failure} ({times}); run the same command again later, it resumes")
            wait = failure.retry_after_s
            if wait is None:
                wait = min(self.first_wait_s * 2 ** (failures - 1), self.longest_wait_s)
                wait *= 1 + random.random() / 4  # so that parallel transfers do not return in step
            elif wait > self.longest_retry_after_s:
                raise ValueError(
                    f"{what}: {failure}, and asks for {wait:,.0f} s; run the same command after that, it resumes"
                )
            say(f"{what}: {failure}; attempt {failures + 1} of {self.attempts} in {wait:.1f} s")
            self.stop.wait(wait)


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None when it says nothing that is either.

    >>> retry_after_s("3"), retry_after_s(None)
    (3.0, None)
    """
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
