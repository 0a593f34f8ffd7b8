"""The world: every answer follows from the facts, steps are found without doubt, and no two questions are nearly the same."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from showwork.demo.world import DAYS, DIRECTIONS, FAMILIES, MOVES, NUMBERS, ORDINALS, make_puzzle, remark
from showwork.records.duplicates import near_duplicates
from showwork.records.language import foreign
from showwork.records.loops import find_loop


def solved(family: str, question: str) -> str:
    """The answer by a solver that knows nothing of how questions are made."""
    sentences = [s.strip() for s in re.split(r"[.?]", question) if s.strip()]
    if family == "lines":
        upward = {m[1]: m[2] for s in sentences if (m := re.fullmatch(r"(\w+) \w+s (\w+)", s))}
        asked = re.search(
            r"Who is (\w+) up from (\w+)|Start at (\w+) and go (\w+) up|(\w+) steps up from (\w+)", question
        )
        first, second = (word for word in asked.groups() if word)
        number, name = (second, first) if asked[3] else (first, second)
        for _ in range(NUMBERS.index(number) + 1):
            name = upward[name]
        return name
    if family == "swaps":
        holder = {m[1]: m[2] for s in sentences if (m := re.fullmatch(r"(\w+): (\w+)", s))}
        for sentence in sentences:
            if m := re.fullmatch(r"\w+: (\w+) and (\w+) \w+", sentence):
                holder = {thing: {m[1]: m[2], m[2]: m[1]}.get(name, name) for thing, name in holder.items()}
        return next(name for thing, name in holder.items() if re.search(rf"the {thing}\b", question))
    if family == "turns":
        way = DIRECTIONS.index(re.search(r"faces (\w+)\.", question)[1])
        turns = re.findall(r"(?:" + "|".join(ORDINALS) + r"): (\w+)\.", question)
        return DIRECTIONS[(way + sum(MOVES[turn] for turn in turns)) % 4]
    if family == "kinds":
        upward = {m[1]: m[2] for s in sentences if (m := re.fullmatch(r"(\w+) are (\w+)", s))}
        name = next(word for word in re.findall(r"\w+", sentences[-1]) if word in upward)
        while name in upward:
            name = upward[name]
        return name
    day = DAYS.index(re.search(r"on (\w+day)\.", question)[1])
    moves = re.findall(r": (\w+) days? (later|earlier)\.", question)
    return DAYS[(day + sum((NUMBERS.index(n) + 1) * (1 if to == "later" else -1) for n, to in moves)) % 7]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_answer_follows_from_the_facts(family: str) -> None:
    rng = Random(1)
    for _ in range(100):
        puzzle = make_puzzle(rng, family)
        assert puzzle.answer == solved(family, puzzle.question)
        assert puzzle.trace.endswith(f"So {puzzle.answer}.")
        assert len(puzzle.answer.split()) == 1


@pytest.mark.parametrize("family", ["lines", "swaps", "kinds"])
def test_what_a_step_copies_stands_behind_one_key_alone(family: str) -> None:
    """Two words in a row, `Mia and` or `dax are`, stand once among the facts where a step must find what follows them."""
    rng = Random(2)
    for _ in range(100):
        puzzle = make_puzzle(rng, family)
        steps = re.findall(r": (\w+) (\w+) (\w+)", puzzle.trace)
        for first, second, third in steps:
            assert re.findall(rf"\b{first} {second} (\w+)", puzzle.question) == [third]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_remark_repeats_the_wording_of_a_fact(family: str) -> None:
    rng = Random(3)
    for _ in range(50):
        scene = FAMILIES[family](rng)
        free, fixed = remark(rng, scene)
        assert re.fullmatch(r"Begin with [\w: ]+\. \w+:", free)
        copied = re.split(r",|\.", fixed)[0].strip()
        assert any(copied in fact for fact in scene.facts)


def test_no_answer_is_so_common_that_guessing_pays() -> None:
    rng = Random(4)
    for family in FAMILIES:
        answers = Counter(make_puzzle(rng, family).answer for _ in range(400))
        assert max(answers.values()) / 400 < 0.35, family


def test_nine_in_ten_puzzles_survive_the_near_duplicate_threshold() -> None:
    rng, gone = Random(5), 0
    for family in ("turns", "kinds"):
        puzzles = [make_puzzle(rng, family) for _ in range(150)]
        gone += len(near_duplicates([f"{p.question} {p.trace} {p.answer}" for p in puzzles], 0.5))
    assert gone <= 0.1 * 300


def test_filters_find_nothing_to_say_against_the_world() -> None:
    rng = Random(6)
    puzzles = [make_puzzle(rng) for _ in range(200)]
    assert [p for p in puzzles if foreign(p.question, p.trace, p.answer) or find_loop(p.trace)] == []
