"""Faults done to a session of the miniature on purpose and by seed, and what the documented command makes of them.

Takes   a finished session and a fault: its seed chooses the stage's moment, the file, the byte.
Leaves  a copy in which the stage was to be done again, the fault happened, and the same command was run until it succeeded:
        how often, how long, and how what is left differs from the undisturbed run.
Method  a process is killed once it is seen in /proc, after a random part of its work; small and read-only disks are mounted in
        a namespace of the run's own, because chmod proves nothing for root; a damaged file is one that the stage reads.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from seconds import ADAPTER, REPO, command, environment, left, start

ATTEMPTS = 6
WAIT_S = 300
RAIDEN = "raiden_deepseek_r1"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of session 1: what it leaves, how to ask for it, and files that it reads with the manifest they belong to."""

    left: tuple[str, ...]
    target: str
    reads: tuple[str, ...]
    writes: str


def _of_sample(stage: str, reads: tuple[str, ...]) -> Stage:
    return Stage((f"results/{stage}/{RAIDEN}*",), f"results/{stage}/{RAIDEN}.json", reads, f"results/{stage}")


STAGES = {
    "sample": _of_sample("sample", ("sources/raiden/*.csv",)),
    "standardize": _of_sample("standardize", (f"results/sample/{RAIDEN}.parquet",)),
    "heldout": Stage(
        ("results/heldout/*",), "results/heldout/prompts.json", (f"results/standardize/{RAIDEN}.parquet",),
        "results/heldout",
    ),
    "mix": Stage(
        ("results/mix/session1/*",), "results/mix/session1/manifest.json", (f"results/standardize/{RAIDEN}.parquet",),
        "results/mix/session1",
    ),
    "publish": Stage(
        ("results/publish/*",), "results/publish/session1.json", ("results/mix/session1/train.parquet",), "results/publish"
    ),
    "pack": Stage(
        ("results/pack/session1/*",), "results/pack/session1/manifest.json", ("results/mix/session1/train.parquet",),
        "results/pack/session1",
    ),
    "train": Stage(
        ("results/train/session1", "work/train/session1"), ADAPTER, ("results/pack/session1/tokens.npy",), "work/train"
    ),
    "evaluate": Stage(
        ("results/evaluate/session1/*",), "results/evaluate/session1/metrics.json", (ADAPTER,),
        "results/evaluate/session1",
    ),
    "export": Stage(
        ("results/export/session1/*",), "results/export/session1/certificate.json", (ADAPTER,), "results/export"
    ),
    "report": Stage(
        ("results/report/*",), "results/report/session1.html", ("results/evaluate/session1/generations.parquet",),
        "results/report",
    ),
}  # fmt: skip

KILLS = ("kill Snakemake", "kill the stage", "kill both")
DISKS = ("full disk", "read-only disk")
DAMAGES = ("truncated", "flipped", "deleted")
OTHERS = ("two at once", "moved")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what happens, at which stage, decided by which seed."""

    kind: str
    stage: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.stage}, seed {self.seed}"


@dataclass(slots=True)
class Outcome:
    """What became of it. `differences` is empty where all files are as in the undisturbed run and none is half-written."""

    fault: Fault
    happened: bool
    attempts: int
    seconds: float
    differences: list[str]

    @property
    def survived(self) -> bool:
        """Whether the fault happened and left no trace."""
        return self.happened and not self.differences


def faults() -> list[Fault]:
    """All of the campaign: every kill, disk and damage at the stages that it can meet, the others at two each."""
    chosen = [Fault(kind, stage, 0) for kind in (*KILLS[1:], *DISKS, *DAMAGES) for stage in STAGES]
    chosen += [Fault("kill Snakemake", stage, 0) for stage in ("sample", "mix", "train", "export")]
    chosen += [Fault("kill both", "train", seed) for seed in (1, 2)]
    chosen += [Fault(kind, stage, 0) for kind in OTHERS for stage in ("mix", "train")]
    # What the demo generates, and what the report only counts, has no reader that checks it: Snakemake makes them again.
    return [f for f in chosen if not (f.kind in DAMAGES and f.stage in ("sample", "report"))]


QUICK = [
    Fault("kill both", "mix", 3), Fault("kill the stage", "standardize", 4), Fault("kill both", "train", 5),
    Fault("full disk", "pack", 6), Fault("read-only disk", "heldout", 7), Fault("flipped", "pack", 8),
    Fault("deleted", "mix", 9), Fault("two at once", "mix", 10),
]  # fmt: skip
"""Eight of them for every run of the tests."""


def suffer(fault: Fault, finished: Path, folder: Path) -> Outcome:
    """Does the fault to a copy of `finished` at `folder`, then runs the same command until it succeeds."""
    stage, chance = STAGES[fault.stage], Random(f"{fault.kind} {fault.stage} {fault.seed}")
    wanted = left(finished)
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    for pattern in stage.left:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    began = time.monotonic()
    if fault.kind in DAMAGES:
        happened = damage(fault.kind, sorted(folder.glob(stage.reads[0]))[0], chance)
    elif fault.kind in DISKS:
        happened = on_a_bad_disk(fault, folder, stage)
    else:
        happened = disturbed(fault, folder, stage, chance)
    if fault.kind == "moved":
        folder = folder.rename(folder.with_name("moved"))
    attempts, said = 0, ""
    while attempts < ATTEMPTS:
        attempts += 1
        again = start(folder, stage.target)
        said, _ = again.communicate(timeout=WAIT_S)
        if again.returncode == 0:
            break
        if processes(folder):  # what a killed Snakemake left working is named, and waited for
            wait_for(folder)
    else:
        return Outcome(fault, happened, attempts, time.monotonic() - began, [f"still fails: {said[-2000:]}"])
    wait_for(folder)
    return Outcome(fault, happened, attempts, time.monotonic() - began, differences(wanted, folder))


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


def on_a_bad_disk(fault: Fault, folder: Path, stage: Stage) -> bool:
    """Runs the command with a tiny or read-only disk where the stage writes; True when it failed with a sentence."""
    where = folder / stage.writes
    where.mkdir(parents=True, exist_ok=True)
    option = "size=4k" if fault.kind == "full disk" else "ro"
    mounted = f'mount -t tmpfs -o {option} tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, where, *command(folder, stage.target)],
        cwd=REPO, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT_S,
        check=False,
    )  # fmt: skip
    return done.returncode != 0


def disturbed(fault: Fault, folder: Path, stage: Stage, chance: Random) -> bool:
    """Runs the command and disturbs it in the middle of the stage; False when the stage ended too soon."""
    with folder.with_name("said.txt").open("w") as said:  # an orphan's words must have a place to go
        running = start(folder, stage.target, out=said)
    deadline = time.monotonic() + WAIT_S
    while not (found := processes(folder, fault.stage)) and running.poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{fault}: its stage did not start within {WAIT_S} s")
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 1.0) * (8.0 if fault.stage in ("train", "evaluate", "export") else 1.5))
    found = processes(folder, fault.stage)
    happened = bool(found)
    if fault.kind == "two at once":
        other = start(folder, stage.target)
        other.communicate(timeout=WAIT_S)
    elif fault.kind == "kill the stage":
        for process in found:
            kill(process)
    elif fault.kind == "kill Snakemake":
        running.kill()
    else:
        os.killpg(running.pid, signal.SIGKILL)
    running.wait(WAIT_S)
    return happened


def kill(process: int) -> None:
    """SIGKILL, unless it has just ended."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


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


def wait_for(folder: Path) -> None:
    """Until nothing works in `folder` any more."""
    deadline = time.monotonic() + WAIT_S
    while processes(folder):
        if time.monotonic() > deadline:
            raise TimeoutError(f"stages still work in {folder} after {WAIT_S} s")
        time.sleep(0.1)
