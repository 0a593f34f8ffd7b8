"""The sweep's table and the index over finished sessions: numbers equal the evaluations', pages small and without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from finished_runs import INDEX, RUNS, SWEEP, finish_runs

from showwork import index, sweep
from showwork.foundation.files import read_json
from showwork.foundation.stage import run_stage


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    results = tmp_path_factory.mktemp("compared") / "results"
    return results, finish_runs(results)


def test_the_table_of_a_sweep_holds_every_run_with_its_evaluation_and_a_paired_interval(
    finished: tuple[Path, list[Path]],
) -> None:
    results, inputs = finished
    table, page = results / "sweep/rates.json", results / "sweep/rates.html"
    argv = [
        "--settings",
        json.dumps(SWEEP),
        "--inputs",
        *map(str, inputs),
        "--table",
        str(table),
        "--page",
        str(page),
    ]
    assert run_stage(sweep.work, sweep.arguments, sweep.__doc__, argv) == 0
    found = read_json(table)
    assert list(found["runs"]) == list(RUNS)
    for run in RUNS:
        told = read_json(results / f"evaluate/{run}/metrics.json")["total"]["greedy"]["well_formed"]
        measure = found["runs"][run]["measures"]["well_formed"]
        assert {key: measure[key] for key in told} == told
        change = measure["against_base"]
        assert change["low"] <= change["mean"] <= change["high"]
    assert [found["runs"][run]["underperforms"] for run in RUNS] == [False, True]
    assert "Over the seeds" in page.read_text()


def test_the_index_is_one_small_page_with_sessions_and_sweeps_that_asks_no_network(
    finished: tuple[Path, list[Path]],
) -> None:
    results, inputs = finished
    page = results / "report/index.html"
    argv = ["--settings", json.dumps(INDEX), "--inputs", *map(str, inputs), "--page", str(page)]
    assert run_stage(index.work, index.arguments, index.__doc__, argv) == 0
    text = page.read_text()
    markup = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert len(text.encode()) < 3_000_000
    assert "default-src 'none'" in text
    links = re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']*)""", markup)
    assert links == ["rates_a.html", "rates_b.html", "../sweep/rates.html"]
    assert "underperforms by looping answers; what fits is a stricter filter." in markup
    assert text.count('class="chart-spec"') == 4


def test_a_run_without_an_evaluation_is_named(
    finished: tuple[Path, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    results, inputs = finished
    fewer = [path for path in inputs if "evaluate/rates_b" not in str(path)]
    argv = ["--settings", json.dumps(SWEEP), "--inputs", *map(str, fewer), "--table", str(results / "x.json")]
    assert run_stage(sweep.work, sweep.arguments, sweep.__doc__, [*argv, "--page", str(results / "x.html")]) == 1
    assert "holds no manifest of evaluate 'rates_b'" in capsys.readouterr().err
