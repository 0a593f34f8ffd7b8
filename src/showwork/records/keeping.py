"""Which records of a session stay: each is kept or removed with a reason, and names what it repeats.

Takes:  records in the order of the session's samples; the held-out share and prompts; the user's own questions; the ids of
        earlier sessions.
Leaves: for each record "" (it stays) or a reason of REASONS and the id of the record that it repeats.

The first of two equals stays: earlier sessions before this one, then samples in the order of the session, then their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xxhash import xxh3_128

from showwork.records.split import boundary

REASONS = {
    "held_out": "its question is held out for evaluation",
    "own_question": "it asks a question of your own (evaluate.questions)",
    "earlier_row": "an earlier session trained on the same row",
    "earlier_record": "an earlier session trained on the same record",
    "earlier_question": "an earlier session trained on the same question",
    "same_record": "question, trace and answer are those of a record before it",
    "same_question_and_answer": "question and answer are those of a record before it, with another trace",
    "contaminated": "it holds a good part of a held-out prompt's question, or of one of your own (evaluate.questions)",
    "near_held_out": "it is nearly the same text as a held-out prompt",
    "near_earlier": "it is nearly the same text as a record of an earlier session",
    "near_duplicate": "it is nearly the same text as a record before it",
}
"""Why a record is removed from a mix, in the order in which it is asked."""


class Earlier:
    """What earlier sessions trained on: three kinds of ids, each with the record that holds it."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.questions: dict[str, str] = {}

    def add(self, rows: Iterable[str], records: Iterable[str], questions: Iterable[str]) -> None:
        """Take the ids of some records of an earlier session."""
        for row, record, question in zip(rows, records, questions, strict=True):
            self.rows.setdefault(row, record)
            self.records.setdefault(record, record)
            self.questions.setdefault(question, record)


class Exact:
    """The rules that need no look at another text: held-out questions, earlier sessions, exact repeats."""

    def __init__(
        self, share: float, prompts: Iterable[str], earlier: Earlier, own: Mapping[str, str] | None = None
    ) -> None:
        """`own` names the user's own questions: {question id: name}."""
        self._own = own or {}
        self._boundary, self._prompts, self._earlier = boundary(share), frozenset(prompts), earlier
        self._records: set[str] = set()
        self._said: dict[bytes, str] = {}

    def __call__(
        self,
        records: Sequence[str],
        questions: Sequence[str],
        rows: Sequence[str],
        answers: Sequence[bytes | memoryview],
    ) -> list[tuple[str, str]]:
        """(reason or "", id of the record that it repeats) for each record of a batch: three ids and the answer's UTF-8."""
        return [self._of(*values) for values in zip(records, questions, rows, answers, strict=True)]

    def _of(self, record: str, question: str, row: str, answer: bytes | memoryview) -> tuple[str, str]:
        if question < self._boundary or question in self._prompts:
            return "held_out", ""
        if question in self._own:
            return "own_question", self._own[question]
        earlier = self._earlier
        if row in earlier.rows:
            return "earlier_row", earlier.rows[row]
        if record in earlier.records:
            return "earlier_record", earlier.records[record]
        if question in earlier.questions:
            return "earlier_question", earlier.questions[question]
        if record in self._records:
            return "same_record", record
        said = xxh3_128(question.encode())
        said.update(answer)
        first = self._said.setdefault(said.digest(), record)
        if first != record:
            return "same_question_and_answer", first
        self._records.add(record)
        return "", ""
