"""Rows that two sessions, or one session twice, would train on: of the configuration alone, before anything is read.

Takes:  the samples and the sessions, as the schema has them.
Leaves: (key, sentence) for each sample that shares rows with one before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from showwork.foundation.plain import Key


def shared_rows(samples: dict[str, Any], sessions: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Rows that two sessions, or one session twice, would train on."""
    used = [
        (session, i, name) for session, s in sessions.items() for i, name in enumerate(s["samples"]) if name in samples
    ]
    for k, (session, i, name) in enumerate(used):
        for earlier_session, _, earlier in used[:k]:
            a, b = samples[earlier], samples[name]
            where: Key = ("sessions", session, "samples", i)
            if earlier == name:
                yield where, f"{name} is also in {earlier_session}; a row may be in one session only"
            elif a["source"] == b["source"] and a["method"] == b["method"] == "first_n" and None not in (
                a.get("start"), a.get("stop"), b.get("start"), b.get("stop")
            ):  # fmt: skip
                low, high = max(a["start"], b["start"]), min(a["stop"], b["stop"])
                if low <= high:
                    yield (
                        where,
                        (
                            f"{name} (rows {b['start']:,} to {b['stop']:,}) and {earlier} of {earlier_session} (rows "
                            f"{a['start']:,} to {a['stop']:,}) share rows {low:,} to {high:,} of {a['source']}; "
                            f"start {name} at {a['stop'] + 1:,}"
                        ),
                    )
