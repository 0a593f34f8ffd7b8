"""A user's own questions: one JSON object a line, read strictly or refused with the line and what is wrong there.

Takes:  a .jsonl file.
Leaves: its questions in their order.

    {"id": "leaves", "question": "Why do leaves fall?", "answer": ["winter", "the cold"], "tags": ["plants"]}

`question` alone is needed. `answer` is a reference or a list of references, any of which counts as right. `id` names the
question; either every line has one or none, and then a question is named by its own hash, as held-out questions are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from showwork.records.ids import question_id
from showwork.records.neutralize import neutralize
from showwork.sources.layouts.rows import Bad
from showwork.sources.layouts.strict_json import parse

KEYS = ("id", "question", "answer", "tags")
_WRONG = {
    "bad_utf8": "is not UTF-8",
    "bad_json": "is not JSON",
    "not_an_object": "is no JSON object",
    "duplicate_key": "has a key twice",
    "lone_surrogate": "has half of a character",
}


@dataclass(frozen=True)
class Question:
    """One question. `answers` are references, none where there is nothing to compare with."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def read_questions(path: Path) -> list[Question]:
    """The questions of a file, at least one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is no question, an id that is missing or given twice, no line at all; the line is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected one JSON object with a question on each line")
    found: list[Question] = []
    lines: dict[str, int] = {}
    named: tuple[int, bool] | None = None  # the first line, and whether it has an id
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not raw.strip():
            continue
        where = f"{path}:{number}"
        row = parse(raw)
        if isinstance(row, Bad):
            raise ValueError(
                f'{where}: {_WRONG[row.reason]} ({row.detail}), expected an object such as {{"question": "Why?"}}'
            )
        made = _question(row, where)
        named = named or (number, "id" in row)
        if named[1] != ("id" in row):
            missing, given = (number, named[0]) if named[1] else (named[0], number)
            raise ValueError(
                f"{path}:{missing}: has no id though line {given} has one; give every line an id of its own, or none"
            )
        if made.id in lines:
            what = f"the id {made.id!r}" if named[1] else "the same question"
            raise ValueError(f"{where}: {what} stands in line {lines[made.id]} too; keep one of them")
        lines[made.id] = number
        found.append(made)
    if not found:
        raise ValueError(f"{path}: holds 0 questions, expected at least 1")
    return found


def all_questions(files: Mapping[str, str]) -> Iterator[tuple[str, Question]]:
    """(name of its file, question) of every file of `evaluate.questions`, by name; texts harmless, as those of every source.

    Raises: as `read_questions`.
    """
    for name, path in sorted(files.items()):
        for question in read_questions(Path(path)):
            yield name, replace(question, question=neutralize(question.question)[0])


def _question(row: Mapping[str, Any], where: str) -> Question:
    unknown = [key for key in row if key not in KEYS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], KEYS, n=1, cutoff=0.6)
        raise ValueError(
            f"{where}: unknown key {unknown[0]!r}{f', did you mean {near[0]!r}?' if near else ''}; "
            f"expected {', '.join(KEYS)}"
        )
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}: question is {question!r}, expected text")
    name = row.get("id", question_id(question))
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: id is {name!r}, expected text")
    return Question(name, question.strip(), _texts(row, "answer", where), _texts(row, "tags", where))


def _texts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key)
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or any(not isinstance(text, str) or not text.strip() for text in texts):
        raise ValueError(
            f"{where}: {key} is {value!r}, expected text or a list of texts; leave it out where there is none"
        )
    return tuple(texts)
