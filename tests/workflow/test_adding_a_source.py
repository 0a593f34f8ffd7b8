"""docs/adding-a-source.md, done word for word: its files are written, its commands are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

REPO = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(line: str, here: Path) -> str:
    """A command of the page: tools of this environment, the demo's folder `here`."""
    words = [re.sub(r"^demo(?=/|$)", str(here), word) for word in shlex.split(line)]
    program = Path(words[0]).name
    tool = {"snakemake": ["-m", "snakemake"], "showwork": ["-m", "showwork.cli"]}[program]
    done = subprocess.run(
        [sys.executable, *tool, *words[1:]],
        cwd=REPO, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_page_on_adding_a_source_does_what_it_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall((REPO / "docs/adding-a-source.md").read_text())
    here = tmp_path / "demo"
    for kind, name, text in blocks:
        if kind != "sh":
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    lines = [line for kind, _, text in blocks if kind == "sh" for line in text.splitlines()]
    assert len(lines) == 4
    said = [run(line, here) for line in lines]
    assert "chats_all" in said[0]
    records = pq.read_table(here / "results/standardize/chats_all.parquet").to_pylist()
    assert [r["answer"] for r in records] == ["A litre of water.", "Because light is faster than sound.", "Today."]
    assert records[0]["trace"].startswith("Oil floats")
    mixed = pq.read_table(here / "results/mix/session1/train.parquet", columns=["source"]).column(0).to_pylist()
    assert mixed.count("chats") == 3
    assert "Oil floats" in said[2]
    assert "null" in said[3]
