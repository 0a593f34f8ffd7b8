"""The provenance tree: from the rows of each source to the records of a mix, every branch with its counts.

Takes:  what each sample's manifest says, and what the mix did with its records.
Leaves: lines for a person and the same numbers for a program.

    session1: 1,900 records
    ├─ openo1_sft_english  random 1,000 of openo1 (O1-OPEN/OpenO1-SFT@e01fc6b3): 950 records in the mix, 50.0 %
    │    sample       1,000 of 2,000 rows; not_reached 600, language 400
    │    standardize  990 of 1,000; no_close 10
    │    mix          950 of 990; held_out 40
    └─ …
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from showwork.records.guard import listed

Branch = Mapping[str, Any]


def branch(manifest: Mapping[str, Any], removed: Mapping[str, int]) -> dict[str, Any]:
    """The counts of one sample, from its standardize manifest and what the mix removed of it."""
    sample, counts = manifest["sample"], manifest["counts"]
    return {
        "source": manifest["settings"]["source"],
        "hub": manifest["origin"]["hub"],
        "revision": manifest["origin"]["revision"],
        "method": sample["method"],
        "n": sample["n"],
        "start": sample["start"],
        "stop": sample["stop"],
        "rows_in_reach": sample["counts"]["rows_in_reach"],
        "not_reached": sample["counts"]["not_reached"],
        "dropped": sample["counts"]["dropped"],
        "taken": sample["counts"]["taken"],
        "rejected": counts["rejected"],
        "records": counts["records"],
        "removed": dict(sorted(removed.items())),
        "train": counts["records"] - sum(removed.values()),
    }


def lines(session: str, branches: Mapping[str, Branch]) -> list[str]:
    """The tree as text, one line an entry."""
    total = sum(b["train"] for b in branches.values())
    drawn = [f"{session}: {total:,} records"]
    for i, (name, b) in enumerate(branches.items()):
        last = i == len(branches) - 1
        head, under = ("└─", "   ") if last else ("├─", "│  ")
        share = f", {b['train'] / total:.1%}" if total else ""
        drawn.append(f"{head} {name}  {_how(b)} of {b['source']}{_where(b)}: {b['train']:,} records in the mix{share}")
        left = {"not_reached": b["not_reached"], **b["dropped"]}
        drawn += [
            f"{under}  sample       {b['taken']:,} of {b['rows_in_reach']:,} rows{_lost(left)}",
            f"{under}  standardize  {b['records']:,} of {b['taken']:,}{_lost(b['rejected'])}",
            f"{under}  mix          {b['train']:,} of {b['records']:,}{_lost(b['removed'])}",
        ]
    return drawn


def _how(b: Branch) -> str:
    if b["method"] == "first_n":
        return f"rows {b['start']:,} to {b['stop']:,}"
    return "all" if b["method"] == "full" else f"{b['method']} {b['n']:,}"


def _where(b: Branch) -> str:
    return f" ({b['hub']}@{(b['revision'] or 'unpinned')[:8]})" if b["hub"] else ""


def _lost(reasons: Mapping[str, int]) -> str:
    said = listed({name: count for name, count in reasons.items() if count})
    return f"; {said}" if said else ""
