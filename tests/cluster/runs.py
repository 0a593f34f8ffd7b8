"""A session of the miniature on the private Slurm: finished, without its training, in the middle of it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from seconds import ADAPTER

from showwork.foundation.files import sha256_file

QUICK = (
    "--workflow-profile", "slurm", "--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "1",
)  # fmt: skip
"""The shipped profile, asked sooner whether a job has ended."""
TRAINED = ("train", "evaluate", "export", "verdict", "report")


@dataclass(frozen=True)
class Finished:
    """A folder in which everything was built, and what was said."""

    folder: Path
    said: str

    @property
    def adapter(self) -> str:
        """Its sha256."""
        return sha256_file(self.folder / ADAPTER)

    def untrained(self, to: Path) -> Path:
        """A copy in which the training and all that follows is still to be done; compiled programs stay."""
        shutil.copytree(self.folder, to)
        for stage in TRAINED:
            shutil.rmtree(to / f"results/{stage}")
        shutil.rmtree(to / "work/train")
        return to


def until(found: Callable[[], object], what: str, running: subprocess.Popen[str], timeout_s: float = 120) -> None:
    """Waits until `found` is true.

    Raises: RuntimeError when the run ends before, with what it said; TimeoutError.
    """
    deadline = time.monotonic() + timeout_s
    while not found():
        if running.poll() is not None:
            raise RuntimeError(f"ended before {what}: {running.communicate()[0]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {timeout_s:.0f} s")
        time.sleep(0.05)


def checkpoint(folder: Path) -> bool:
    """Whether a checkpoint stands."""
    return any(p.name.isdigit() for p in folder.glob("work/train/session1/*/checkpoints/*"))


def trainer(folder: Path) -> int:
    """The process that trains, from the lock it holds."""
    return int((folder / "work/train/session1/lock").read_text().split()[1])


def trained_in(folder: Path) -> str:
    """What the last trainer said."""
    return (folder / "logs/train/session1.log").read_text()


def states(jobs: Iterable[dict[str, str]]) -> list[str]:
    """How each job ended."""
    return [job["JobState"] for job in jobs]
