"""The held-out prompts: by hash of the question alone, the same from any order of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_stages import Failed, counts, download, jsonl, rows_of, run_heldout, run_sample, run_standardize

from showwork.records.split import is_held_out


def standardized(tmp_path: Path, name: str, questions: list[str]) -> Path:
    rows = [{"prompt": q, "response": f"<think>It is {q}, so.</think>{q} {name}"} for q in questions]
    sample = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / f"{name}.jsonl", rows)], name), name)
    return run_standardize(tmp_path, sample, name)


def test_prompts_are_held_out_questions_each_once_whatever_the_order_of_samples(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", [f"question {i}" for i in range(300)])
    b = standardized(tmp_path, "b", [f"QUESTION  {i}" for i in range(200, 500)])
    settings: dict[str, Any] = {"share": 0.1, "prompts": 20}
    found = rows_of(run_heldout(tmp_path, [a, b], **settings).with_suffix(".parquet"))
    assert len({row["prompt_id"] for row in found}) == 20
    assert all(is_held_out(row["prompt_id"], 0.1) for row in found)
    assert rows_of(run_heldout(tmp_path, [b, a], **settings).with_suffix(".parquet")) == found
    more = rows_of(run_heldout(tmp_path, [a, b], **{**settings, "prompts": 25}).with_suffix(".parquet"))
    assert more[:20] == found
    said = counts(tmp_path / "results/heldout/prompts.json")
    assert said["questions"] == 500
    assert said["by_source"] == {"src": 25}


def test_another_seed_asks_other_questions(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", [f"question {i}" for i in range(300)])
    ids = [
        {
            row["prompt_id"]
            for row in rows_of(run_heldout(tmp_path, [a], share=0.2, prompts=10, seed=s).with_suffix(".parquet"))
        }
        for s in (1, 2)
    ]
    assert ids[0] != ids[1]


def test_too_few_held_out_questions_are_one_sentence_with_two_ways_out(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", [f"question {i}" for i in range(300)])
    with pytest.raises(Failed) as error:
        run_heldout(tmp_path, [a], share=0.1, prompts=100)
    (said,) = [line for line in str(error.value).splitlines() if "error" in line]
    found = int(said.split("held_out: ")[1].split()[0])
    assert f"{found} questions of 300 fall below the share 0.1 but prompts is 100." in said
    assert f"Lower held_out.prompts to {found}, or raise held_out.share to about 0." in said
    enough = float(said.split("to about ")[1].rstrip("."))
    run_heldout(tmp_path, [a], share=enough, prompts=100)
    (tmp_path / "results/heldout/prompts.json").unlink()
    (tmp_path / "results/heldout/prompts.parquet").unlink()
    with pytest.raises(Failed, match=r"Raise held_out\.share to about 0\.02\."):
        run_heldout(tmp_path, [a], share=0.000001, prompts=5)
    assert not (tmp_path / "results/heldout").exists() or not list((tmp_path / "results/heldout").iterdir())


def test_the_manifest_names_its_inputs(tmp_path: Path) -> None:
    a = standardized(tmp_path, "a", [f"question {i}" for i in range(100)])
    manifest = json.loads(run_heldout(tmp_path, [a], share=0.2, prompts=5).read_text())
    assert list(manifest["inputs"]) == ["a"]
    assert manifest["files"]["prompts"]["name"] == "prompts.parquet"
