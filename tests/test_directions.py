"""Who may import whom: stages know no stage, packages only look down, files are touched where files are the subject."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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
ALLOWED = {("foundation.config", "records.formats")}
"""The config checker asks the formats themselves whether a declaration is one."""
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
