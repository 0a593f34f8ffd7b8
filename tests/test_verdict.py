from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from showwork import verdict
from showwork.foundation.manifest import write_manifest
from showwork.foundation.stage import run_stage
from showwork.foundation.tables import write_table
from showwork.learn.measures import GENERATION

LIMITS = {
    "well_formed": 0.9, "gain_over_direct": 0.0, "looping": 0.02, "loss_rise": 0.0, "rejected": 0.5, "still_falling": 0.01,
}  # fmt: skip


def evaluation(folder: Path, name: str, formed: float, tasks: dict[str, int] | None = None) -> None:
    blank: dict[str, Any] = dict.fromkeys(GENERATION.names)
    rows = [
        {**blank, "prompt_id": str(i), "source": "s", "mode": mode, "well_formed": i < 100 * formed, "looping": False,
         "correct": i < 100 * formed if mode == "greedy" else i < 20, "gold_loss": 80.0 - 40 * formed, "gold_tokens": 40}
        for mode in ("greedy", "direct")
        for i in range(100)
    ]  # fmt: skip
    out = folder / f"results/evaluate/{name}"
    write_table(out / "generations.parquet", GENERATION, [rows])
    write_manifest(
        out / "manifest.json", stage="evaluate", name=name, settings={}, inputs={"prompts": folder / "prompts.json"},
        files={"generations": out / "generations.parquet"}, counts={}, tasks=tasks or {"greedy": 1, "direct": 1},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.json").write_text("{}")
    evaluation(tmp_path, "base", 0.0)
    history = tmp_path / "results/train/s/history.jsonl"
    history.parent.mkdir(parents=True)
    history.write_text("".join(json.dumps({"loss": 1.0, "loss_tokens": 5}) + "\n" for _ in range(20)))
    write_manifest(history.with_name("manifest.json"), stage="train", name="s", settings={}, inputs={}, counts={},
                   files={"history": history})  # fmt: skip
    samples = {"a": {"records": 90, "rejected": {"no_close": 10}, "dropped": {"language": 400}}}
    write_manifest(tmp_path / "results/mix/s/manifest.json", stage="mix", name="s", settings={}, inputs={}, files={},
                   counts={"samples": samples})  # fmt: skip
    return tmp_path


def run(session: str = "s") -> int:
    argv = ["--settings", json.dumps({"name": "s", "verdict": LIMITS}), "--verdict", "verdict.json"]
    for name in ("train", "mix"):
        argv += [f"--{name}", f"results/{name}/s/manifest.json"]
    for name, of in (("base", "base"), ("session", session)):
        argv += [f"--{name}", f"results/evaluate/{of}/manifest.json"]
    return run_stage(verdict.work, verdict.arguments, verdict.__doc__, argv)


def test_a_session_that_falls_short_is_told_by_which_measure_and_what_to_type(folder, capsys):
    evaluation(folder, "s", 0.5)
    assert run() == 0
    found = json.loads(Path("verdict.json").read_text())
    assert (found["stage"], found["underperforms"], found["missed"], found["fallback"]) == (
        "verdict", True, ["well_formed"], "grpo",
    )  # fmt: skip
    rejected = next(m for m in found["measures"] if m["key"] == "rejected")
    assert rejected["value"] == 0.1, "a language filter's choice is no defect"
    assert found["command"] == "snakemake --cores 8 session3 --configfile workflow/recipes/grpo-polish.yaml"
    said = capsys.readouterr().err
    assert "well formed is 0.500 (95 %: 0.404 to 0.596), wanted at least 0.9: missed" in said
    assert f"to try it: {found['command']}" in said


def test_a_session_that_holds_up_is_left_alone(folder, capsys):
    evaluation(folder, "s", 1.0)
    assert run() == 0
    found = json.loads(Path("verdict.json").read_text())
    assert (found["underperforms"], found["fallback"], found["command"]) == (False, "none", None)
    assert "s does not underperform; fallback: none, because no measure is missed" in capsys.readouterr().err


def test_evaluations_of_other_task_versions_are_not_compared(folder, capsys):
    evaluation(folder, "s", 1.0, tasks={"greedy": 2, "direct": 1})
    assert run() == 1
    assert (
        "of other prompts or other versions of the tasks, whose numbers cannot be compared" in capsys.readouterr().err
    )
    assert not Path("verdict.json").exists()
