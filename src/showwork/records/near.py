"""The search for near duplicates over files: sketches in memory, texts read again only where two sketches agree.

Takes:  files to compare with (held-out prompts, earlier sessions), then the records of a session in their order.
Leaves: {record id: reason, what it repeats, how similar}; what was looked at, for the manifest.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from showwork.foundation.tables import read_rows
from showwork.records.duplicates import BINS, SHINGLE_WORDS, Shingler, bands, candidates, repeats, sketch

TEXTS = ("question", "trace", "answer")


class NearSearch:
    """Refer to files first, add records, then ask what was found. A text is question, trace and answer, one after the other."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._shingler = Shingler()
        self._sketches: list[np.ndarray] = []
        self._ids: list[str] = []
        self._reasons: list[str] = []
        self._samples: list[str] = []
        self._files: dict[Path, None] = {}
        self._references = 0
        self._looked_at: Counter[str] = Counter()

    def refer(self, reason: str, file: Path) -> None:
        """Take the records of a file as kept; a later text that repeats one is removed with this reason."""
        for batch in read_rows(file, ["record_id", *TEXTS]):
            self._take(batch, reason, "")
        self._files[file] = None
        self._references = len(self._ids)

    def add(self, sample: str, file: Path, batch: pa.RecordBatch) -> None:
        """Take records of this session, which lie in `file`."""
        self._take(batch, "near_duplicate", sample)
        self._files[file] = None

    def _take(self, batch: pa.RecordBatch, reason: str, sample: str) -> None:
        self._sketches += [sketch(self._shingler(text)) for text in texts_of(batch)]
        self._ids += batch.column("record_id").to_pylist()
        self._reasons += [reason] * batch.num_rows
        self._samples += [sample] * batch.num_rows

    def found(self) -> dict[str, dict[str, Any]]:
        """{record id: sample, reason, duplicate_of, similarity} of every record to remove."""
        if not self._ids:
            return {}
        pairs = candidates(np.stack(self._sketches), self.threshold)
        pairs = pairs[pairs[:, 0] >= self._references]
        gone = repeats(pairs, self._shingles(pairs), self.threshold, references=self._references)
        self._looked_at.update(pairs_compared=len(pairs), removed=len(gone))
        return {
            self._ids[place]: {
                "sample": self._samples[place],
                "reason": self._reasons[hit.of] if hit.of < self._references else "near_duplicate",
                "duplicate_of": self._ids[hit.of],
                "similarity": round(hit.similarity, 6),
            }
            for place, hit in gone.items()
        }

    def _shingles(self, pairs: np.ndarray) -> dict[int, np.ndarray]:
        """{place: its shingles, as 32 bits} of the texts in `pairs`, read again from their files."""
        places = np.unique(pairs).tolist()
        wanted = {self._ids[place] for place in places}
        found: dict[str, np.ndarray] = {}
        for file in self._files if wanted else ():
            for batch in read_rows(file, ["record_id", *TEXTS]):
                ids = batch.column("record_id").to_pylist()
                here = [i for i, name in enumerate(ids) if name in wanted and name not in found]
                chosen = batch.take(pa.array(here, pa.int64()))
                for i, text in zip(here, texts_of(chosen), strict=True):
                    found[ids[i]] = np.unique(self._shingler(text).astype(np.uint32))
        return {place: found[self._ids[place]] for place in places}

    def report(self) -> dict[str, Any]:
        """How the search was made, for the manifest."""
        number, width = bands(self.threshold)
        return {
            "threshold": self.threshold,
            "shingle_words": SHINGLE_WORDS,
            "bins": BINS,
            "bands": number,
            "bins_in_a_band": width,
            "references": self._references,
            **self._looked_at,
        }


def texts_of(batch: pa.RecordBatch) -> list[str]:
    """Question, trace and answer of each record as one text."""
    return ["\n".join(values) for values in zip(*(batch.column(name).to_pylist() for name in TEXTS), strict=True)]
