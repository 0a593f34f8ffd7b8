from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_grpo
import tiny_run
from safetensors.numpy import load_file
from tiny_run import quick_jax

from showwork import auto, train
from showwork.foundation.files import sha256_file
from showwork.foundation.stage import run_stage

SETTINGS = {
    "name": "s3",
    "sft": {**tiny_run.settings(epochs=None, max_steps=4), "name": "s3"},
    "grpo": {**tiny_grpo.settings(max_steps=2), "name": "s3"},
}
START = "results/train/s/manifest.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished session to start from, its packed rows, records."""
    folder = tmp_path_factory.mktemp("auto")
    tiny_grpo.prepare(folder)
    tiny_run.prepare(folder)
    with pytest.MonkeyPatch.context() as patch, quick_jax():
        patch.chdir(folder)
        assert run_stage(train.work, train.arguments, "", tiny_run.command(tiny_run.settings())) == 0
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def argv(fallback: str) -> list[str]:
    """The command line, after a verdict with this fallback is written."""
    said = {"name": "s", "fallback": fallback, "because": "of a measure", "command": "snakemake it"}
    Path("verdict.json").write_text(json.dumps(said))
    out = f"results/train/{fallback}"
    return [
        "--settings", json.dumps(SETTINGS), "--log", "logs/auto.log", "--verdict", "verdict.json", "--pack",
        "results/pack/s/manifest.json", "--mix", "results/mix/s/manifest.json", "--base", "results/download/base.json",
        "--start", START, "--work", f"work/{fallback}", "--adapter", f"{out}/adapter/adapter.safetensors", "--history",
        f"{out}/history.jsonl", "--choice", f"{out}/choice.json", "--manifest", f"{out}/manifest.json",
    ]  # fmt: skip


def left(fallback: str, name: str) -> dict:
    return json.loads(Path(f"results/train/{fallback}/{name}").read_text())


@pytest.mark.parametrize("fallback", ["none", "quality_filter"])
def test_where_nothing_is_to_be_trained_the_starts_adapter_is_handed_on(folder, capsys, fallback):
    assert run_stage(auto.work, auto.arguments, "", argv(fallback)) == 0
    name = "adapter/adapter.safetensors"
    assert sha256_file(f"results/train/{fallback}/{name}") == sha256_file(f"results/train/s/{name}")
    assert Path(f"results/train/{fallback}/history.jsonl").read_text() == ""
    assert (left(fallback, "manifest.json")["name"], left(fallback, "manifest.json")["counts"]["steps"]) == ("s3", 0)
    choice = left(fallback, "choice.json")
    assert (choice["chosen"], choice["because"], choice["stage"]) == (fallback, "of a measure", None)
    assert choice["to_type"] == (None if fallback == "none" else "snakemake it")
    assert ("type: snakemake it" in capsys.readouterr().err) is (fallback == "quality_filter")


@pytest.mark.parametrize(
    ("fallback", "stage", "start"),
    [("more_epochs", "train", True), ("grpo", "grpo", True), ("grpo_from_base", "grpo", False)],
)
def test_what_is_chosen_really_runs(folder, fallback, stage, start):
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1] / "src"), "JAX_PLATFORMS": "cpu",
           "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "showwork.auto", *argv(fallback)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"auto s3: {fallback}, because of a measure" in done.stderr
    manifest, choice = left(fallback, "manifest.json"), left(fallback, "choice.json")
    assert choice["stage"] == f"showwork.{stage}"
    assert manifest["settings"]["train"]["method"] == ("sft" if stage == "train" else "grpo")
    assert ("start" in manifest["inputs"]) is start
    assert manifest["counts"]["steps"] == (4 if stage == "train" else 2)
    assert load_file(f"results/train/{fallback}/adapter/adapter.safetensors").keys() == load_file(
        "results/train/s/adapter/adapter.safetensors"
    ).keys()  # fmt: skip
