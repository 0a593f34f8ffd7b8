"""The environments of `--sdm conda` hold the versions of pyproject.toml, and so do the constraints of a plain install."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[1]
PINNED = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]


def packages(name: str) -> list[str]:
    parts = yaml.safe_load((REPO / f"envs/{name}.yaml").read_text())["dependencies"]
    return next(part["pip"] for part in parts if isinstance(part, dict))


@pytest.mark.parametrize("name", ["data", "train"])
def test_environment_holds_the_versions_of_pyproject(name: str) -> None:
    assert packages(name)
    assert set(packages(name)) <= set(PINNED)


def imported(module: str) -> set[str]:
    """The modules of others that a module and all that it imports of ours may import, wherever in it."""
    seen, waiting, found = set(), [module], set()
    while waiting:
        file = REPO / "src" / Path(*waiting.pop().split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [name for name in names if name.startswith("showwork")]
            found |= {name.split(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"showwork", "__future__"}


def brought(pins: list[str]) -> set[str]:
    """The distributions that pins bring, with what these require in turn, without extras."""
    found: set[str] = set()
    waiting = [pin.split("==")[0] for pin in pins]
    while waiting:
        name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", waiting.pop())[0]).lower()
        if name in found:
            continue
        found.add(name)
        try:
            waiting += [r for r in metadata.requires(name) or [] if "extra ==" not in r]
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
    return found


def test_each_rules_environment_holds_all_that_its_stage_imports() -> None:
    owners = metadata.packages_distributions()
    wrong, seen = [], 0
    for rules in (REPO / "workflow/rules").glob("*.smk"):
        text = rules.read_text()
        environments, stages = re.findall(r"envs/(\w+)\.yaml", text), re.findall(r"python -m (showwork\.[\w.]+)", text)
        for environment, stage in zip(environments, stages, strict=True):
            there = brought(packages(environment))
            for name in imported(stage):
                seen += 1
                if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners[name]} & there:
                    wrong.append(f"{stage} imports {name}, which envs/{environment}.yaml does not bring")
    assert seen > 60
    assert wrong == []


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
