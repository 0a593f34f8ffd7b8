"""JSON that is nested too deeply is a typed reason or one sentence in every reader, and the bound is the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from showwork.foundation.files import read_json
from showwork.foundation.nesting import LEVELS, loads, too_deep
from showwork.judging.rubric import scores
from showwork.records.parse import Rejected
from showwork.records.paths import compile_path
from showwork.records.questions import read_questions
from showwork.sources.layouts import Bad, open_source

DEPTHS = [LEVELS + 1, 960, 1000, 100_000]


def nested(depth: int, kind: str = "[") -> str:
    return "[" * depth + "]" * depth if kind == "[" else '{"a":' * depth + "1" + "}" * depth


def called_from(depth: int, read):  # type: ignore[no-untyped-def]
    """What `read` gives when it is called that many calls down."""
    return read() if not depth else called_from(depth - 1, read)


@pytest.mark.parametrize("kind", "[{")
def test_the_bound_is_a_number_of_levels_and_not_of_brackets(kind: str) -> None:
    assert not too_deep(nested(LEVELS, kind))
    assert too_deep(nested(LEVELS + 1, kind))
    assert too_deep(nested(LEVELS + 1, kind).encode())
    assert not too_deep("[" + ",".join(["[1]"] * 2000) + "]")
    assert not too_deep(json.dumps({"a": nested(2000, kind), "é\\": '"' + nested(600)}))
    assert loads(nested(LEVELS, kind)) == json.loads(nested(LEVELS, kind))


@pytest.mark.parametrize("kind", "[{")
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("layout", ["jsonl", "json_object"])
@pytest.mark.parametrize("columns", [None, ("q", "r"), ("q",)])
def test_a_row_that_is_nested_too_deeply_costs_one_row(
    columns: tuple[str, ...] | None, layout: str, depth: int, kind: str, tmp_path: Path
) -> None:
    good, deep = '{"q": "a", "r": "b"}', f'{{"q": "a", "r": {nested(depth - 1, kind)}}}'
    path = tmp_path / "rows"
    path.write_text(f"{good}\n{deep}\n{good}\n" if layout == "jsonl" else f'{{"1": {good}, "2": {deep}, "3": {good}}}')

    def read() -> list[object]:
        rows = (row for _, row in open_source(layout, [path], columns=columns).rows())
        return [(row.reason, row.detail) if isinstance(row, Bad) else row["q"] for row in rows]

    assert read() == ["a", ("bad_json", f"nested more than {LEVELS} levels deep"), "a"]
    assert called_from(300, read) == read()


@pytest.mark.parametrize("kind", "[{")
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_other_reader_says_so_in_a_sentence(depth: int, kind: str, tmp_path: Path) -> None:
    text, path = nested(depth, kind), tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.json: expected JSON, got something else \(nested more than 500 levels"):
        read_json(path)
    path.write_text(f'{{"question": "Why?", "tags": {text}}}\n')
    with pytest.raises(ValueError, match=r"x\.json:1: is not JSON \(nested more than 500 levels"):
        read_questions(path)
    with pytest.raises(ValueError, match="the reply is not JSON .nested more than 500 levels"):
        scores(f'{{"why": {text}}}')
    for steps in ("messages[0]", "messages.a", "messages[role=user].content"):
        found = compile_path(steps)({"messages": text})
        assert isinstance(found, Rejected)
        assert found.reason == "bad_nested_json"
