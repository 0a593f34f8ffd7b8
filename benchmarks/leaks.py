"""Does the trainer keep memory from step to step? 2,000 steps of a tiny model, the resident memory of the process at each.

Takes:  the repository, installed; Linux.
Leaves: benchmarks/results/<date>-leaks.json: medians of the resident memory over a tenth of the steps each, in MB. Exit status 1 when the
        last tenth lies more than 2 % above or below the second: the first one still compiles and takes its first checkpoints.
Command: python benchmarks/leaks.py [--steps 2000]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from race import REPO, judge, write

sys.path.insert(0, str(REPO / "tests"))
from tiny_run import command, prepare, process, settings

PARTS = 10
ALLOWED = 0.02


def resident_mb(pid: int) -> float:
    """Resident memory of a process, 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:")), 0.0)


def watched(running: subprocess.Popen[str], folder: Path) -> list[tuple[int, float]]:
    """(steps done, resident MB), looked at ten times a second until the trainer ends."""
    seen: list[tuple[int, float]] = []
    while running.poll() is None:
        files = list(folder.glob("work/train/*/history.jsonl")) or list(folder.glob("work/train/*/*/history.jsonl"))
        steps = max((file.read_bytes().count(b"\n") for file in files), default=0)
        memory = resident_mb(running.pid)
        if steps and memory:
            seen.append((steps, memory))
        time.sleep(0.1)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000)
    steps = parser.parse_args().steps
    chosen: dict[str, Any] = settings(epochs=None, max_steps=steps, checkpoint_every_steps=steps // 20)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        running = process(folder, command(chosen), stdout=subprocess.DEVNULL)
        seen = watched(running, folder)
        said = running.stderr.read() if running.stderr else ""
        if running.returncode:
            raise SystemExit(f"the trainer failed: {said[-2000:]}")
        done = (folder / "results/train/s/history.jsonl").read_bytes().count(b"\n")
    parts = [
        [memory for step, memory in seen if part * steps / PARTS < step <= (part + 1) * steps / PARTS]
        for part in range(PARTS)
    ]
    medians = [round(statistics.median(part), 1) for part in parts]
    growth = medians[-1] / medians[1] - 1
    print(*(f"steps to {(i + 1) * steps // PARTS:,}: {mb:,.1f} MB" for i, mb in enumerate(medians)), sep="\n")
    write(
        "leaks",
        {
            "steps": done,
            "looks": len(seen),
            "resident_mb": medians,
            "growth": round(growth, 5),
            "checkpoints": 20,
        },
    )
    judge([("steps", done, steps, True), ("change of the resident memory", abs(growth), ALLOWED, False)])


if __name__ == "__main__":
    main()
