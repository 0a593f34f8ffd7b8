"""One stage as several processes: who am I among them, and, for the one that starts them, start, watch and end them together.

Takes   the number of processes wanted, and what the environment says: a step of `srun`, or a launch by this module.
Leaves  the exit status of all. Whichever ends badly ends the others, so that none waits for one that is gone.

    a job of Slurm with as many tasks     srun starts them, one on each place that the job was given
    anywhere else                         they are started here, on this machine
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOST = 75  # EX_TEMPFAIL: run it again
GRACE_S = 10.0  # for the others to say why they end, once one has ended badly
INDEX, ADDRESS = "SHOWWORK_PROCESS", "SHOWWORK_COORDINATOR"


@dataclass(frozen=True)
class Place:
    """This process among `count`; `address` is where the first one listens, None where Slurm tells it."""

    index: int
    count: int
    address: str | None = None


def place_of(count: int) -> Place | None:
    """Which of `count` processes this is, or None where they are still to be started.

    Raises:
      ValueError: a count below one, or a step of Slurm with another number of tasks.
    """
    if count < 1:
        raise ValueError(f"--processes is {count} but must be at least 1; correct it in the profile")
    if count == 1:
        return Place(0, 1)
    if INDEX in os.environ:
        return Place(int(os.environ[INDEX]), count, os.environ[ADDRESS])
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks == 1:
        return None
    if tasks != count:
        raise ValueError(
            f"--processes is {count} but srun started {tasks} tasks; set `tasks` and `processes` of the profile to the same"
        )
    return Place(int(os.environ["SLURM_PROCID"]), count)


def launch(module: str, arguments: Sequence[str], count: int, log: Path | None) -> int:
    """Runs `python -m module arguments` as `count` processes; SIGTERM is handed on to them.

    The exit status of all: of the one whose end was the cause, or 75 where one was lost, which is said and noted at
    the end of `log`.
    """
    command = [sys.executable, "-m", module, *arguments]
    if int(os.environ.get("SLURM_NTASKS", 1)) == count:
        cpus = os.environ.get("SLURM_CPUS_PER_TASK")
        share = [f"--cpus-per-task={cpus}"] if cpus else []  # which srun does not take over from sbatch
        started = [subprocess.Popen(["srun", f"--ntasks={count}", "--kill-on-bad-exit=1", *share, *command])]
    else:
        address = f"127.0.0.1:{_free_port()}"
        started = [
            subprocess.Popen(command, env={**os.environ, INDEX: str(index), ADDRESS: address}) for index in range(count)
        ]

    def hand_on(number: int, _: object) -> None:
        for one in started:
            one.send_signal(number)

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        codes = _watched(started)
    finally:
        signal.signal(signal.SIGTERM, before)
        for one in started:
            if one.poll() is None:
                one.kill()
                one.wait()
    return _verdict(codes, by_slurm=len(started) < count, log=log)


def log_of(path: Path, place: Place) -> Path:
    """Each process has a log of its own; the first one's is the declared one.

    >>> log_of(Path("logs/train/session1.log"), Place(1, 2)).name
    'session1.process2.log'
    """
    return path if place.index == 0 else path.with_suffix(f".process{place.index + 1}{path.suffix}")


def _watched(started: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """Exit statuses once all have ended, or some time after one ended badly; None for those that still ran then."""
    deadline: float | None = None
    while any(one.poll() is None for one in started):
        if deadline is None and any(one.returncode for one in started):
            deadline = time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return [one.returncode for one in started]


def _verdict(codes: Sequence[int | None], *, by_slurm: bool, log: Path | None) -> int:
    """One status for all. JAX aborts a process whose neighbour is gone (SIGABRT), which is no cause."""
    if not any(codes) and None not in codes:
        return 0
    killed = [n for n, code in enumerate(codes) if code is not None and code < 0 and code != -signal.SIGABRT]
    said = [code for code in codes if code is not None and code > 0]
    own = [code for code in said if code != LOST and not (by_slurm and code > 128)]
    if own and not killed:
        return own[0]
    if said and set(codes) == {LOST}:
        return LOST
    name = "a process" if by_slurm or not killed else f"process {killed[0] + 1} of {len(codes)}"
    how = f" ({signal.Signals(-(codes[killed[0]] or 0)).name})" if killed and not by_slurm else ""
    text = f"{name} of this training was lost{how}, so the others were ended; run the same command: it goes on from the last checkpoint"
    print(text, file=sys.stderr, flush=True)
    if log and log.parent.is_dir():
        with log.open("a", encoding="utf-8") as file:
            print(text, file=file)
    return LOST


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
