"""Texts labelled by hand, divided into a tuning half, on which thresholds may be set, and a held-out half that judges them.

Takes:  files of `kind|text` lines in benchmarks/labelled (\\n for a newline, # begins a comment).
Leaves: (label, kind, text) by half. The half follows from a hash of the text, so a text can never change sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "labelled"


class Labelled(NamedTuple):
    """One text, what it is, and what sort of that."""

    label: str
    kind: str
    text: str

    @property
    def half(self) -> str:
        """tuning or held_out."""
        return ("tuning", "held_out")[hashlib.sha256(self.text.encode()).digest()[0] & 1]


def read(**files: str) -> list[Labelled]:
    """All texts of `label=file name`."""
    found = []
    for label, name in files.items():
        for line in (FOLDER / name).read_text("utf-8").splitlines():
            if line and not line.startswith("#"):
                kind, text = line.split("|", 1)
                found.append(Labelled(label, kind, text.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")))
    return found


def judged(
    texts: Sequence[Labelled], flagged: Callable[[str], bool], positive: Callable[[Labelled], bool]
) -> dict[str, float]:
    """Share right, recall of the positive ones, share of the others flagged by mistake, and how many of each there are."""
    hits = [(positive(t), flagged(t.text)) for t in texts]
    of, others = [f for p, f in hits if p], [f for p, f in hits if not p]
    return {
        "right": sum(p == f for p, f in hits) / len(hits),
        "recall": sum(of) / len(of),
        "false_alarms": sum(others) / len(others),
        "positives": len(of),
        "negatives": len(others),
    }
