"""A user's questions: what is read, and the one sentence that each bad file gets."""

from __future__ import annotations

import re

import pytest

from showwork.records.ids import question_id
from showwork.records.questions import Question, read_questions

GOOD = """{"id": "a", "question": " Why do leaves fall? ", "answer": ["winter", "cold"], "tags": "plants"}

{"id": "b", "question": "2 + 2?", "answer": "4"}
{"id": "c", "question": "Who?", "answer": null, "tags": ["x", "y"]}"""


def test_questions_are_read_in_their_order(tmp_path):
    (tmp_path / "q.jsonl").write_text(GOOD)
    assert read_questions(tmp_path / "q.jsonl") == [
        Question("a", "Why do leaves fall?", ("winter", "cold"), ("plants",)),
        Question("b", "2 + 2?", ("4",)),
        Question("c", "Who?", (), ("x", "y")),
    ]


def test_without_ids_a_question_is_named_as_held_out_ones_are(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "Why?"}\r\n{"question": "Who?"}\r\n')
    assert [q.id for q in read_questions(tmp_path / "q.jsonl")] == [question_id("Why?"), question_id("Who?")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "q.jsonl: holds 0 questions, expected at least 1"),
        ("\n{'question': 1}", "q.jsonl:2: is not JSON"),
        (b'{"question": "\xff"}', "q.jsonl:1: is not UTF-8"),
        ('["Why?"]', "q.jsonl:1: is no JSON object"),
        ('{"question": "a", "question": "b"}', "q.jsonl:1: has a key twice (question)"),
        ('{"quesion": "Why?"}', "q.jsonl:1: unknown key 'quesion', did you mean 'question'?"),
        ('{"id": "a"}', "q.jsonl:1: question is None, expected text"),
        ('{"question": " "}', "q.jsonl:1: question is ' ', expected text"),
        ('{"question": "Why?", "id": 3}', "q.jsonl:1: id is 3, expected text"),
        ('{"question": "Why?", "answer": [""]}', "q.jsonl:1: answer is [''], expected text or a list of texts"),
        ('{"question": "Why?", "answer": 4}', "q.jsonl:1: answer is 4, expected text or a list of texts"),
        ('{"question": "Why?", "tags": {"a": 1}}', "q.jsonl:1: tags is {'a': 1}, expected text or a list of texts"),
        ('{"id": "a", "question": "A?"}\n{"id": "a", "question": "B?"}', "q.jsonl:2: the id 'a' stands in line 1 too"),
        ('{"question": "Why?"}\n{"question": "why? "}', "q.jsonl:2: the same question stands in line 1 too"),
        ('{"id": "a", "question": "A?"}\n{"question": "B?"}', "q.jsonl:2: has no id though line 1 has one"),
        ('{"question": "B?"}\n{"id": "a", "question": "A?"}', "q.jsonl:1: has no id though line 2 has one"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "q.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        read_questions(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="q.jsonl: no such file"):
        read_questions(tmp_path / "q.jsonl")
