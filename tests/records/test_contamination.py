"""Decontamination: a record that holds a good part of an evaluation question is found, one that shares its template is not."""

from __future__ import annotations

import random

import pytest

from showwork.records.contamination import COMMON, RUN_WORDS, Contamination, Held
from showwork.records.words import hashed

WORDS = [f"w{i}" for i in range(2000)]


def words_of(shuffler: random.Random, count: int) -> str:
    return " ".join(shuffler.choices(WORDS, k=count))


def found(share: float, prompts: list[str], records: list[str], batch: int = 7) -> dict[str, Held]:
    search = Contamination(share, [(f"p{i}", q) for i, q in enumerate(prompts)])
    for start in range(0, len(records), batch):
        part = records[start : start + batch]
        search.add([f"r{start + i}" for i in range(len(part))], hashed(part))
    return search.found()


def test_a_question_is_found_wherever_a_record_holds_it_and_whatever_its_case_and_punctuation() -> None:
    shuffler = random.Random(1)
    prompts = [words_of(shuffler, 30) for _ in range(20)]
    records = [words_of(shuffler, 200) for _ in range(40)]
    records[3] += " " + prompts[5]
    records[17] = words_of(shuffler, 9) + "\n" + ", ".join(prompts[6].upper().split()) + "?! " + words_of(shuffler, 50)
    assert found(0.5, prompts, records) == {"r3": Held("p5", 1.0), "r17": Held("p6", 1.0)}


@pytest.mark.parametrize(("kept", "is_found"), [(12, False), (26, True)])
def test_the_share_of_the_question_decides(kept: int, is_found: bool) -> None:
    shuffler = random.Random(2)
    prompt = words_of(shuffler, 40)
    record = " ".join([*prompt.split()[:kept], *words_of(shuffler, 100).split()])
    hit = found(0.5, [prompt], [record])
    assert bool(hit) == is_found
    if is_found:
        assert hit["r0"].share == pytest.approx((kept - RUN_WORDS + 1) / (40 - RUN_WORDS + 1), abs=1e-6)


def test_a_template_is_no_question_but_a_question_in_many_records_is_one() -> None:
    shuffler = random.Random(3)
    template = words_of(shuffler, 40)
    prompts = [f"{template} {words_of(shuffler, 25)}" for _ in range(5)]
    records = [f"{template} {words_of(shuffler, 25)}" for _ in range(20 * COMMON)]
    assert found(0.5, prompts, records) == {}
    copied = found(0.5, prompts, [prompts[2]] * (4 * COMMON) + records)
    assert copied == {f"r{i}": Held("p2", 1.0) for i in range(4 * COMMON)}


def test_a_record_names_the_prompt_of_which_it_holds_most() -> None:
    shuffler = random.Random(4)
    one, other = words_of(shuffler, 30), words_of(shuffler, 30)
    record = " ".join([*one.split()[:25], *other.split()])
    assert found(0.5, [one, other], [record]) == {"r0": Held("p1", 1.0)}


def test_a_question_of_few_words_is_left_to_the_exact_rules_and_counted() -> None:
    search = Contamination(0.5, [("short", "What is love?"), ("long", " ".join(WORDS[:12])), ("none", "")])
    assert search.add(["r"], hashed(["What is love? What is love? " * 5])) == []
    assert search.found() == {}
    told = search.report()
    assert (told["prompts"], told["prompts_of_fewer_words"], told["records_looked_at"]) == (3, 2, 1)


def test_no_prompts_and_no_records_are_no_error() -> None:
    search = Contamination(0.5, [])
    search.add(["r"], hashed(["a b c d e f g h i j"]))
    search.add([], hashed([]))
    assert search.found() == {}
