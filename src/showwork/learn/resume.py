"""A training in its work folder: the histories and checkpoints that a kill leaves, and how the next process goes on from them.

Takes   a folder that belongs to one identity, a state of the right shapes, the environment that bits depend on.
Leaves  the newest valid state; history.jsonl cut back to it; what differs from the machine that wrote it, in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from showwork.foundation.stage import Say
from showwork.learn.checkpoint import Checkpoints, History


class Resumable:
    """Open files of one training; close it at the end, however that comes."""

    def __init__(self, home: Path, here: Mapping[str, Any], say: Say):
        self._say, self._here, self._total = say, dict(here), 0
        self.history, self.timing = History(home / "history.jsonl"), History(home / "timing.jsonl")
        self.checkpoints = Checkpoints(home / "checkpoints")

    def restore(self, state: Any, total: int) -> tuple[Any, int]:
        """(state, steps done): of the newest checkpoint that is whole, or the given state and 0."""

        def accept(cursor: dict[str, Any]) -> str | None:
            if cursor.get("steps", total) != total:
                return f"it belongs to a training of {cursor['steps']:,} steps, and this one has {total:,}"
            cut = self.history.cut_back(cursor["history"])
            return None if cut else "history.jsonl no longer begins as it did then"

        self._total = total
        found = self.checkpoints.restore(state, accept, self._say)
        if not found:
            self.history.cut_back(None)
            return state, 0
        state, cursor = found
        self._say(f"goes on after step {cursor['step']:,} of {total:,}")
        for key in sorted(self._here):
            if self._here[key] != cursor["environment"].get(key):
                self._say(
                    f"warning: {key} was {cursor['environment'].get(key)!r} when the checkpoint was written and is "
                    f"{self._here[key]!r} now: the result will be as good, but not equal bit for bit"
                )
        return state, cursor["step"]

    def checkpoint(self, done: int, state: Any) -> None:
        """Starts to write the state after `done` steps, together with where the history stands."""
        cursor = {"environment": self._here, "history": self.history.position(), "steps": self._total}
        self.checkpoints.save(done, state, cursor)

    def note(self, line: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """A line of the history and one of what the clock said."""
        self.history.add(line)
        self.timing.add(timing)

    def close(self) -> None:
        """Waits for the last checkpoint."""
        self.checkpoints.close()
        self.history.close()
        self.timing.close()


class Elsewhere:
    """What a process beside the first does in the place of `Resumable`: it neither reads nor writes, the first one does."""

    def restore(self, state: Any, total: int) -> tuple[Any, int]:
        """A state of the right shapes, whose values come from the first process."""
        return state, 0

    def note(self, line: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """Nothing."""

    def checkpoint(self, done: int, state: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
