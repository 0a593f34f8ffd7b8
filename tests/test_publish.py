"""The published folder: loads with `datasets`, credits every source, is ready for Kaggle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from data_stages import (
    Failed,
    counts,
    download,
    jsonl,
    rows_of,
    run_heldout,
    run_mix,
    run_publish,
    run_sample,
    run_standardize,
)

LICENSES = {
    "src": {
        "license": "cc-by-4.0", "note": "The authors' repository states non-commercial use; the card states CC-BY-4.0.",
        "hub": "kaist-ai/CoT-Collection",
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("publish")
    rows = [
        {"source": f"Why {i}?", "rationale": f"Since {i} is so, it is so.", "target": str(i), "task": "t"}
        for i in range(90)
    ]
    origin = {"hub": "kaist-ai/CoT-Collection", "revision": "c9d352cdc119df4a4f7526d100e4acb4a72a7a5c"}
    sample = run_sample(folder, download(folder, [jsonl(folder / "a.jsonl", rows)], **origin), "cot_10k")
    given: dict[str, Any] = {
        "format": "columns",
        "columns": {"question": "source", "trace": "rationale", "answer": "target"},
    }
    records = run_standardize(folder, sample, "cot_10k", **given)
    mixed = run_mix(
        folder, [records], run_heldout(folder, [records]), licenses=LICENSES, allowed=["cc-by-4.0"],
        duplicates={"near": False, "threshold": None, "decontamination": None},
    )  # fmt: skip
    return folder, mixed, sample


def publish(made: tuple[Path, Path, Path], **settings: Any) -> Path:
    return run_publish(made[0], made[1], [made[2]], licenses=LICENSES, **settings)


def test_the_folder_loads_with_datasets(
    made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    publish(made)
    from datasets import load_dataset

    folder = str(made[0] / "results/publish/tiny-data")
    mix = load_dataset(folder, split="train", cache_dir=str(tmp_path))
    assert mix.num_rows == counts(made[1])["train"]
    assert mix[0]["question"] == rows_of(made[1].with_name("train.parquet"))[0]["question"]
    rows = load_dataset(folder, "cot_10k", split="train", cache_dir=str(tmp_path))
    assert rows.num_rows == 90
    assert rows.column_names == ["source", "rationale", "target", "task", "row_id", "source_row"]


def test_the_notice_shows_both_statements_and_the_pin(made: tuple[Path, Path, Path]) -> None:
    publish(made)
    text = (made[0] / "results/publish/tiny-data/NOTICE").read_text()
    for said in (
        "https://huggingface.co/datasets/kaist-ai/CoT-Collection",
        "c9d352cdc119df4a4f7526d100e4acb4a72a7a5c",
        "licence:  cc-by-4.0 (as the dataset's card states it)",
        "note:     The authors' repository states non-commercial use",
    ):
        assert said in text


def test_the_card_has_a_header_the_hub_reads_and_the_tree(made: tuple[Path, Path, Path]) -> None:
    publish(made)
    card = (made[0] / "results/publish/tiny-data/README.md").read_text()
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert [c["config_name"] for c in header["configs"]] == ["mix", "cot_10k"]
    assert "\n".join(json.loads(made[1].read_text())["tree"]) in card
    assert "| held_out |" in card


def test_kaggle_finds_its_metadata(made: tuple[Path, Path, Path]) -> None:
    publish(made)
    folder = made[0] / "results/publish/tiny-data"
    said = json.loads((folder / "dataset-metadata.json").read_text())
    assert said["id"] == "OWNER/tiny-data"
    assert 6 <= len(said["title"]) <= 50
    assert all((folder / r["path"]).is_file() for r in said["resources"])


def test_a_folder_made_before_is_replaced_whole(made: tuple[Path, Path, Path]) -> None:
    manifest = publish(made)
    first = manifest.read_bytes()
    stray = made[0] / "results/publish/tiny-data/stray.txt"
    stray.write_text("x")
    assert publish(made).read_bytes() == first
    assert not stray.exists()
    assert sorted(p.name for p in (made[0] / "results/publish").iterdir()) == ["session1.json", "tiny-data"]


@pytest.mark.parametrize("name", ["abc", "with space", "x" * 51, None])
def test_a_name_that_hub_or_kaggle_refuse_is_one_sentence(name: str | None, made: tuple[Path, Path, Path]) -> None:
    with pytest.raises(Failed, match=r"sessions.session1.publish is .*, expected 6 to 50 letters, digits and dashes"):
        publish(made, publish=name)
