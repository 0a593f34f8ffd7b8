"""Who may import whom: stages know no stage, packages only look down, files are touched where files are the subject."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dag import REPO, built

PACKAGE = Path(__file__).resolve().parents[1] / "src/showwork"
STAGES = {f.stem for f in PACKAGE.glob("*.py") if "run_stage(work" in f.read_text()}
BELOW = {
    "foundation": {"foundation"},
    "sources": {"sources", "foundation"},
    "records": {"records", "sources", "foundation"},
    "tokens": {"tokens", "foundation"},
    "model": {"model"},
    "learn": {"learn", "model", "tokens", "records", "foundation"},
}
"""{package: the packages that it may import}. demo, page and look stand above all of them."""
ALLOWED = {("foundation.config", "records.formats"), ("foundation.config", "records.questions")}
"""The config checker asks the formats themselves whether a declaration is one, and the reader of questions for a file."""
FILE_CALLS = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "write_json",
    "read_json",
    "memmap",
    "atomic",
}
FILE_MODULES = {
    "model.tensors": "weights",
    "model.params": "weights",
    "learn.checkpoint": "checkpoints, history, the lock",
    "learn.start": "the adapter or model that a session starts from",
    "learn.leave": "a trained session's outputs",
    "learn.device": "what the machine says of itself",
}


def modules() -> dict[str, ast.Module]:
    return {
        ".".join(f.relative_to(PACKAGE).with_suffix("").parts): ast.parse(f.read_text()) for f in PACKAGE.rglob("*.py")
    }


MODULES = modules()


def imported(tree: ast.Module) -> set[str]:
    """The modules of showwork that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "showwork":
            base = node.module.removeprefix("showwork").lstrip(".")
            found |= {n for a in node.names if (n := f"{base}.{a.name}".lstrip(".")) in MODULES} or {base}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("showwork.") for a in node.names if a.name.startswith("showwork.")}
    return found


def test_there_are_stages() -> None:
    assert {"download", "sample", "standardize", "mix", "pack", "train", "evaluate", "export", "report"} <= STAGES


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    assert not imported(MODULES[stage]) & (STAGES - {stage}), "stages meet only through files"


@pytest.mark.parametrize("package", sorted(BELOW))
def test_packages_only_look_down(package: str) -> None:
    for name, tree in MODULES.items():
        if name.split(".")[0] == package:
            for other in imported(tree):
                assert other.split(".")[0] in BELOW[package] or (name, other) in ALLOWED, f"{name} imports {other}"


def test_the_model_and_the_learning_touch_files_only_where_files_are_the_subject() -> None:
    touching = set()
    for name, tree in MODULES.items():
        if name.split(".")[0] in {"model", "learn"}:
            for node in ast.walk(tree):
                called = node.func if isinstance(node, ast.Call) else None
                word = (
                    called.attr
                    if isinstance(called, ast.Attribute)
                    else called.id
                    if isinstance(called, ast.Name)
                    else ""
                )
                if word in FILE_CALLS:
                    touching.add(name)
    assert touching == set(FILE_MODULES)


ORDER = ("sources", "download", "sample", "standardize", "heldout", "mix", "publish", "pack", "plan", "train", "evaluate",
         "verdict", "export", "report")  # fmt: skip
"""The folders of results in the order in which they are made; `sources` is the demo's."""
SESSIONS = ("session1", "session2", "session3")
"""Those of config.yaml; each starts from the one before it."""
Jobs = dict[tuple[str, ...], tuple[list[str], list[str]]]


def place(path: str) -> tuple[int, int]:
    """(stage, session) of a file of results; what belongs to no session has 0."""
    parts = Path(path).parts
    stage, name = (parts[1], Path(parts[2]).stem) if parts[0] == "results" else (parts[0], "")
    return ORDER.index(stage), SESSIONS.index(name) + 1 if name in SESSIONS else 0


def backward(jobs: Jobs) -> Iterator[str]:
    """Every input that is left neither by an earlier stage nor by an earlier session."""
    for job, (inputs, outputs) in jobs.items():
        stage, session = min(map(place, outputs))
        for path in inputs:
            at_stage, of_session = place(path)
            if at_stage >= stage and not 0 < of_session < session:
                yield f"{job} reads {path}"


@pytest.mark.parametrize("recipe", [None, "demo"])
def test_every_job_reads_only_what_earlier_stages_and_earlier_sessions_left(recipe: str | None, tmp_path: Path) -> None:
    overlays = (REPO / f"workflow/recipes/{recipe}.yaml",) if recipe else ()
    with built(REPO, {"all"}, tmp_path, overlays) as dag:
        jobs = {
            (job.rule.name, *job.wildcards): ([str(f) for f in job.input], [str(f) for f in job.output])
            for job in dag.jobs
            if job.output
        }
    assert len(jobs) > 40
    assert list(backward(jobs)) == []


def test_a_job_that_reads_ahead_is_recognized() -> None:
    mixed, packed = (["results/mix/session1/manifest.json"], ["results/pack/session1/manifest.json"])
    assert list(backward({("pack",): (mixed, packed)})) == []
    assert list(backward({("mix",): (packed, mixed)})) == ["('mix',) reads results/pack/session1/manifest.json"]
    later = ["results/mix/session2/manifest.json"]
    assert list(backward({("mix",): (later, mixed)})) == ["('mix',) reads results/mix/session2/manifest.json"]
    assert (
        list(backward({("train",): (["results/verdict/session1.json"], ["results/train/session2/manifest.json"])}))
        == []
    )


def test_no_command_names_results_of_another_stage_beside_its_inputs() -> None:
    seen = 0
    for rules in (REPO / "workflow/rules").glob("*.smk"):
        for shell in re.findall(r"    shell:\n((?: +.*\n?)+)", rules.read_text()):
            (stage,) = re.findall(r"python -m showwork\.([\w.]+)", shell)
            folder = {"grpo": "train", "auto": "train"}.get(stage, stage)
            assert set(re.findall(r"results/(\w+)", shell)) <= {folder}, f"{rules.name}: {stage}"
            seen += 1
    assert seen >= 15
