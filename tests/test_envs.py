"""The environments of `--sdm conda` hold the versions of pyproject.toml, and so do the constraints of a plain install."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from showwork import cli
from showwork.foundation.extras import EXTRAS, missing_extra

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
CORE: list[str] = PROJECT["dependencies"]
OPTIONAL: dict[str, list[str]] = PROJECT["optional-dependencies"]
PINNED = [pin for pins in (CORE, *OPTIONAL.values()) for pin in pins if not pin.startswith("showwork[")]


def generator() -> dict[str, Any]:
    return runpy.run_path(str(REPO / "envs/generate.py"))


def packages(name: str) -> list[str]:
    parts = yaml.safe_load((REPO / f"envs/{name}.yaml").read_text())["dependencies"]
    return next(part["pip"] for part in parts if isinstance(part, dict))


def test_environments_are_what_is_generated_from_pyproject() -> None:
    made = generator()
    assert {f.stem for f in (REPO / "envs").glob("*.yaml")} == set(made["ENVIRONMENTS"])
    for name in made["ENVIRONMENTS"]:
        assert (REPO / f"envs/{name}.yaml").read_text() == made["text"](name), "run `make envs`"
        assert set(packages(name)) <= set(PINNED)


@functools.cache
def named_in(file: Path) -> list[str]:
    """Every module that a file imports, wherever in it, and what may be one: `from a import b` is a and a.b."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def plain(pin: str) -> str:
    """The name of a distribution in the one form that compares."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", pin)[0]).lower()


def imported(module: str) -> set[str]:
    """The modules of others that a module and all that it imports of ours may import, wherever in it."""
    seen, waiting, found = set(), [module], set()
    while waiting:
        file = REPO / "src" / Path(*waiting.pop().split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        names = named_in(file)
        waiting += [name for name in names if name.startswith("showwork")]
        found |= {name.split(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"showwork", "__future__"}


def brought(pins: list[str]) -> set[str]:
    """The distributions that pins bring here, with what these require in turn."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(pin) for pin in pins]
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (plain(wanted.name), extra) in found:
                continue
            found.add((plain(wanted.name), extra))
            try:
                needs = [Requirement(need) for need in metadata.requires(wanted.name) or []]
            except metadata.PackageNotFoundError:  # for another system or Python
                continue
            waiting += [n for n in needs if n.marker is None or n.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def test_each_rules_environment_holds_all_that_its_stage_imports() -> None:
    owners = metadata.packages_distributions()
    bringing = {name: brought(packages(name)) for name in ("data", "train")}
    wrong, seen = [], 0
    for rules in (REPO / "workflow/rules").glob("*.smk"):
        text = rules.read_text()
        environments, stages = re.findall(r"envs/(\w+)\.yaml", text), re.findall(r"python -m (showwork\.[\w.]+)", text)
        for environment, stage in zip(environments, stages, strict=True):
            there = bringing[environment]
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


def test_every_pin_is_exact_and_no_constraint_is_of_a_package_that_nothing_brings() -> None:
    assert [p for p in PINNED if "==" not in p] == []
    locked = (REPO / "envs/constraints.txt").read_text().splitlines()
    assert [line for line in locked if "==" not in line] == []
    names = {plain(line) for line in locked}
    assert {plain(pin) for extra in set(OPTIONAL) - {"cuda", "tpu"} for pin in OPTIONAL[extra]} - {"showwork"} <= names
    assert names <= brought(PINNED)


def test_each_module_of_an_extra_is_known_and_no_other() -> None:
    owners = metadata.packages_distributions()
    for extra in ("data", "train", "report"):
        bought = {plain(pin) for pin in OPTIONAL[extra]} - {plain(pin) for pin in CORE}
        assert {plain(owners[module][0]) for module, of in EXTRAS.items() if of == extra} == bought, extra


def test_every_pin_is_imported_by_the_package() -> None:
    used = {name for file in (REPO / "src").rglob("*.py") for name in {n.split(".")[0] for n in named_in(file)}}
    owners = metadata.packages_distributions()
    owned = {plain(owner) for name in used for owner in owners.get(name, [])}
    wanted = {plain(pin) for pin in [*CORE, *(p for extra in ("data", "train", "report") for p in OPTIONAL[extra])]}
    assert wanted - owned == {"snakemake"}


def hiding(*modules: str) -> str:
    """The beginning of a program in which these modules cannot be imported."""
    return (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {modules!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO / "src")


DATA_STAGES = ("download", "lock", "sample", "standardize", "heldout", "mix", "publish", "judge", "verdict")


def test_the_data_stages_and_the_looking_need_no_extra() -> None:
    modules = [*(f"showwork.{stage}" for stage in DATA_STAGES), "showwork.demo.sources",
               *(f"showwork.look.{view}" for view in ("why", "watch", "inspect", "rows", "trees"))]  # fmt: skip
    done = run(hiding(*EXTRAS, "pandas", "torch", "transformers") + f"import {', '.join(modules)}\nprint('all')")
    assert (done.stdout, done.stderr) == ("all\n", "")


@pytest.mark.parametrize(
    ("stage", "extra"), [("train", "train"), ("pack", "train"), ("export", "train"), ("report", "report")]
)
def test_a_stage_without_its_extra_says_one_sentence(stage: str, extra: str) -> None:
    hidden = tuple(module for module, of in EXTRAS.items() if of == extra)
    code = (
        hiding(*hidden) + f"import runpy\nsys.argv = ['-m']\nimport showwork\nsys.argv = ['{stage}.py', '--help']\n"
        f"runpy.run_module('showwork.{stage}', run_name='__main__')"
    )
    done = run(code)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"{stage}: error: \w+ is not installed; it comes with the extra {extra}: "
        rf"pip install -c envs/constraints.txt -e '\.\[{extra}\]'\n",
        done.stderr,
    ), done.stderr


def test_a_stage_that_misses_another_module_shows_the_trace() -> None:
    done = run("import sys\nsys.argv = ['-m']\nimport showwork\nimport nowhere_at_all")
    assert "Traceback" in done.stderr


def test_a_command_without_its_extra_says_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(module: str) -> None:
        raise ModuleNotFoundError("No module named 'jax'", name="jax")

    monkeypatch.setattr(cli.importlib, "import_module", lacking)
    assert cli.main(["ask", "x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("showwork ask: jax is not installed; it comes with the extra train: pip install")
    assert said.count("\n") == 1
    assert missing_extra(ModuleNotFoundError("No module named 'q'", name="q")) is None


CONDA = """#!/bin/sh
case "$1" in
 info) echo '{"conda_prefix": "/conda", "root_prefix": "/conda", "platform": "linux-64", "conda_version": "25.1.0"}';;
 --version) echo "conda 25.1.0";;
 config) echo '{"get": {"channel_priority": "strict"}}';;
 *) echo "conda $*" >&2; exit 1;;
esac
"""
"""As much of conda as Snakemake asks before it makes an environment; anything else fails."""


def test_with_conda_a_dry_run_would_make_the_environments_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "session1", "--sdm", "conda", "--directory", tmp_path / "run",
         "--configfile", "workflow/recipes/demo.yaml"],
        cwd=REPO, capture_output=True, text=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = re.findall(r"Conda environment \S*envs/(\w+)\.yaml will be created", done.stdout + done.stderr)
    assert sorted(made) == ["data", "train"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["data", "train"])
def test_what_pip_installs_into_each_conda_environment_resolves(name: str, tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text("\n".join(packages(name)))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "-r", tmp_path / "pins.txt"],
        check=True, timeout=600,
    )  # fmt: skip


@pytest.mark.campaign
@pytest.mark.parametrize("extra", ["", *OPTIONAL])
def test_each_extra_resolves_alone(extra: str, tmp_path: Path) -> None:
    where, report = f"{REPO}[{extra}]" if extra else str(REPO), tmp_path / "report.json"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
         "-c", REPO / "envs/constraints.txt", "--report", report, where],
        check=True, timeout=600,
    )  # fmt: skip
    got = {plain(found["metadata"]["name"]) for found in json.loads(report.read_text())["install"]}
    wanted = {plain(pin) for pin in [*CORE, *OPTIONAL.get(extra, [])]}
    assert wanted <= got
    assert bool(got & {"jax", "flax"}) == (extra in ("train", "cuda", "tpu", "dev"))
    assert bool(got & {"altair", "vl-convert-python"}) == (extra in ("report", "dev"))
    assert bool(got & {"datasets", "pandas"}) == (extra in ("data", "cluster", "dev"))
    assert not got & {"torch", "transformers"}
