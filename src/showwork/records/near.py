"""The search for near duplicates over files: sketches in memory, texts read again only where two sketches agree.

Takes:  files to compare with (held-out prompts, earlier sessions), then the records of a session in their order.
Leaves: {record id: reason, what it repeats, how similar}; what was looked at, for the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from showwork.foundation.overlap import ahead
from showwork.foundation.tables import read_rows
from showwork.records import duplicates
from showwork.records.duplicates import BINS, COMMON, SHINGLE_WORDS, shingles, sketches
from showwork.records.words import Hashed, hashed

TEXTS = ("question", "trace", "answer")
BATCH_ROWS = 100
"""Texts hashed at a time: what they need stays in the processor's cache."""


class Group(NamedTuple):
    """Records of one file, one after the other."""

    file: Path
    reason: str
    sample: str
    ids: Sequence[str]


class NearSearch:
    """Refer to files first, add records, then ask what was found. A text is question, trace and answer, one after the other."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._sketches: list[np.ndarray] = []
        self._groups: list[Group] = []
        self._references = 0
        self._looked_at: Counter[str] = Counter()

    def refer(self, reason: str, file: Path) -> None:
        """Take the records of a file as kept; a later text that repeats one is removed with this reason."""
        for batch in ahead(read_rows(file, ["record_id", *TEXTS], batch_rows=BATCH_ROWS), depth=2):
            ids = batch.column("record_id").to_pylist()
            self._take(Group(file, reason, "", ids), hashed(texts_of(batch)))
            self._references += len(ids)

    def add(self, sample: str, file: Path, ids: Sequence[str], words: Hashed) -> None:
        """Take records of this session, which lie in `file`, with the words of their texts."""
        self._take(Group(file, "near_duplicate", sample, ids), words)

    def _take(self, group: Group, words: Hashed) -> None:
        self._sketches.append(sketches(shingles(words), len(group.ids)))
        self._groups.append(group)

    def found(self, left_out: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """{record id: sample, reason, duplicate_of, similarity} of every record to remove beside those `left_out`."""
        if not self._groups:
            return {}
        ids = [name for group in self._groups for name in group.ids]
        group_of = np.repeat(np.arange(len(self._groups)), [len(group.ids) for group in self._groups])
        drawn = np.concatenate(self._sketches)
        self._sketches = []
        pairs = duplicates.candidates(drawn, self.threshold)
        pairs = pairs[pairs[:, 0] >= self._references]
        del drawn
        gone, templates = duplicates.repeats(
            pairs,
            self._members(np.unique(pairs), ids, group_of),
            self.threshold,
            references=self._references,
            left_out=frozenset(i for i, name in enumerate(ids) if name in left_out) if left_out else frozenset(),
        )
        self._looked_at.update(pairs_compared=len(pairs), pairs_of_a_template=templates, removed=len(gone))
        found = {}
        for place, hit in gone.items():
            kept = self._groups[group_of[hit.of]]
            found[ids[place]] = {
                "sample": self._groups[group_of[place]].sample,
                "reason": kept.reason,
                "duplicate_of": ids[hit.of],
                "similarity": round(hit.similarity, 6),
            }
        return found

    def _members(self, places: np.ndarray, ids: Sequence[str], group_of: np.ndarray) -> dict[int, np.ndarray]:
        """{place: its shingles} of some places, read again from their files."""
        wanted: dict[Path, dict[str, int]] = {}
        for place in places.tolist():
            wanted.setdefault(self._groups[group_of[place]].file, {})[ids[place]] = place
        members: dict[int, np.ndarray] = {}
        for file, names in wanted.items():
            for batch in ahead(read_rows(file, ["record_id", *TEXTS], batch_rows=BATCH_ROWS), depth=2):
                here = batch.column("record_id").to_pylist()
                chosen = [i for i, name in enumerate(here) if name in names]
                if chosen:
                    words = hashed(texts_of(batch.take(pa.array(chosen, pa.int64()))))
                    sets = duplicates.sets(shingles(words), len(chosen))
                    members.update(zip((names[here[i]] for i in chosen), sets, strict=True))
        return members

    def report(self) -> dict[str, Any]:
        """How the search was made, for the manifest."""
        number, width = duplicates.bands(self.threshold)
        return {
            "threshold": self.threshold,
            "shingle_words": SHINGLE_WORDS,
            "common": COMMON,
            "bins": BINS,
            "bands": number,
            "bins_in_a_band": width,
            "references": self._references,
            **self._looked_at,
        }


def texts_of(batch: pa.RecordBatch) -> list[str]:
    """Question, trace and answer of each record as one text."""
    return ["\n".join(values) for values in zip(*(batch.column(name).to_pylist() for name in TEXTS), strict=True)]
