"""Stages at work in a folder: found in /proc by their command line and their working directory, killed, waited for."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

WAIT_S = 300


def processes(folder: Path, stage: str = "") -> list[int]:
    """Stages at work in `folder`: python processes that run `showwork.<stage>` there."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            here = (entry / "cwd").readlink() == folder
        except OSError:
            continue
        if here and any(
            w == b"-m" and n.startswith(f"showwork.{stage}".encode()) for w, n in itertools.pairwise(words)
        ):
            found.append(int(entry.name))
    return found


def kill(process: int) -> None:
    """SIGKILL, unless it has just ended."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(folder: Path) -> None:
    """Until nothing works in `folder` any more."""
    deadline = time.monotonic() + WAIT_S
    while processes(folder):
        if time.monotonic() > deadline:
            raise TimeoutError(f"stages still work in {folder} after {WAIT_S} s")
        time.sleep(0.1)
