"""Is a session that is killed, starved, damaged, moved or upgraded in the middle completed by the same command, to the same bytes?

Takes:  the repository, installed; Linux with `unshare`, and libfaketime (Debian: apt-get install faketime) for one kind of fault.
Leaves: benchmarks/results/<date>-faults.json: faults tried, survived, with data lost, seconds lost; a row for each. A fault counts
        as survived when it happened and the end is byte-identical to the undisturbed run's. Exit status 1 when one is not.
Command: python benchmarks/fault_campaign.py [--jobs 2] [--kinds "kill both" …]

Seconds lost are wall seconds from the fault's beginning to the end, less those of the same stage undisturbed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from race import REPO, commit, judge, write

sys.path.insert(0, str(REPO / "tests"))
from faults.faults import UPGRADED, Fault, Outcome, faults, suffer, until_done, without
from faults.stages import STAGES
from seconds import run


class Campaign:
    """A finished session and how long each of its stages takes, faults done to copies of it."""

    def __init__(self, folder: Path):
        self.folder, self.finished = folder, folder / "finished"
        began = time.monotonic()
        code, said = run(self.finished, "session1")
        if code:
            raise SystemExit(f"the undisturbed run failed: {said}")
        self.whole_s = time.monotonic() - began
        self._lock = threading.Lock()
        self._undisturbed = {"": self.whole_s}

    def undisturbed_s(self, stage: str) -> float:
        """Wall seconds of the command that makes one stage again; of all of them for ""."""
        with self._lock:
            if stage not in self._undisturbed:
                place = self.folder / f"undisturbed-{stage}"
                without(STAGES[stage], self.finished, place)
                began = time.monotonic()
                until_done(place, STAGES[stage].target)
                self._undisturbed[stage] = time.monotonic() - began
                shutil.rmtree(place)
            return self._undisturbed[stage]

    def row(self, number: int, fault: Fault) -> dict[str, Any]:
        """What became of a fault."""
        if fault.impossible:
            return {**dataclasses.asdict(fault), "not_tried": fault.impossible}
        usual = self.undisturbed_s("" if fault.kind == UPGRADED else fault.stage)
        place = self.folder / f"fault-{number}"
        place.mkdir()
        try:
            outcome = suffer(fault, self.finished, place / "run")
        except Exception:  # one that cannot be finished is not survived, and must not end the others
            outcome = Outcome(fault, True, 0, 0.0, [traceback.format_exc()[-2000:]])
        shutil.rmtree(place)
        return {
            **dataclasses.asdict(fault),
            "happened": outcome.happened,
            "survived": outcome.survived,
            "attempts": outcome.attempts,
            "seconds": round(outcome.seconds, 1),
            "lost_s": round(max(0.0, outcome.seconds - usual), 1),
            "differences": outcome.differences,
        }


def rows(campaign: Campaign, chosen: list[Fault], jobs: int) -> Iterator[dict[str, Any]]:
    """A row for each fault, told as they come."""
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(campaign.row, range(len(chosen)), chosen):
            state = row.get("not_tried") or ("survived" if row["survived"] else f"NOT SURVIVED: {row['differences']}")
            print(f"{row['kind']}, {row['stage']}, seed {row['seed']}: {state} {row.get('seconds', '')}", flush=True)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument(
        "--into", type=Path, help="a result of before, whose rows of other kinds are kept, each with its commit"
    )
    parser.add_argument("--kinds", nargs="+", choices=sorted({f.kind for f in faults()}), help="these only")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), help="at these only")
    args = parser.parse_args()
    chosen = [
        fault
        for fault in faults()
        if (not args.kinds or fault.kind in args.kinds) and (not args.stages or fault.stage in args.stages)
    ]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        campaign = Campaign(Path(temporary))
        found = list(rows(campaign, chosen, args.jobs))
    for row in found:
        row["commit"] = commit()
    if args.into:
        before = json.loads(args.into.read_text())
        done = {(row["kind"], row["stage"], row["seed"]) for row in found}
        found = [r for r in before["faults"] if (r["kind"], r["stage"], r["seed"]) not in done] + found
        for row in found:
            row.setdefault("commit", before["commit"])
    tried = [row for row in found if "not_tried" not in row]
    survived = sum(row["survived"] for row in tried)
    lost = sum(bool(row["differences"]) for row in tried)
    result = {
        "tried": len(tried),
        "survived": survived,
        "data_lost": lost,
        "not_tried": len(found) - len(tried),
        "lost_s": round(sum(row["lost_s"] for row in tried), 1),
        "wall_s": round(time.monotonic() - began, 1),
        "undisturbed_s": round(campaign.whole_s, 1),
        "jobs": args.jobs,
        "faults": found,
    }
    print({name: value for name, value in result.items() if name != "faults"})
    write("faults", result)
    judge(
        [
            ("faults tried", len(tried), 1 if args.kinds else 40, True),
            ("faults not survived", len(tried) - survived, 0, False),
            ("faults that lost data", lost, 0, False),
        ]
    )


if __name__ == "__main__":
    main()
