"""The mix: records in = train + removed; nothing twice, nothing held out, nothing an earlier session saw, and a proof of it."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from data_stages import Failed, counts, download, jsonl, rows_of, run_heldout, run_mix, run_sample, run_standardize

from showwork.foundation.manifest import read_manifest
from showwork.records.ids import question_id
from showwork.records.split import is_held_out

NAMES = [
    "Ana",
    "Bo",
    "Cleo",
    "Di",
    "Eve",
    "Finn",
    "Gus",
    "Hal",
    "Ida",
    "Jo",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Ola",
    "Pia",
    "Quin",
    "Rob",
    "Sue",
    "Tom",
    "Uma",
    "Vic",
    "Wim",
    "Xena",
    "Yan",
    "Zoe",
]
TURNS = {"left": -1, "right": 1, "around": 2}
SIDES = ("north", "east", "south", "west")


def templated(count: int, seed: int) -> list[dict[str, str]]:
    """Rows of a templated world: chains of servants and turns of a walker, as the demo has them."""
    shuffler, made = random.Random(seed), []
    for i in range(count):
        if i % 2:
            chain = shuffler.sample(NAMES, 6)
            facts = [f"{a} serves {b}." for a, b in itertools.pairwise(chain)]
            trace = " ".join(facts[:3])
            shuffler.shuffle(facts)
            made.append(row(f"{' '.join(facts)} Whom does {chain[0]} serve after three steps?", trace, chain[3]))
        else:
            side, trace, turns = 0, "north.", shuffler.choices(list(TURNS), k=6)
            for number, turn in zip(("One", "Two", "Three", "Four", "Five", "Six"), turns, strict=True):
                side = (side + TURNS[turn]) % 4
                trace += f" {number}: {turn}, now {SIDES[side]}."
            walker = shuffler.choice(NAMES)
            made.append(
                row(f"{walker} looks north and turns {', '.join(turns)}. Where does {walker} look?", trace, SIDES[side])
            )
    return made


def prose(count: int, seed: int, length: int = 60) -> list[dict[str, str]]:
    """Rows of random words: no two are alike."""
    shuffler = random.Random(seed)
    words = [f"word{i}" for i in range(2000)]
    return [
        row(
            " ".join(shuffler.choices(words, k=12)), " ".join(shuffler.choices(words, k=length)), shuffler.choice(words)
        )
        for _ in range(count)
    ]


def row(question: str, trace: str, answer: str) -> dict[str, str]:
    return {"prompt": question, "response": f"<think>{trace}</think>{answer}"}


def standardized(tmp_path: Path, name: str, rows: list[dict[str, str]]) -> Path:
    sample = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / f"{name}.jsonl", rows)], name), name)
    return run_standardize(tmp_path, sample, name)


def train(manifest: Path) -> list[dict[str, Any]]:
    return rows_of(manifest.with_name("train.parquet"))


def removed(manifest: Path) -> list[dict[str, Any]]:
    return rows_of(manifest.with_name("removed.parquet"))


def held(tmp_path: Path, records: list[Path]) -> Path:
    return run_heldout(tmp_path, records, share=0.05, prompts=1)


def test_records_in_are_trained_on_or_removed_with_a_reason(tmp_path: Path) -> None:
    rows = prose(200, 1)
    asked = [i for i, r in enumerate(rows) if not is_held_out(question_id(r["prompt"]), 0.05)]
    same, nearly, other = asked[3], asked[5], asked[6]
    near = {**rows[nearly], "prompt": rows[nearly]["prompt"] + " please"}
    answer = rows[other]["response"].split("</think>")[1]
    other_trace = row(rows[other]["prompt"], "Quite another trace of its own.", answer)
    a, b = (
        standardized(tmp_path, "a", rows),
        standardized(tmp_path, "b", [rows[same], near, other_trace, *prose(100, 2)]),
    )
    manifest = run_mix(tmp_path, [a, b], held(tmp_path, [a]))
    said, out, kept = counts(manifest), removed(manifest), train(manifest)
    assert said["records"] == 303 == len(kept) + len(out)
    assert said["train"] == len(kept)
    reasons = {r: [o for o in out if o["reason"] == r] for r in said["removed"]}
    assert set(reasons) == {"held_out", "same_record", "same_question_and_answer", "near_duplicate"}
    assert {name: len(found) for name, found in reasons.items()} == said["removed"]
    first = {r["source_row"]: r["record_id"] for r in rows_of(a.with_suffix(".parquet"))}
    for reason, original in (("same_record", same), ("same_question_and_answer", other), ("near_duplicate", nearly)):
        assert [(o["sample"], o["duplicate_of"]) for o in reasons[reason]] == [("b", first[original])]
    assert 0.85 <= reasons["near_duplicate"][0]["similarity"] < 1
    assert sum(said["samples"]["b"]["removed"].values()) == 103 - said["samples"]["b"]["train"]


def test_no_held_out_question_is_trained_on_and_no_repeat_of_a_prompt(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", prose(300, 3))
    prompts = held(tmp_path, [a])
    prompt = rows_of(prompts.with_suffix(".parquet"))[0]
    repeat = row(f"{prompt['question']} please", prompt["trace"], prompt["answer"])
    shouted = row(prompt["question"].upper(), "A trace of its own.", "x")
    b = standardized(tmp_path, "b", [repeat, shouted, *prose(20, 4)])
    manifest = run_mix(tmp_path, [a, b], prompts)
    assert not any(is_held_out(r["question_id"], 0.05) for r in train(manifest))
    found = {o["source_row"]: o["reason"] for o in removed(manifest) if o["sample"] == "b" and o["source_row"] < 2}
    assert found[1] == "held_out"
    assert found[0] in {"contaminated", "held_out"}


def test_a_later_session_shares_no_row_record_or_question_with_an_earlier_one(tmp_path: Path) -> None:
    rows = prose(150, 5)
    a = standardized(tmp_path, "a", rows)
    prompts = held(tmp_path, [a])
    first = run_mix(tmp_path, [a], prompts)
    again = [
        rows[0],
        row(rows[1]["prompt"].upper(), "Another trace.", "y"),
        {**rows[2], "prompt": rows[2]["prompt"] + " now"},
    ]
    b = standardized(tmp_path, "b", [*again, *prose(60, 6)])
    second = run_mix(tmp_path, [b], prompts, [first], name="session2")
    found = {o["source_row"]: o["reason"] for o in removed(second) if o["source_row"] < 3}
    assert found == {0: "earlier_row", 1: "earlier_question", 2: "near_earlier"}
    for kind in ("row_id", "record_id", "question_id"):
        assert not {r[kind] for r in train(first)} & {r[kind] for r in train(second)}


def test_the_certificate_can_be_checked_from_the_files_alone(tmp_path: Path) -> None:
    a, b = standardized(tmp_path, "a", prose(160, 7)), standardized(tmp_path, "b", prose(80, 8))
    prompts = held(tmp_path, [a])
    first = run_mix(tmp_path, [a], prompts)
    second = run_mix(tmp_path, [b], prompts, [first], name="session2")
    proof = json.loads(second.with_name("disjoint.json").read_text())
    for kind in ("row_id", "record_id", "question_id"):
        ids = sorted({r[kind] for r in train(second)})
        digest = hashlib.sha256("".join(f"{i}\n" for i in ids).encode()).hexdigest()
        assert proof["train"][kind] == {"size": len(ids), "sha256": digest}
        assert proof["earlier"]["session1"][kind]["shared"] == 0
        assert proof["earlier"]["session1"][kind]["size"] == len({r[kind] for r in train(first)})
    assert proof["held_out"]["shared_prompts"] == proof["held_out"]["questions_below_the_share"] == 0
    assert proof["removed"] == counts(second)["removed"]


def test_at_least_nine_in_ten_clean_rows_of_a_templated_world_survive(tmp_path: Path) -> None:
    rows = templated(1500, 9)
    distinct = len({r["prompt"] for r in rows})
    a = standardized(tmp_path, "a", rows)
    manifest = run_mix(tmp_path, [a], held(tmp_path, [a]))
    near = counts(manifest)["removed"].get("near_duplicate", 0)
    assert near <= 0.1 * distinct


def test_the_order_follows_from_the_seed_and_not_from_the_samples(tmp_path: Path) -> None:
    a, b = standardized(tmp_path, "a", prose(150, 10)), standardized(tmp_path, "b", prose(60, 11))
    prompts = held(tmp_path, [a])
    ids = [r["record_id"] for r in train(run_mix(tmp_path, [a, b], prompts))]
    assert [r["record_id"] for r in train(run_mix(tmp_path, [b, a], prompts))] == ids
    other = [r["record_id"] for r in train(run_mix(tmp_path, [a, b], prompts, seed=1))]
    assert sorted(other) == sorted(ids)
    assert other != ids


def test_near_duplicates_can_be_left_in(tmp_path: Path) -> None:
    rows = prose(150, 12)
    rows.append({**rows[0], "prompt": rows[0]["prompt"] + " now"})
    a = standardized(tmp_path, "a", rows)
    off: dict[str, Any] = {"duplicates": {"near": False, "threshold": None, "decontamination": None}}
    prompts = held(tmp_path, [a])
    assert "near_duplicate" not in counts(run_mix(tmp_path, [a], prompts, **off))["removed"]
    assert json.loads(run_mix(tmp_path, [a], prompts, **off).read_text())["duplicates"] is None


def test_the_provenance_tree_is_printed_and_kept(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", [*prose(150, 13), {"prompt": "x", "response": "no tags"}])
    manifest = json.loads(run_mix(tmp_path, [a], held(tmp_path, [a])).read_text())
    said = manifest["counts"]["train"]
    out = 150 - said
    assert manifest["tree"] == [
        f"session1: {said} records",
        f"└─ a  all of src: {said} records in the mix, 100.0%",
        "     sample       151 of 151 rows",
        "     standardize  150 of 151; no_open 1",
        f"     mix          {said} of 150; held_out {out}",
    ]


def test_a_licence_that_is_not_allowed_is_one_sentence(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", prose(150, 14))
    entry = {"license": "cc-by-nc-4.0", "note": None, "hub": "x/y"}
    with pytest.raises(Failed) as error:
        run_mix(tmp_path, [a], held(tmp_path, [a]), licenses={"src": entry}, allowed=["apache-2.0", "mit"])
    assert (
        "error: mix 'session1': source 'src' is under 'cc-by-nc-4.0' but mix.licenses allows apache-2.0, mit; add cc-by-nc-4.0 "
        "there if you may use it, or leave its samples out"
    ) in str(error.value)


def test_a_second_statement_on_a_licence_is_said(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", prose(150, 15))
    entry = {"license": "apache-2.0", "note": "The authors' repository states non-commercial use.", "hub": "x/y"}
    prompts = held(tmp_path, [a])
    run_mix(tmp_path, [a], prompts, licenses={"src": entry})
    log = (tmp_path / "logs/mix.log").read_text()
    assert "note on the licence of src (apache-2.0): The authors' repository states non-commercial use." in log


def test_a_mix_of_nothing_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", prose(150, 16))
    prompts = held(tmp_path, [a])
    first = run_mix(tmp_path, [a], prompts)
    with pytest.raises(
        Failed, match=r"mix 'session2': none of 150 records is left, earlier_row \d+, held_out \d+; give the"
    ):
        run_mix(tmp_path, [a], prompts, [first], name="session2")
    assert not list((tmp_path / "results/mix/session2").iterdir())


def test_the_same_mix_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", templated(300, 17))
    prompts = held(tmp_path, [a])
    files = [{p.name: p.read_bytes() for p in run_mix(tmp_path, [a], prompts).parent.iterdir()} for _ in range(2)]
    assert files[0] == files[1]


def test_a_record_that_holds_an_evaluation_question_goes_with_the_prompt_named(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", prose(300, 3))
    prompts = held(tmp_path, [a])
    prompt = next(p for p in rows_of(prompts.with_suffix(".parquet")) if len(p["question"].split()) >= 12)
    told = row("What did they ask me?", f"They asked: {prompt['question'].upper()} And I did not know.", "That.")
    repeat = row("What did they ask me then?", told["response"].split("</think>")[0][7:], "That was it, no more.")
    b = standardized(tmp_path, "b", [told, repeat, *prose(20, 4)])
    manifest = run_mix(tmp_path, [a, b], prompts)
    gone = [o for o in removed(manifest) if o["sample"] == "b" and o["source_row"] < 2]
    assert [(o["reason"], o["duplicate_of"], o["similarity"]) for o in gone] == [
        ("contaminated", prompt["record_id"], 1.0)
    ] * 2
    assert read_manifest(manifest)["decontamination"]["prompts"] == len(rows_of(prompts.with_suffix(".parquet")))
    off: dict[str, Any] = {"duplicates": {"near": False, "threshold": None, "decontamination": None}}
    assert "contaminated" not in counts(run_mix(tmp_path, [a, b], prompts, **off))["removed"]


@pytest.mark.parametrize("decontamination", [None, 0.5])
def test_a_question_of_your_own_is_not_trained_on(decontamination: float | None, tmp_path: Path) -> None:
    rows = prose(100, 11)
    free = [i for i, r in enumerate(rows) if not is_held_out(question_id(r["prompt"]), 0.05)]
    asked, inside, short = rows[free[0]]["prompt"], " ".join(f"exam{i}" for i in range(12)), "Why <eos> so?"
    rows[free[1]] = {**rows[free[1]], "response": f"<think>I was told: {inside}</think> so"}
    rows[free[2]] = {**rows[free[2]], "prompt": short.replace("Why", "WHY")}
    exam = [
        {"id": "one", "question": asked.upper()},
        {"id": "two", "question": inside},
        {"id": "three", "question": short},
    ]
    jsonl(tmp_path / "exam.jsonl", exam)
    a = standardized(tmp_path, "a", rows)
    how = {"near": False, "threshold": None, "decontamination": decontamination}
    given = {"questions": {"exam": str(tmp_path / "exam.jsonl")}, "duplicates": how}
    manifest = run_mix(tmp_path, [a], held(tmp_path, [a]), **given)
    found = {o["source_row"]: (o["reason"], o["duplicate_of"]) for o in removed(manifest)}
    wanted = {free[0]: ("own_question", "exam:one"), free[2]: ("own_question", "exam:three")}
    if decontamination:
        wanted[free[1]] = ("contaminated", "exam:two")
    assert {place: why for place, why in found.items() if why[0] != "held_out"} == wanted
    proof = json.loads(manifest.with_name("disjoint.json").read_text())["own_questions"]
    assert (proof["size"], proof["shared"]) == (3, 0)
    assert len(train(manifest)) == len(rows) - len(found)


def test_a_file_of_questions_that_is_none_stops_the_mix(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", prose(100, 12))
    with pytest.raises(Failed, match="gone.jsonl: no such file"):
        run_mix(tmp_path, [a], held(tmp_path, [a]), questions={"exam": str(tmp_path / "gone.jsonl")})
