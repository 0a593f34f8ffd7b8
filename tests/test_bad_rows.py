"""Rows that no source should hold, through sample, standardize, mix and pack: each has a fate with a reason, none is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import test_pack
from data_stages import counts, download, jsonl, rows_of, run_heldout, run_mix, run_sample, run_standardize

MEGABYTE = 1_000_000
SHARE = 0.2
GOOD = [
    {"prompt": f"What follows number {i}, and why?", "response": f"<think>Count on from {i}.</think>{i + 1}"}
    for i in range(40)
]
LARGE = ["word " * (MEGABYTE // 5) + "why?", "a" * MEGABYTE]


def standardized(folder: Path, rows: list[dict[str, Any]], source: str = "src") -> Path:
    given = download(folder, [jsonl(folder / f"{source}.jsonl", rows)], source)
    return run_standardize(folder, run_sample(folder, given, source, source=source), source, source=source)


def mixed(folder: Path, records: list[Path], **settings: Any) -> Path:
    held = run_heldout(folder, records, share=SHARE, prompts=1)
    licences = {r.stem: {"license": "apache-2.0", "note": None, "hub": None} for r in records}
    return run_mix(folder, records, held, share=SHARE, licenses=licences, **settings)


def test_a_question_of_a_megabyte_is_kept_whole_as_far_as_packing_which_drops_it_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    test_pack.prepare(tmp_path, [])
    rows = [{"prompt": text, "response": "<think>So it is.</think>Yes"} for text in LARGE]
    records = standardized(tmp_path, [*GOOD, *rows])
    kept = {r["source_row"]: r["question"] for r in rows_of(records.with_suffix(".parquet"))}
    assert [kept[40], kept[41]] == LARGE

    manifest = mixed(tmp_path, [records], name="s")
    gone = {r["source_row"]: r["reason"] for r in rows_of(manifest.with_name("removed.parquet"))}
    assert test_pack.run() == 0
    packed = {r["source_row"]: r["reason"] for r in rows_of(tmp_path / "results/pack/s/ledger.parquet")}
    assert sorted([*gone, *packed]) == list(range(42))
    assert {number: reason for number, reason in packed.items() if reason} == {
        40: "question_too_long",
        41: "question_too_long",
    }


def test_texts_of_nothing_but_control_tokens_are_rejected_each_with_its_reason(tmp_path: Path) -> None:
    nothing = "<end_of_turn>\n <eos><bos></answer>"
    rows = [
        {"prompt": nothing, "response": "<think>It is so.</think>Yes"},
        {"prompt": "Why?", "response": f"<think>{nothing}</think>Yes"},
        {"prompt": "Why?", "response": f"<think>It is so.</think>{nothing}"},
    ]
    records = standardized(tmp_path, [*GOOD, *rows])
    rejected = rows_of(records.with_suffix(".rejected.parquet"))
    assert [(r["source_row"], r["reason"]) for r in rejected] == [(n, "only_control_tokens") for n in (40, 41, 42)]
    assert counts(records)["records"] == 40


def test_two_sources_with_the_same_rows_train_each_row_once_and_name_what_each_other_repeats(tmp_path: Path) -> None:
    first, second = standardized(tmp_path, GOOD, "a"), standardized(tmp_path, [*GOOD[::-1], GOOD[0]], "b")
    manifest = mixed(tmp_path, [first, second], duplicates={"near": False, "threshold": 0.5, "decontamination": None})
    train, gone = rows_of(manifest.with_name("train.parquet")), rows_of(manifest.with_name("removed.parquet"))
    assert {r["source"] for r in train} == {"a"}
    assert len({r["record_id"] for r in train}) == len(train) >= 25
    assert len(train) + len(gone) == 81 == counts(manifest)["records"]
    reasons = {source: Counter(r["reason"] for r in gone if r["source"] == source) for source in ("a", "b")}
    held_out = 40 - len(train)
    assert reasons["a"] == {"held_out": held_out}
    assert reasons["b"]["same_record"] + reasons["b"]["held_out"] == 41
    trained = {r["record_id"] for r in train}
    repeats = [r for r in gone if r["reason"] == "same_record"]
    assert all(r["duplicate_of"] == r["record_id"] in trained for r in repeats)
