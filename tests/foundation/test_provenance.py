"""The code version moves with what a stage executes, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from showwork.foundation.provenance import bare, closure, code_version

REPO = Path(__file__).parents[2]


def package(root: Path, **modules: str) -> Path:
    (root / "p").mkdir(parents=True)
    (root / "p/__init__.py").write_text("")
    for name, text in modules.items():
        (root / f"p/{name}.py").write_text(text)
    return root


def test_comments_docstrings_and_error_texts_are_cut() -> None:
    source = 'def f(x):  # why\n    "Doc."\n\n    if x:\n        raise ValueError(\n            f"no {x}"  # because\n        )\n'
    assert bare(source) == "def f(x):\n    if x:\n        raise ValueError"


def test_strings_that_are_not_docstrings_stay() -> None:
    assert bare('x = "# no comment"\n') == 'x = "# no comment"'
    assert bare('def f():\n    return "a"\n') == 'def f():\n    return "a"'


def test_text_with_wide_characters_is_cut_in_the_right_place() -> None:
    assert bare('x = "日本"; y = 1  # note\n') == 'x = "日本"; y = 1'


def test_version_moves_with_an_import_but_not_with_a_neighbour(tmp_path: Path) -> None:
    def version(name: str, **other: str) -> str:
        modules = {"a": "from p import b\nx = 1\n", "b": "y = 1\n", "c": "z = 1\n"}
        return code_version("p.a", root=package(tmp_path / name, **{**modules, **other}))

    first = version("one")
    assert version("two") == first
    assert version("three", b="y = 2\n") != first
    assert version("four", c="z = 2\n") == first
    assert version("five", b="# a note\ny = 1\n") == first


def test_files_in_a_package_count(tmp_path: Path) -> None:
    a = package(tmp_path / "a", m="x = 1\n")
    b = package(tmp_path / "b", m="x = 1\n")
    (b / "p/page.css").write_text("body {}")
    assert code_version("p.m", root=a) != code_version("p.m", root=b)


def test_unknown_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module p\.x"):
        code_version("p.x", root=tmp_path)


def test_a_stage_does_not_count_the_checker_or_how_stages_talk() -> None:
    for stage in ("sample", "standardize", "mix", "pack", "train", "evaluate"):
        found = closure(f"showwork.{stage}")
        assert f"showwork.{stage}" in found
        assert not {"showwork.foundation.config", "showwork.foundation.stage", "showwork.foundation.slices"} & set(
            found
        )


def test_data_stages_import_neither_jax_nor_transformers() -> None:
    code = (
        "import sys, showwork.download, showwork.sample, showwork.standardize, showwork.heldout, showwork.mix, "
        "showwork.publish, showwork.pack, showwork.report\n"
        "print(sorted({'jax', 'flax', 'transformers', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO / "src", check=True)
    assert done.stdout.strip() == "[]"


def test_stages_import_no_stage() -> None:
    stages = {p.stem for p in (REPO / "src/showwork").glob("*.py")} - {"__init__", "cli"}
    for stage in stages:
        others = {f"showwork.{s}" for s in stages - {stage}} & set(closure(f"showwork.{stage}"))
        assert not others, f"{stage} imports {others}"
