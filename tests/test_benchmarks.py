"""The table of benchmarks/README.md is true: every script, every result, and nothing that is not there."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
FOLDER = REPO / "benchmarks"
SAID = (FOLDER / "README.md").read_text()


def test_every_script_is_named_and_every_name_is_a_script() -> None:
    named = set(re.findall(r"`([a-z_]+\.py)", SAID))
    assert named == {f.name for f in FOLDER.glob("*.py")}


def test_every_result_is_named_once_kept_once_and_says_where_it_comes_from() -> None:
    rows = [line.split("|") for line in SAID.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row[4])}
    kept = sorted((FOLDER / "results").glob("*.json"))
    assert sorted(f.stem[11:] for f in kept) == sorted(named), "one result for each name, superseded ones deleted"
    for file in kept:
        told = json.loads(file.read_text())
        assert {"commit", "date"} <= set(told), f"{file.name} does not say when and from which commit"


def test_the_readme_shows_what_the_results_say() -> None:
    blocks = runpy.run_path(str(FOLDER / "table.py"))["blocks"]()
    assert len(blocks) == 5
    for block in blocks:
        assert block in (REPO / "README.md").read_text(), "put what benchmarks/table.py prints into the README"
