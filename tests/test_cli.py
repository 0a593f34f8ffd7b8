from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from showwork import cli

REPO = Path(__file__).parents[1]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_in_the_readme_and_helps(name, capsys):
    assert f"showwork {name}" in (REPO / "README.md").read_text()
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    module = importlib.import_module(cli.COMMANDS[name][0])
    assert said.startswith(f"usage: showwork {name} [-h]")
    assert module.__doc__ in said


def test_help_names_every_command_with_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name, (_, does) in cli.COMMANDS.items():
        assert re.search(rf"^ +{name} +{does}$", said, re.MULTILINE)


def test_why_says_how_rows_are_counted(capsys):
    with pytest.raises(SystemExit):
        cli.main(["why", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "A row is numbered as `source_row` in every file of results/: from 0" in said
    assert "`start` and `stop` in config.yaml count from 1, so openo1:0 is their row 1" in said


@pytest.mark.parametrize("argv", [[], ["wy"], ["why"], ["why", "a:1", "--text", "b"], ["inspect", "x", "--rows", "-1"]])
def test_a_command_line_that_is_none_ends_with_status_2(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert "usage: showwork" in capsys.readouterr().err


def test_only_the_module_of_the_command_is_imported():
    code = "import sys; from showwork.cli import parser_of; parser_of([]).format_help(); print(sorted(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO / "src"
    ).stdout
    for heavy in ("duckdb", "numpy", "pyarrow", "rich", "jax", "showwork.look"):
        assert f"'{heavy}'" not in said
    code = "import sys; from showwork.cli import parser_of; parser_of(['why']); print(sorted(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO / "src"
    ).stdout
    for heavy in ("jax", "pyarrow", "tokenizers", "snakemake"):
        assert f"'{heavy}'" not in said


def test_the_command_is_installed_with_the_package():
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"showwork": "showwork.cli:main"}


def test_an_error_is_one_sentence_on_standard_error(tmp_path, capsys):
    assert cli.main(["why", "a:1", "--directory", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"showwork why: {tmp_path}/results: no such folder")
    assert said.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    (tmp_path / "long.txt").write_text("line\n" * 200_000)
    command = f"{sys.executable} -m showwork.cli inspect {tmp_path}/long.txt | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=REPO / "src")
    assert (done.stdout, done.stderr) == ("line\n", "")


def test_a_terminal_of_few_characters_gets_the_others_by_number(tmp_path):
    (tmp_path / "x.txt").write_text("naïve ‹bos›\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "showwork.cli", "inspect", str(tmp_path / "x.txt")],
        capture_output=True, check=True, cwd=REPO / "src", env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout == b"na\\xefve \\u2039bos\\u203a\n"
