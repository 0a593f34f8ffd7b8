"""Faults done to a session of the miniature on purpose and by seed, and what the documented command makes of them.

Takes   a finished session and a fault: its seed chooses the stage's moment, the byte.
Leaves  a copy in which the stage was to be done again, the fault happened, and the same command was run until it succeeded:
        how often, how long, and how what is left differs from the undisturbed run.
Method  a process is killed once it is seen in /proc, after a random part of its work; small and read-only disks are mounted in
        a namespace of the run's own, because chmod proves nothing for root; a damaged file is one that the stage reads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.at_work import WAIT_S, kill, processes, wait_for
from faults.clock import ahead, library, set_clock, settable
from faults.stages import STAGES, Stage
from faults.upgrade import EDITS, installed, upgrade
from seconds import REPO, command, environment, left, run, start

ATTEMPTS = 6
LONG, LONG_S, SHORT_S = ("train", "evaluate", "export"), 8.0, 1.5
"""The stages that import JAX, and within how many seconds of its start a stage is disturbed."""

KILLS = ("kill Snakemake", "kill the stage", "kill both")
DISKS = ("full disk", "read-only disk")
DAMAGES = ("truncated", "flipped", "deleted")
CLOCKS = ("clock set back between runs", "clock set back in a run")
OTHERS = ("two at once", "moved", *CLOCKS)
UPGRADED = "upgraded"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what happens, at which stage, decided by which seed."""

    kind: str
    stage: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.stage}, seed {self.seed}"

    @property
    def impossible(self) -> str:
        """Why it cannot be done on this machine; "" where it can."""
        if self.kind == "clock set back in a run" and library() is None:
            return "libfaketime is not installed (Debian: apt-get install faketime)"
        return ""


@dataclass(slots=True)
class Outcome:
    """What became of it. `differences` is empty where all files are as in the undisturbed run and none is half-written."""

    fault: Fault
    happened: bool
    attempts: int
    seconds: float
    differences: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        """Whether the fault happened and left no trace."""
        return self.happened and not self.differences


def faults() -> list[Fault]:
    """All of the campaign: every kill, disk and damage at the stages that it can meet, the others at two each."""
    chosen = [Fault(kind, stage, 0) for kind in ("kill both", *DISKS) for stage in STAGES]
    chosen += [Fault("kill the stage", stage, 0) for stage in STAGES if stage not in ("demo", "plan", "verdict")]
    chosen += [Fault(kind, stage, 0) for kind in DAMAGES for stage in STAGES if STAGES[stage].reads]
    chosen += [Fault("kill Snakemake", stage, 0) for stage in ("sample", "mix", "train", "export")]
    chosen += [Fault("kill both", "train", seed) for seed in (1, 2)]
    chosen += [Fault(kind, stage, 0) for kind in OTHERS for stage in ("mix", "train")]
    return [*chosen, *(Fault(UPGRADED, stage, 0) for stage in EDITS)]


QUICK = [
    Fault("kill both", "mix", 3), Fault("kill the stage", "standardize", 4), Fault("kill both", "train", 5),
    Fault("full disk", "pack", 6), Fault("flipped", "pack", 8), Fault("two at once", "mix", 10),
    Fault("clock set back between runs", "mix", 11), Fault("clock set back in a run", "mix", 12),
]  # fmt: skip
"""Eight of them for every run of the tests."""


def suffer(fault: Fault, finished: Path, folder: Path) -> Outcome:
    """Does the fault to a copy of `finished` at `folder`, then runs the same command until it succeeds."""
    if fault.kind == UPGRADED:
        return half_upgraded(fault, finished, folder)
    stage, chance = STAGES[fault.stage], Random(f"{fault.kind} {fault.stage} {fault.seed}")
    without(stage, finished, folder)
    began = time.monotonic()
    if fault.kind in DAMAGES:
        happened = damage(fault.kind, folder / stage.reads, chance)
    elif fault.kind in DISKS:
        happened = on_a_bad_disk(fault, folder, stage, sum(f.stat().st_size for f in leavings(stage, finished)))
    elif fault.kind == "clock set back between runs":
        ahead(folder)
        happened = True
    else:
        happened = disturbed(fault, folder, stage, chance)
    if fault.kind == "moved":
        folder = folder.rename(folder.with_name("moved"))
    attempts, said = until_done(folder, stage.target)
    if not said and fault.kind in CLOCKS:
        said = unsettled(folder, stage.target)
    seconds = time.monotonic() - began
    return Outcome(fault, happened, attempts, seconds, [said] if said else differences(left(finished), folder))


def half_upgraded(fault: Fault, finished: Path, folder: Path) -> Outcome:
    """A session that is killed in the middle of a stage, and gone on with by another version of the package."""
    later = [*STAGES][[*STAGES].index(fault.stage) :]
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    for name in later:
        STAGES[name].undo(folder)
    repo, chance, began = installed(folder.with_name("package")), Random(str(fault)), time.monotonic()
    running = start(folder, "session1", out=subprocess.DEVNULL, repo=repo)
    happened = bool(seen(fault, folder, running))
    if fault.stage == "train":
        happened &= checkpointed(folder, running)
    time.sleep(chance.uniform(0.0, 0.5))
    happened &= running.poll() is None
    end_all(running)
    upgrade(repo, fault.stage)
    attempts, said = until_done(folder, "session1", repo)
    seconds = time.monotonic() - began
    fresh = folder.with_name("fresh")
    code, told = run(fresh, "session1", repo=repo)
    if said or code:
        return Outcome(fault, happened, attempts, seconds, [said or f"the new version fails: {told[-2000:]}"])
    found = differences(left(fresh), folder)
    if not differences(left(finished), fresh):
        found.append("the new version leaves what the old one left: nothing is shown")
    return Outcome(fault, happened, attempts, seconds, found)


def without(stage: Stage, finished: Path, folder: Path) -> None:
    """Makes `folder` a copy of `finished` in which the stage is to be done again."""
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    stage.undo(folder)


def leavings(stage: Stage, folder: Path) -> list[Path]:
    """The files that the stage left in `folder`."""
    found = [p for pattern in stage.left for p in folder.glob(pattern)]
    return [f for p in found for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file()]


def until_done(folder: Path, target: str, repo: Path = REPO) -> tuple[int, str]:
    """Runs the command until it succeeds; how often, and "" or what it said when it failed for the last time."""
    for attempt in range(1, ATTEMPTS + 1):
        again = start(folder, target, repo=repo)
        said, _ = again.communicate(timeout=WAIT_S)
        if again.returncode == 0:
            wait_for(folder)
            return attempt, ""
        if processes(folder):  # what a killed Snakemake left working is named, and waited for
            wait_for(folder)
    return ATTEMPTS, f"still fails: {said[-2000:]}"


def unsettled(folder: Path, target: str) -> str:
    """What is said where the command, given once more, does not find everything done; "" where it does."""
    code, said = run(folder, target)
    return "" if code == 0 and "Nothing to be done" in said else f"is not done: {said[-2000:]}"


def differences(wanted: dict[str, str], folder: Path) -> list[str]:
    """Sentences about files that are missing, changed or too many; quarantined ones may stay."""
    found = {name: digest for name, digest in left(folder).items() if not name.endswith(".damaged")}
    told = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    told += [f"{name} is left over" for name in sorted(found.keys() - wanted.keys())]
    return told + [f"{name} differs" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]]


def damage(kind: str, file: Path, chance: Random) -> bool:
    """Cuts a file short, flips one of its bits or deletes it."""
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    if kind == "deleted":
        file.unlink()
    elif kind == "truncated":
        os.truncate(file, place)
    else:
        content[place] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
    return True


def on_a_bad_disk(fault: Fault, folder: Path, stage: Stage, needed_bytes: int) -> bool:
    """Runs the command with a tiny or read-only disk where the stage writes; True when it failed.

    A full disk has 4 KB free, or nothing for a stage that leaves little.
    """
    where = folder / stage.writes
    where.mkdir(parents=True, exist_ok=True)
    option, filled = ("size=4k", needed_bytes < 16_384) if fault.kind == "full disk" else ("ro", False)
    fill = 'head -c 4096 /dev/zero > "$0/filled" && ' if filled else ""
    mounted = f'mount -t tmpfs -o {option} tmpfs "$0" && {fill}exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, where, *command(folder, stage.target)],
        cwd=REPO, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT_S,
        check=False,
    )  # fmt: skip
    return done.returncode != 0 and "Building DAG of jobs" in done.stdout


def disturbed(fault: Fault, folder: Path, stage: Stage, chance: Random) -> bool:
    """Runs the command and disturbs it in the middle of the stage, sooner where the stage ended too soon; False when never."""
    for part in (1.0, 0.5, 0.25, 0.0):
        if disturbed_after(chance.random() * part * (LONG_S if fault.stage in LONG else SHORT_S), fault, folder, stage):
            return True
        stage.undo(folder)
    return False


def disturbed_after(delay_s: float, fault: Fault, folder: Path, stage: Stage) -> bool:
    """Disturbs the stage so many seconds after it is seen; False when it has ended by then."""
    setting, given, faketime = folder.with_name("clock"), None, library()
    if fault.kind == "clock set back in a run":
        given = settable(faketime, setting) if faketime else None
    with folder.with_name("said.txt").open("w") as said:  # an orphan's words must have a place to go
        running = start(folder, stage.target, out=said, given=given)
    seen(fault, folder, running)
    time.sleep(delay_s)
    found = processes(folder, fault.stage)
    if found:
        if fault.kind == "clock set back in a run":
            set_clock(setting, "-2d")
        elif fault.kind == "two at once":
            start(folder, stage.target).communicate(timeout=WAIT_S)
        elif fault.kind == "kill the stage":
            for process in found:
                kill(process)
        elif fault.kind == "kill Snakemake":
            running.kill()
        else:
            end_all(running)
    running.wait(WAIT_S)
    return bool(found)


def seen(fault: Fault, folder: Path, running: subprocess.Popen[str]) -> list[int]:
    """Waits until the fault's stage works, or the run has ended."""
    deadline = time.monotonic() + WAIT_S
    while not (found := processes(folder, fault.stage)) and running.poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{fault}: its stage did not start within {WAIT_S} s")
        time.sleep(0.01)
    return found


def checkpointed(folder: Path, running: subprocess.Popen[str]) -> bool:
    """Waits until a checkpoint stands; False when the run ended before."""
    while not any(p.name.isdigit() for p in folder.glob("work/train/session1/*/checkpoints/*")):
        if running.poll() is not None:
            return False
        time.sleep(0.02)
    return True


def end_all(running: subprocess.Popen[str]) -> None:
    """SIGKILL to Snakemake and all that it started."""
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(WAIT_S)
