"""The environments of `--sdm conda` hold the versions of pyproject.toml, and so do the constraints of a plain install."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[1]
PINNED = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("name", ["data", "train"])
def test_environment_holds_the_versions_of_pyproject(name: str) -> None:
    parts = yaml.safe_load((REPO / f"envs/{name}.yaml").read_text())["dependencies"]
    packages = next(part["pip"] for part in parts if isinstance(part, dict))
    assert packages
    assert set(packages) <= set(PINNED)


def test_every_rule_names_an_environment_that_is_there() -> None:
    for rules in (REPO / "workflow/rules").glob("*.smk"):
        text = rules.read_text()
        named = {line.strip().strip('"') for line in text.splitlines() if "envs/" in line}
        assert text.count("    shell:") == text.count("    conda:"), rules.name
        assert all((rules.parent / path).is_file() for path in named)


def test_every_pin_is_exact() -> None:
    assert [p for p in PINNED if "==" not in p] == []
    locked = (REPO / "envs/constraints.txt").read_text().splitlines()
    assert [line for line in locked if "==" not in line] == []
