"""The README is true: its commands plan, its flags exist, its tree is git's, its numbers are those of results or settings."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dag import REPO, plan

from showwork import cli
from showwork.learn.grpo import VARIANTS

SAID = (REPO / "README.md").read_text()
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
TREE = SAID.split("## The tree\n\n")[1].split("\n\n")[0]
TARGETS = re.findall(r"^\.PHONY:(.*)$", (REPO / "Makefile").read_text(), re.MULTILINE)[0].split()


def code_lines() -> list[str]:
    """The lines of the README's indented blocks, without comments; the tree apart."""
    lines = [m[1] for m in re.finditer(r"^ {4}(\S.*)$", SAID.replace(TREE, ""), re.MULTILINE)]
    return [re.sub(r"\s{2,}#.*", "", line) for line in lines]


def spans() -> list[str]:
    """Commands that stand within sentences."""
    text = re.sub(r"^ {4}.*$", "", SAID, flags=re.MULTILINE)
    found = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    return [s for s in found if re.match(r"(make|snakemake|(\.venv/bin/)?(showwork|snakemake|pip)|PYTHONPATH=\S+) ", s)]


def commands(tool: str) -> list[list[str]]:
    """The arguments of every command with this tool, in blocks and in sentences."""
    found = []
    for line in [*code_lines(), *spans()]:
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word) or tool == "make"]
        if words and Path(words[0]).name == tool:
            found.append(words[1:])
    return found


def snakemake_parser() -> argparse.ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def showwork_parsers() -> Iterator[argparse.ArgumentParser]:
    for name in cli.COMMANDS:
        (choices,) = [a for a in cli.parser_of([name])._actions if isinstance(a, argparse._SubParsersAction)]
        yield choices.choices[name]


def test_every_line_of_a_block_is_a_command_that_is_checked_here() -> None:
    known = ("make ", "snakemake ", ".venv/bin/", "python3 -m venv .venv", ". .venv/bin/activate", "export HF_TOKEN=")
    others = [line for line in code_lines() if not line.startswith(known) and "→" not in line]
    assert others == []
    assert len(code_lines()) > 20


def test_every_make_target_is_there_and_says_what_it_would_run() -> None:
    found = commands("make")
    assert len(found) > 5
    for words in found:
        (target,) = [word for word in words if "=" not in word]
        assert target in TARGETS
        done = subprocess.run(["make", "-n", *words], cwd=REPO, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_extra_that_is_installed_is_one_and_the_table_names_all() -> None:
    named = {
        extra for words in commands("pip") for word in words for extra in re.findall(r"[\w]+", word.partition("[")[2])
    }
    assert {"cuda", "tpu", "report", "cluster"} <= named <= set(PROJECT["optional-dependencies"])
    table = SAID.split("| extra | for |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(PROJECT["optional-dependencies"])


def test_every_showwork_command_is_understood() -> None:
    found = [words for words in commands("showwork") if len(words) > 1 and "COMMAND" not in words]
    assert len(found) >= 5
    for words in found:
        cli.parser_of(words).parse_args(words)


def test_every_snakemake_command_plans(tmp_path: Path) -> None:
    parser, planned = snakemake_parser(), set()
    found = [words for words in commands("snakemake") if words != ["--report"]]
    assert len(found) > 12
    for words in found:
        args = parser.parse_args(words)
        overlays, targets = tuple(map(Path, args.configfile or ())), set(args.targets or ())
        assert all((REPO / overlay).is_file() for overlay in overlays), words
        if args.workflow_profile:
            assert (REPO / f"profiles/{args.workflow_profile}").is_dir()
        recipe = overlays[0].stem if overlays else ""
        if recipe and recipe != "demo":  # tests/workflow/test_recipes.py plans each as its header says
            assert f"snakemake {' '.join(words)}" in (REPO / overlays[0]).read_text()
        elif targets - {"sweep"} and (key := (overlays, frozenset(targets))) not in planned:
            planned.add(key)
            assert plan(REPO, *targets, workdir=tmp_path, overlays=tuple(REPO / o for o in overlays)) or targets == {
                "lock"
            }
    assert len(planned) >= 5


def test_every_flag_exists() -> None:
    parsers = [snakemake_parser(), *showwork_parsers()]
    known = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", SAID))
    assert len(named) > 15
    assert named - known == set()


def test_the_tree_is_that_of_git() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    top = {f.split("/")[0] + ("/" if "/" in f else "") for f in files}
    shown, inner = (re.findall(rf"^ {{{indent}}}(\S+)  ", TREE, re.MULTILINE) for indent in (4, 6))
    assert {name.replace("src/showwork/", "src/") for name in shown if name.endswith("/")} == {
        name for name in top if name.endswith("/") and not name.startswith(".")
    }
    assert {name for name in shown if not name.endswith("/")} <= top
    packages = {f.split("/")[2] + "/" for f in files if f.startswith("src/showwork/") and f.count("/") > 2}
    assert set(inner) == packages | {"cli.py"}


def test_the_table_of_stages_names_every_rule_that_runs_one() -> None:
    table = SAID.split("## The stages")[1].split("## ")[0]
    shown = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:]
    rules = "".join(f.read_text() for f in (REPO / "workflow/rules").glob("*.smk"))
    run = set(re.findall(r"python -m showwork\.(\w+) ", rules)) - {"lock"}
    assert set(shown) == run
    assert len(shown) == len(set(shown))


def test_every_picture_is_there_small_and_asks_nothing_of_the_network() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", SAID)
    pictures += [
        f"docs/{name}" for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (REPO / "docs/scaling.md").read_text())
    ]
    assert sorted(pictures) == sorted(f"docs/pictures/{f.name}" for f in (REPO / "docs/pictures").iterdir())
    for name in pictures:
        assert (REPO / name).stat().st_size < 300_000
        if name.endswith(".svg"):
            drawn = (REPO / name).read_text()
            assert re.findall(r"(?:href|src|url)\W+https?:", drawn) == []
            assert "$ " in drawn.replace("&#160;", " ") or name.endswith("/growth.svg"), "a terminal shows its command"
            assert str(REPO) not in drawn
            assert not re.search(r"/(?:home|root|tmp|Users)/", drawn), "a place of whoever made the picture"


def numbers_of(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_of(key)
            yield from numbers_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_of(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


NAMES = re.compile(
    r"arXiv \d+\.\d+|Gemma \d(?: \dB)?|Apache-2\.0|Python 3\.1\d(?:, 3\.1\d)*(?: or 3\.1\d)?|session \d|reasoning-v1-20m|sessions 1 and 2"
    r"|H[12]00|v5p|DeepSeek-R1"
)
"""Numbers that are parts of names."""


def test_every_other_number_is_one_of_the_configuration_or_of_the_code() -> None:
    text = SAID
    for block in runpy.run_path(str(REPO / "benchmarks/table.py"))["blocks"]():
        text = text.replace(block, "")
    text = re.sub(r"^ {4}.*$|`[^`]*`|\]\([^)]*\)", "", text, flags=re.MULTILINE)
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", NAMES.sub("", text))
    settings = yaml.safe_load((REPO / "config.yaml").read_text())
    sizes = runpy.run_path(str(REPO / "benchmarks/generate_sources.py"))["ROWS"]
    known = {*numbers_of(settings), *numbers_of(sizes), *numbers_of(VARIANTS)}
    known |= {1 + variant["clip_high"] for variant in VARIANTS.values()}  # ratios
    known |= {float(s["stop"] - s["start"] + 1) for s in settings["samples"].values() if "stop" in s}
    assert {n for n in found if float(n.replace(",", "")) not in known} == set()
    assert len(found) > 5


def test_a_number_of_nowhere_is_found() -> None:
    assert list(numbers_of({"a": [1, {"b": 2.5}], "c": True, "d": "7"})) == [1.0, 2.5]


@pytest.mark.parametrize(
    "word", ["source", "sample", "record", "trace", "mix", "session", "example", "packed row", "stale"]
)
def test_the_words_are_explained(word: str) -> None:
    assert re.search(rf"^\| {word} \| \w", SAID.split("## Words")[1], re.MULTILINE)
