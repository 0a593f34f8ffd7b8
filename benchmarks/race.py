"""Runs commands as whole processes, in turns, and says how long each took, how much memory, how many bytes it read.

Takes:  contestants (name, command), the number of rounds.
Leaves: a table on stdout and benchmarks/results/<date>-<name>.json with machine, versions and commit.

Processes of one round follow each other at once, so that what else the machine does falls on all of them; ratios are medians
of the ratios within a round. Peers run in `.peers-venv` (`make peers`), ours in the environment of this script; memory is that
of a process and all its descendants, each page counted once (PSS), looked at up to ten times a second, or the first process's own
peak (RSS) where that is higher.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPO = HERE.parent
PEERS = REPO / ".peers-venv/bin/python"
PACKAGES = (
    "datasets", "pyarrow", "msgspec", "numpy", "trl", "torch", "transformers", "lingua-language-detector", "peft", "jax",
    "flax", "google-tunix", "qwix",
)  # fmt: skip


def peer(script: str, *arguments: Any) -> list[str]:
    """The command of a peer, in the peers' own environment.

    Raises: FileNotFoundError when that has not been made.
    """
    if not PEERS.is_file():
        raise FileNotFoundError(f"{PEERS}: the peers' environment is not there; make it with `make peers`")
    return [str(PEERS), str(HERE / "peers" / script), *map(str, arguments)]


def stage(module: str, settings: Mapping[str, Any], **files: Any) -> list[str]:
    """The command of one of our stages."""
    options = [part for key, path in files.items() for part in (f"--{key}", str(path))]
    return [sys.executable, "-m", f"showwork.{module}", "--settings", json.dumps(settings), *options]


def pinned(command: Sequence[str], core: int = 0) -> list[str]:
    """The same command on one core."""
    return ["taskset", "-c", str(core), *command]


class Memory(threading.Thread):
    """The most memory that a process and its descendants held together, in MB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._ended = pid, threading.Event()
        self.most = 0.0

    def run(self) -> None:
        due = 0.0
        while not self._ended.wait(0.1):
            self.most = max(self.most, _kilobytes(f"/proc/{self._pid}/status", "VmHWM:") / 1e3)
            begin = time.monotonic()
            if begin >= due:
                held = [_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in _tree(self._pid)]
                self.most = max(self.most, sum(held) / 1e3)
                # Looking at gigabytes holds up the process that is looked at: not more than a hundredth of the time.
                due = begin + 100 * (time.monotonic() - begin)

    def stop(self) -> float:
        self._ended.set()
        self.join()
        return self.most


def _tree(pid: int) -> list[int]:
    found = [pid]
    for at in found:
        for task in Path(f"/proc/{at}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def _kilobytes(file: str, name: str) -> int:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def measure(command: Sequence[str]) -> dict[str, float]:
    """wall and CPU seconds, the most memory in MB, MB read by system calls, of one process and its children."""
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPO / "src")}, stdout=subprocess.DEVNULL)
    memory = Memory(process.pid)
    memory.start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - start
    most = memory.stop()
    try:
        counters = Path(f"/proc/{process.pid}/io").read_text().split()
        read = int(counters[counters.index("rchar:") + 1]) / 1e6
    except OSError:
        read = float("nan")
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "memory_mb": most, "read_mb": read}


def race(
    name: str, contestants: Mapping[str, Sequence[str]], *, rounds: int, facts: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Run all contestants `rounds` times in turns; the first is the peer that the others are compared with.

    `facts` is asked after the last round.
    """
    runs: dict[str, list[dict[str, float]]] = {c: [] for c in contestants}
    for turn in range(rounds):
        for contestant, command in contestants.items():
            runs[contestant].append(measure(command))
            print(f"round {turn + 1}: {contestant} {_row(runs[contestant][-1])}", flush=True)
    first = next(iter(contestants))
    table = {}
    for contestant, measured in runs.items():
        median = {k: statistics.median(m[k] for m in measured) for k in measured[0]}
        table[contestant] = {"median": median, "times_faster": faster(runs, contestant, first), "runs": measured}
        ratios = table[contestant]["times_faster"]
        print(f"{contestant:30} {_row(median)}  {ratios['wall_s']:.2f}x wall, {ratios['cpu_s']:.2f}x CPU of {first}")
    result = {"facts": dict(facts()), "contestants": table}
    write(name, result)
    return result


def faster(runs: Mapping[str, Sequence[Mapping[str, float]]], ours: str, other: str) -> dict[str, float]:
    """How many times faster one contestant is than another, by wall and by CPU seconds."""
    return {
        k: statistics.median(p[k] / m[k] for p, m in zip(runs[other], runs[ours], strict=True))
        for k in ("wall_s", "cpu_s")
    }


def write(name: str, result: Mapping[str, Any]) -> None:
    """Leave a result with what is needed to judge it: commit, machine, load, versions on both sides."""
    target = HERE / "results" / f"{datetime.date.today()}-{name}.json"
    target.parent.mkdir(exist_ok=True)
    about = {
        "benchmark": name,
        "command": f"python {' '.join([os.path.relpath(sys.argv[0], REPO), *sys.argv[1:]])}",
        "date": str(datetime.date.today()),
        "commit": commit(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "versions": {
            "ours": _versions(sys.executable),
            "peers": _versions(str(PEERS)),
            "tunix": _versions(str(REPO / ".tunix-venv/bin/python")),
        },
        "load_average": os.getloadavg(),
    }
    target.write_text(json.dumps({**about, **result}, indent=1) + "\n")
    print(f"written: {target.relative_to(REPO)}")


def judge(bars: Sequence[tuple[str, float, float, bool]]) -> None:
    """Say for each (what, value, bar, whether more is better) if it is met; exit with status 1 if one is not."""
    missed = 0
    for what, value, bar, more in bars:
        met = value >= bar if more else value <= bar
        missed += not met
        print(f"{what}: {value:.3g}, {'at least' if more else 'at most'} {bar:g} wanted: {'met' if met else 'MISSED'}")
    sys.exit(bool(missed))


def _versions(python: str) -> dict[str, str]:
    if not Path(python).is_file():
        return {}
    code = (
        "import importlib.metadata as m, json, sys\n"
        "have = {d.name: d.version for d in m.distributions()}\n"
        "print(json.dumps({p: have[p] for p in sys.argv[1:] if p in have}))"
    )
    said = subprocess.run([python, "-c", code, *PACKAGES], capture_output=True, text=True, check=True)
    return dict(json.loads(said.stdout))


def _row(m: Mapping[str, float]) -> str:
    return f"{m['wall_s']:7.2f} s  {m['cpu_s']:7.2f} CPU s  {m['memory_mb']:7.0f} MB  read {m['read_mb']:7.0f} MB"


def commit() -> str:
    """HEAD of the repository, marked where src/ differs from it."""
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain", "src"], cwd=REPO, capture_output=True, check=False).stdout
    return (said.stdout.strip() or "unknown") + ("+changes" if changed else "")
