from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from look.shown import run
from tiny_base import write_base
from tiny_run import write_base_manifest

from showwork.foundation.files import read_json, write_json
from showwork.foundation.manifest import write_manifest
from showwork.foundation.schema import RECORD
from showwork.foundation.tables import write_table
from showwork.look import lengths
from showwork.look.view import File
from showwork.records.lengths import PERCENTILES, percentiles
from showwork.tokens.tokenizer import load_encoder

FACTS = {
    ("glaive", "response"): (4020, 4880, 5343, 7078, 9398, 10362, 12181, 15731),
    ("openo1", "output"): (558, 1518, 2012, 4120, 7575, 8920, 10617, 12173),
    ("raiden", "response"): (2854, 4488, 5908, 9769, 22547, 28791, 34163, 37339),
    ("cot_collection", "rationale"): (32, 63, 84, 238, 563, 722, 818, 867),
    ("cot_collection", "target"): (1, 1, 1, 6, 38, 63, 106, 138),
}


def lines(out: str) -> dict[str, list[int]]:
    """{name in front of a line of numbers: the numbers}; the table in tokens after `tokens:`."""
    found, before = {}, ""
    for line in out.splitlines():
        before = "tokens:" if line.startswith("Length in tokens") else before
        parts = line.rsplit(maxsplit=len(PERCENTILES))
        if len(parts) == 1 + len(PERCENTILES) and all(p.replace(",", "").isdigit() for p in parts[1:]):
            found[before + parts[0].strip()] = [int(p.replace(",", "")) for p in parts[1:]]
    return found


def standardized(folder: Path, source: str, columns: dict[str, str], hub: str | None = None) -> Path:
    """A file of 3,000 records of `source`, some with letters of several bytes, as standardize leaves it."""
    at = folder / "results/standardize"
    many = [
        {"record_id": f"{i:032x}", "question_id": f"{i:032x}", "source": source, "source_row": i, "row_id": f"{i:032x}",
         "question": "é" * (i % 90 + 1), "trace": "the 👍🏽 " * (i % 7 + 1), "answer": "4"}
        for i in range(3000)
    ]  # fmt: skip
    write_table(at / "x.parquet", RECORD, [many])
    write_manifest(
        at / "x.json", stage="standardize", name="x", settings={"name": "x", "source": source, "columns": columns}, inputs={},
        files={"records": at / "x.parquet"}, counts={"records": 3000}, origin={"hub": hub, "revision": None},
    )  # fmt: skip
    return at / "x.parquet"


def test_published_percentiles_are_those_of_the_facts():
    found = {
        (line["source"], line["column"]): tuple(line[f"p{p}"] for p in PERCENTILES)
        for line in lengths._published()["lengths"]
    }
    assert found == FACTS


def test_percentiles_count_characters_as_python_does_in_every_text_column(tmp_path, capsys):
    path = standardized(tmp_path, "own", {})
    _, out, _ = run(capsys, "inspect", path, "--rows", "0")
    many = pq.read_table(path).to_pylist()
    assert lines(out) == {
        name: list(percentiles([len(row[name]) for row in many]).values()) for name in ("question", "trace", "answer")
    }


def test_percentiles_are_of_the_rows_selected(tmp_path, capsys):
    path = standardized(tmp_path, "own", {})
    _, out, _ = run(capsys, "inspect", path, "--rows", "0", "--where", "length(question) = 7")
    assert "Length in characters, 34 rows" in out
    assert lines(out)["question"] == [7] * 8


@pytest.mark.parametrize(("seed", "said"), [((), 42), (("--seed", "3"), 3)])
def test_tokens_are_counted_on_a_seeded_sample_that_is_named(tmp_path, capsys, seed, said):
    path = standardized(tmp_path, "own", {})
    write_base(tmp_path / "base")
    write_base_manifest(tmp_path)
    _, out, _ = run(capsys, "inspect", path, "--rows", "0", *seed)
    assert f"Length in tokens (tokenizer of {tmp_path}/base), 2,000 of 3,000 rows, drawn with seed {said}" in out
    chosen = np.sort(np.random.Generator(np.random.PCG64(said)).choice(np.arange(3000), 2000, replace=False))
    encoder = load_encoder(tmp_path / "base", read_json(tmp_path / "base/config.json"))
    many = pq.read_table(path).take(chosen).to_pylist()
    expected = list(percentiles(encoder.count_tokens([row["trace"] for row in many])).values())
    assert lines(out)["tokens:trace"] == expected


@pytest.mark.parametrize(
    ("source", "hub", "shown"),
    [
        ("cot_collection", None, True),
        ("mine", "kaist-ai/CoT-Collection", True),
        ("mine", None, False),
        ("mine", "a/b", False),
    ],
)
def test_published_percentiles_stand_beside_ours_for_a_source_of_the_recipe(tmp_path, capsys, source, hub, shown):
    path = standardized(tmp_path, source, {"question": "source", "trace": "rationale", "answer": "target"}, hub)
    _, out, _ = run(capsys, "inspect", path, "--rows", "0")
    found = {name: numbers for name, numbers in lines(out).items() if "published" in name}
    expected = {
        "rationale, published (10k)": list(FACTS["cot_collection", "rationale"]),
        "target, published (10k)": list(FACTS["cot_collection", "target"]),
    }
    assert found == (expected if shown else {})
    assert ("the recipe's origin measured these on the full files" in out) == shown
    _, out, _ = run(capsys, "inspect", path, "--rows", "0", "--where", "source_row < 9")
    assert ", published (" not in out


def test_published_percentiles_of_a_tagged_source_are_compared_with_its_sample(tmp_path, capsys):
    path = standardized(tmp_path, "raiden", {"question": "prompt", "response": "response"})
    _, out, _ = run(capsys, "inspect", path, "--rows", "0")
    assert (
        f"Published lengths are of the source's own response: showwork inspect {tmp_path}/results/sample/x.parquet"
        in out
    )


def test_generated_sources_are_not_compared_with_what_was_measured_of_real_ones(tmp_path, capsys):
    path = standardized(tmp_path, "cot_collection", {"trace": "rationale"})
    write_json(tmp_path / "sources/manifest.json", {"stage": "demo", "name": "sources", "files": {}})
    _, out, _ = run(capsys, "inspect", path, "--rows", "0")
    assert ", published (" not in out
    assert "Published lengths" not in out
    assert File(path).run.command("data").startswith("snakemake --cores 2 data --configfile workflow/recipes/demo.yaml")


def test_sample_files_are_compared_column_by_column(small: Path, capsys: Any):
    _, out, _ = run(capsys, "inspect", small / "results/sample/openo1_some.parquet", "--rows", "0")
    assert lines(out)["output, published (English 20k)"] == list(FACTS["openo1", "output"])
    assert json.loads((small / "results/sample/openo1_some.json").read_text())["origin"]["hub"] is None
