"""docs/scaling.md says what the results say: its blocks are printed from them, and no other number stands in it."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PAGE = (REPO / "docs/scaling.md").read_text()
TABLE = runpy.run_path(str(REPO / "benchmarks/table.py"))
NAMES = re.compile(r"Gemma 2 2B|`[^`]*`|\]\([^)]*\)|sessions 1 and 2")
"""Numbers that are parts of names."""


def test_the_page_shows_what_the_results_say() -> None:
    blocks = TABLE["scaling"]()
    assert len(blocks) == 10
    for block in blocks:
        assert block in PAGE or block[0].lower() + block[1:] in PAGE, (
            "put what benchmarks/table.py prints into docs/scaling.md"
        )


def test_no_other_number_stands_in_it() -> None:
    text = PAGE
    for block in TABLE["scaling"]():
        text = text.replace(block, "").replace(block[0].lower() + block[1:], "")
    assert re.findall(r"\d[\d.,]*", NAMES.sub("", text)) == []


def test_every_file_that_it_names_is_there() -> None:
    linked = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(linked) > 8
    assert [name for name in linked if not (REPO / "docs" / name).is_file()] == []
    for name in re.findall(r"`(?:python )?((?:benchmarks|tests)/[\w./]+)`", PAGE):
        assert (REPO / name).exists(), name


def test_the_growth_is_measured_up_to_what_was_asked() -> None:
    _, told = TABLE["result"]("growth")
    measured = {part: {kind: list(map(int, sizes)) for kind, sizes in told[part]["found"].items()} for part in (
        "rows", "mixes", "sessions", "devices")}  # fmt: skip
    assert {max(sizes) for sizes in measured["rows"].values()} == {10_000_000}
    assert {max(sizes) for sizes in measured["mixes"].values()} == {2_000_000}
    assert {max(sizes) for sizes in measured["sessions"].values()} == {200}
    assert {max(sizes) for sizes in measured["devices"].values()} == {8}
    for part in measured:
        assert {"date", "commit", "load_average", "command"} <= told[part].keys()


@pytest.mark.parametrize("part", ["rows", "sessions", "devices"])
def test_a_bar_that_is_missed_is_named(monkeypatch, part: str) -> None:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    bars = runpy.run_path(str(REPO / "benchmarks/growth.py"))["bars"]
    _, told = TABLE["result"]("growth")
    worse = json.loads(json.dumps({part: told[part]}))
    for sizes in worse[part]["found"].values():
        last = sizes[max(sizes, key=int)]
        last.update(memory_mb=10_000, wall_s=1e6, cpu_s=1e6, losses_apart=1.0)
    missed = [what for what, value, bar, more in bars(worse) if (value < bar if more else value > bar)]
    assert missed == [what for what, *_ in bars(worse)]
    assert missed
