"""Runs commands as whole processes, in turns, and says how long each took, how much memory, how many bytes it read.

Takes:  contestants (name, command), the number of rounds.
Leaves: a table on stdout and benchmarks/results/<date>-<name>.json with machine, versions and commit.

Processes of one round follow each other at once, so that what else the machine does falls on all of them; ratios are medians
of the ratios within a round.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPO = HERE.parent


def measure(command: Sequence[str]) -> dict[str, float]:
    """wall and CPU seconds, peak resident MB, MB read by system calls, of one process and its children."""
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPO / "src")}, stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - start
    try:
        counters = Path(f"/proc/{process.pid}/io").read_text().split()
        read = int(counters[counters.index("rchar:") + 1]) / 1e6
    except OSError:
        read = float("nan")
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1e3, "read_mb": read}


def race(
    name: str, contestants: Mapping[str, Sequence[str]], *, rounds: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Run all contestants `rounds` times in turns; the first is the peer that the others are compared with."""
    runs: dict[str, list[dict[str, float]]] = {c: [] for c in contestants}
    for turn in range(rounds):
        for contestant, command in contestants.items():
            runs[contestant].append(measure(command))
            print(f"round {turn + 1}: {contestant} {_row(runs[contestant][-1])}", flush=True)
    peer = next(iter(contestants))
    table = {}
    for contestant, measured in runs.items():
        median = {k: statistics.median(m[k] for m in measured) for k in measured[0]}
        ratios = {
            k: statistics.median(p[k] / m[k] for p, m in zip(runs[peer], measured, strict=True))
            for k in ("wall_s", "cpu_s")
        }
        table[contestant] = {"median": median, "times_faster": ratios, "runs": measured}
        print(f"{contestant:30} {_row(median)}  {ratios['wall_s']:.2f}x wall, {ratios['cpu_s']:.2f}x CPU of {peer}")
    result = {
        "benchmark": name,
        "commit": _commit(),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "versions": {p: importlib.metadata.version(p) for p in ("datasets", "pyarrow", "msgspec", "numpy")},
        "load_average": os.getloadavg(),
        "facts": dict(facts),
        "contestants": table,
    }
    target = HERE / "results" / f"{datetime.date.today()}-{name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {target.relative_to(REPO)}")
    return result


def stage(module: str, settings: Mapping[str, Any], **files: Path) -> list[str]:
    """The command of one of our stages."""
    options = [part for key, path in files.items() for part in (f"--{key}", str(path))]
    return [sys.executable, "-m", f"showwork.{module}", "--settings", json.dumps(settings), *options]


def _row(m: Mapping[str, float]) -> str:
    return f"{m['wall_s']:7.2f} s  {m['cpu_s']:7.2f} CPU s  {m['rss_mb']:7.0f} MB  read {m['read_mb']:7.0f} MB"


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"
