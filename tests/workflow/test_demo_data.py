"""The data half of the demo, by real Snakemake: every injected defect is found, every row accounted for, same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from showwork.foundation.files import sha256_file

REPO = Path(__file__).parents[2]
OVERLAYS = [str(REPO / "workflow/recipes/demo.yaml"), str(REPO / "tests/fixtures/miniature.yaml")]
SAMPLES = {
    "raiden_deepseek_r1": "raiden",
    "openo1_sft_english_20k": "openo1",
    "cot_collection_10k": "cot_collection",
    "glaiveai_30k": "glaive",
}
TARGETS = ["results/pack/session1/manifest.json", "results/mix/session2/manifest.json", "results/publish/session1.json"]
DATA = (
    "sources",
    "results/sample",
    "results/standardize",
    "results/heldout",
    "results/mix",
    "results/pack",
    "results/publish",
)


def run(folder: Path, cores: int) -> Path:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        str(cores),
        "--snakefile",
        str(REPO / "Snakefile"),
        *TARGETS,
    ]
    folder.mkdir()
    done = subprocess.run(
        [*command, "--directory", str(folder), "--configfile", *OVERLAYS],
        cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("data") / "two", cores=2)


def rows(demo: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(demo / "results" / name).to_pylist()


def manifest(demo: Path, name: str) -> dict[str, Any]:
    return json.loads((demo / "results" / name).read_text())


def truth(demo: Path, sample: str) -> dict[int, dict[str, Any]]:
    """{source row: what the generator made of it} of the rows that a sample may have seen."""
    of_source = json.loads((demo / "sources/truth.json").read_text())["sources"][SAMPLES[sample]]
    first, last = (0, 249) if sample == "glaiveai_30k" else (0, len(of_source))
    return {row["source_row"]: row for row in of_source if first <= row["source_row"] <= last}


def lost(demo: Path, sample: str) -> dict[int, str]:
    """{source row: reason} of every row that became no record."""
    found = [*rows(demo, f"sample/{sample}.dropped.parquet"), *rows(demo, f"standardize/{sample}.rejected.parquet")]
    return {row["source_row"]: row["reason"] for row in found}


@pytest.mark.parametrize("sample", ["raiden_deepseek_r1", "glaiveai_30k"])
def test_exactly_the_injected_rows_are_lost_each_with_its_reason(demo: Path, sample: str) -> None:
    made = truth(demo, sample)
    expected = {n: row["reason"] for n, row in made.items() if row["expected"] in {"dropped", "rejected"}}
    assert expected
    assert lost(demo, sample) == expected


@pytest.mark.parametrize("sample", ["openo1_sft_english_20k", "cot_collection_10k"])
def test_a_draw_meets_no_injected_row_and_names_those_it_looked_at(demo: Path, sample: str) -> None:
    made, found = truth(demo, sample), lost(demo, sample)
    assert {n: r for n, r in found.items() if r != "not_reached"} == {
        n: made[n]["reason"] for n, r in found.items() if r != "not_reached"
    }
    kept = {row["source_row"] for row in rows(demo, f"standardize/{sample}.parquet")}
    assert len(kept) == 120
    assert {made[n]["expected"] for n in kept} <= {"kept", "duplicate"}


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_row_is_accounted_for(demo: Path, sample: str) -> None:
    sampled, standardized = manifest(demo, f"sample/{sample}.json"), manifest(demo, f"standardize/{sample}.json")
    made = truth(demo, sample)
    counts = sampled["counts"]
    assert counts["taken"] + sum(counts["dropped"].values()) + counts["not_reached"] == len(made)
    counts = standardized["counts"]
    assert counts["records"] + sum(counts["rejected"].values()) == sampled["counts"]["taken"]
    assert len(rows(demo, f"standardize/{sample}.parquet")) == counts["records"]
    assert len(rows(demo, f"standardize/{sample}.rejected.parquet")) == sum(counts["rejected"].values())


def test_mix_and_pack_lose_nothing_unseen(demo: Path) -> None:
    records = [row for sample in SAMPLES for row in rows(demo, f"standardize/{sample}.parquet")]
    train, removed = rows(demo, "mix/session1/train.parquet"), rows(demo, "mix/session1/removed.parquet")
    key = ("source", "source_row")
    assert Counter(tuple(r[k] for k in key) for r in records) == Counter(
        tuple(r[k] for k in key) for r in [*train, *removed]
    )
    ledger = rows(demo, "pack/session1/ledger.parquet")
    assert [r["record_id"] for r in ledger] == [r["record_id"] for r in train]


def test_nine_clean_rows_in_ten_survive_the_near_duplicate_step(demo: Path) -> None:
    removed = rows(demo, "mix/session1/removed.parquet")
    near = {(r["source"], r["source_row"]) for r in removed if r["reason"].startswith("near_")}
    clean = {(SAMPLES[s], n) for s in SAMPLES for n, row in truth(demo, s).items() if row["defect"] is None}
    seen = {(r["source"], r["source_row"]) for r in [*rows(demo, "mix/session1/train.parquet"), *removed]} & clean
    assert len(near & clean) <= 0.1 * len(seen)


def test_injected_duplicates_do_not_train_twice(demo: Path) -> None:
    train = rows(demo, "mix/session1/train.parquet")
    texts = Counter((r["question"], r["answer"]) for r in train)
    assert texts.most_common(1)[0][1] == 1


def test_held_out_questions_and_earlier_sessions_share_nothing_with_training(demo: Path) -> None:
    asked = {r["prompt_id"] for r in rows(demo, "heldout/prompts.parquet")}
    first = {r["question_id"] for r in rows(demo, "mix/session1/train.parquet")}
    second = {r["question_id"] for r in rows(demo, "mix/session2/train.parquet")}
    assert len(asked) == 40
    assert not asked & (first | second)
    assert not first & second


def test_one_core_and_two_cores_leave_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        files = [f for part in DATA for f in sorted((folder / part).rglob("*")) if f.is_file()]
        return {str(f.relative_to(folder)): sha256_file(f) for f in files}

    two, one = digests(demo), digests(run(tmp_path / "one", cores=1))
    assert len(two) > 40
    assert one == two
