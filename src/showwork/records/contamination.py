"""Decontamination: which training records hold an evaluation question, whole or in good part.

Takes:  the evaluation questions, then records, and the share of a question from which a record counts as contaminated.
Leaves: {record id: the prompt whose question it holds, and how much of it}; what was looked at, for the manifest.

A question is the set of its runs of `RUN_WORDS` words; a record holds the runs that its question, trace or answer has. A run
that more than `COMMON` records have is a phrase or part of a template and counts less, as COMMON over their number; so a record
that shares a prompt's template and not its question is left alone, while a question that many records hold whole is found in
all of them. A question of fewer words is told by the exact rules alone (records/keeping.py), and counted.

Source: n-gram overlap as in the reports of GPT-3 (13 words) and PaLM (8 words, 70 %).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from showwork.records.words import Hashed, hashed, runs

RUN_WORDS = 8
COMMON = 10
"""A run of more records than this is a phrase or part of a template."""
_SIEVE_BITS = 20


class Held(NamedTuple):
    """The prompt whose question a record holds, and the share of it."""

    prompt: str
    share: float


class Contamination:
    """Name the questions first, add records, then ask what was found."""

    def __init__(self, share: float, prompts: Iterable[tuple[str, str]]) -> None:
        """`prompts` are (name, question)."""
        self.share = share
        named = list(prompts)
        self._names = [name for name, _ in named]
        found = runs(hashed([question for _, question in named]), RUN_WORDS, whole=False)
        self._runs = np.unique(found.hashes)
        self._pairs = np.unique(
            np.stack([np.searchsorted(self._runs, found.hashes), found.texts], axis=1).reshape(-1, 2), axis=0
        )
        """int64[pairs, 2], sorted: (run, prompt whose question has it)."""
        self._sieve = np.zeros(1 << _SIEVE_BITS, bool)
        self._sieve[self._slot(self._runs)] = True
        self._ids: list[str] = []
        self._hits: list[np.ndarray] = []
        """int64[hits, 2]: (place of the record in `_ids`, run)."""
        self._looked_at = 0

    @staticmethod
    def _slot(hashes: np.ndarray) -> np.ndarray:
        return np.asarray(hashes >> np.uint64(64 - _SIEVE_BITS))

    def add(self, ids: Sequence[str], words: Hashed) -> list[str]:
        """Take records: their ids, the words of question, trace and answer. The ids of those that hold any run."""
        self._looked_at += len(ids)
        found = runs(words, RUN_WORDS, whole=False)
        maybe = np.flatnonzero(self._sieve[self._slot(found.hashes)])
        if not len(maybe):
            return []
        place = np.minimum(np.searchsorted(self._runs, found.hashes[maybe]), len(self._runs) - 1)
        real = self._runs[place] == found.hashes[maybe]
        records, texts = np.unique(found.texts[maybe[real]], return_inverse=True)
        hits = np.stack([len(self._ids) + texts, place[real]], axis=1)
        self._hits.append(np.unique(hits, axis=0))
        holders = [ids[i] for i in records.tolist()]
        self._ids += holders
        return holders

    def found(self) -> dict[str, Held]:
        """{record id: the prompt of which it holds most} of every contaminated record."""
        if not self._hits:
            return {}
        hits = np.concatenate(self._hits)
        weight = np.minimum(1.0, COMMON / np.maximum(np.bincount(hits[:, 1], minlength=len(self._runs)), 1))
        whole = np.bincount(self._pairs[:, 1], weight[self._pairs[:, 0]], minlength=len(self._names))
        first = np.searchsorted(self._pairs[:, 0], np.arange(len(self._runs) + 1))
        many = np.diff(first)[hits[:, 1]]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        prompts = self._pairs[np.repeat(first[hits[:, 1]], many) + within, 1]
        cells, cell = np.unique(np.repeat(hits[:, 0], many) * len(self._names) + prompts, return_inverse=True)
        held = np.bincount(cell, np.repeat(weight[hits[:, 1]], many)) / whole[cells % len(self._names)]
        gone: dict[str, Held] = {}
        for at in np.lexsort((cells, -held)).tolist():
            if held[at] < self.share - 1e-9:
                break
            record, prompt = divmod(int(cells[at]), len(self._names))
            gone.setdefault(self._ids[record], Held(self._names[prompt], round(min(float(held[at]), 1.0), 6)))
        return gone

    def report(self) -> dict[str, Any]:
        """How the search was made, for the manifest."""
        return {
            "share": self.share,
            "run_words": RUN_WORDS,
            "prompts": len(self._names),
            "prompts_of_fewer_words": len(self._names) - len(np.unique(self._pairs[:, 1])),
            "records_looked_at": self._looked_at,
            "records_with_a_run": len(self._ids),
        }
