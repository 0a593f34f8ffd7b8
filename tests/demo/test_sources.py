"""The generated sources: what the readers and the judge say of each row is what the generator wrote down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from showwork.demo import sources
from showwork.foundation.files import read_json, sha256_file
from showwork.foundation.manifest import read_manifest
from showwork.foundation.stage import run_stage
from showwork.records.formats import Texts
from showwork.records.judge import Judge
from showwork.sources.layouts import Bad, open_source

ROWS = {"raiden": 330, "openo1": 330, "cot_collection": 330, "glaive": 330}
RESPONSE = {"question": "prompt", "response": "response"}
DECLARED = {
    "raiden": ("csv", "Raiden_DSR1_Part*.csv", "think", RESPONSE, {"loops": True}),
    "openo1": (
        "jsonl", "OpenO1-SFT.jsonl", "thought_output", {"question": "instruction", "response": "output"}, {"language": "en"},
    ),
    "cot_collection": (
        "json_object", "data/CoT_collection_en.json", "columns",
        {"question": "source", "trace": "rationale", "answer": "target"}, {},
    ),
    "glaive": ("parquet", "data/train-*.parquet", "think", RESPONSE, {}),
}  # fmt: skip


def generate(folder: Path, rows: dict[str, int]) -> int:
    settings = json.dumps({"name": "sources", "seed": 7, "rows": rows})
    argv = [
        "--settings",
        settings,
        "--folder",
        str(folder / "sources"),
        "--manifest",
        str(folder / "sources/manifest.json"),
    ]
    return run_stage(sources.work, sources.arguments, sources.__doc__, argv)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    assert generate(folder, ROWS) == 0
    return folder / "sources"


@pytest.mark.parametrize("name", list(DECLARED))
def test_the_judge_finds_exactly_the_injected_defects(world: Path, name: str) -> None:
    layout, pattern, format_name, columns, filters = DECLARED[name]
    source = open_source(layout, sorted((world / name).glob(pattern)), list(columns.values()), name=name)
    judge = Judge(name, format_name, columns, filters)
    truth = read_json(world / "truth.json")["sources"][name]
    found = {}
    for source_row, row in source.rows():
        verdict = row if isinstance(row, Bad) else judge([row])[0]
        found[source_row] = None if isinstance(verdict, Texts) else verdict.reason
    assert found == {row["source_row"]: row["reason"] for row in truth}
    assert {row["defect"] for row in truth} == {*sources.SHARES[name], None}


@pytest.mark.parametrize("name", list(DECLARED))
def test_truth_calls_kept_what_has_no_reason_and_repeats_nothing(world: Path, name: str) -> None:
    truth = read_json(world / "truth.json")["sources"]
    for row in truth[name]:
        assert (row["expected"] in ("kept", "duplicate")) == (row["reason"] is None)
        if row["expected"] == "duplicate":
            source, source_row = row["of"]
            assert truth[source][source_row]["expected"] == "kept"


def test_controls_are_neutralized_and_the_long_cell_is_read_whole(world: Path) -> None:
    layout, pattern, format_name, columns, filters = DECLARED["raiden"]
    rows = dict(open_source(layout, sorted((world / "raiden").glob(pattern)), list(columns.values())).rows())
    judge = Judge("raiden", format_name, columns, filters)
    truth = read_json(world / "truth.json")["sources"]["raiden"]
    by_defect = {row["defect"]: judge([rows[row["source_row"]]])[0] for row in truth if row["expected"] == "kept"}
    assert len(by_defect["control_tokens"].neutralized) == 2
    assert len(by_defect["long_cell"].trace) > 131_072
    assert by_defect["prompt_na"].question == "NA"
    assert by_defect[None].neutralized == []


def test_the_parts_differ_as_real_ones_do(world: Path) -> None:
    parts = [path.read_bytes() for path in sorted((world / "raiden").glob("*.csv"))]
    assert [part.startswith(b"\xef\xbb\xbf") for part in parts] == [True, False, False]
    assert [b"\r\n" in part for part in parts] == [False, True, False]
    assert parts[1].startswith(b",prompt,response\r\n")


def test_a_seed_gives_the_same_bytes_and_the_manifest_knows_them(world: Path, tmp_path: Path) -> None:
    assert generate(tmp_path, ROWS) == 0
    manifest = read_manifest(tmp_path / "sources/manifest.json")
    assert manifest == read_manifest(world / "manifest.json")
    for entry in manifest["files"].values():
        assert sha256_file(world / entry["name"]) == entry["sha256"]
    assert {"base/model.safetensors", "base/tokenizer.json", "truth.json"} <= manifest["files"].keys()


def test_too_few_rows_are_refused_with_the_number_wanted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert generate(tmp_path, {**ROWS, "glaive": 12}) == 1
    assert "demo.rows: glaive is 12, wanted at least 60 rows" in capsys.readouterr().err
    assert not (tmp_path / "sources").exists()
