"""The report stage: complete, escaped, small, and clear about what it lacks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_session import HOSTILE, SAMPLES, finish_session, settings

from showwork import report
from showwork.foundation.files import read_json, write_json
from showwork.foundation.manifest import describe
from showwork.foundation.stage import run_stage


def write_page(folder: Path, inputs: list[Path], session: str = "session1") -> int:
    argv = ["--settings", json.dumps(settings(session)), "--session", session, "--inputs", *map(str, inputs)]
    return run_stage(report.work, report.arguments, report.__doc__, [*argv, "--page", str(folder / "page.html")])


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    inputs = finish_session(folder, num_prompts=24, steps=20)
    assert write_page(folder, inputs) == 0
    return folder, inputs, (folder / "page.html").read_text("utf-8")


def markup(page: str) -> str:
    """The page without the content of its scripts."""
    return re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)


def test_the_page_is_one_small_file_that_may_not_ask_a_network_for_anything(session):
    page = session[2]
    assert len(page.encode()) < 3_000_000
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", markup(page))
    assert page.count("vega-lite") > 1
    assert page.count("window.vegaEmbed=") == 1


def test_no_text_of_a_record_becomes_markup(session):
    page = session[2]
    assert HOSTILE not in page
    assert "<img" not in markup(page)
    assert "&lt;img" in markup(page), "the hostile row must be shown, as text, among the examples of losses"
    assert "{{ 7*7 }}" in markup(page)


def test_the_users_own_questions_have_a_table_of_their_own_and_one_by_tag(session):
    page = markup(session[2])
    assert "Your own questions, exam: 6 of them. The mixes are not guarded against these." in page
    assert "By tag of exam: session1, with base underneath." in page
    assert "&lt;b&gt;hard" in page


def test_every_selected_row_is_trained_on_or_lost_with_a_reason(session):
    inputs = report.Inputs(session[1], "session1")
    steps = report.funnel.steps_by_source(
        [r.manifest for r in inputs.all("sample")],
        [r.manifest for r in inputs.all("standardize")],
        inputs.one("mix", "session1").manifest,
        inputs.one("pack", "session1").manifest,
    )
    assert list(steps) == [source for source, _, _ in SAMPLES.values()]
    for s in steps.values():
        lost = sum(sum(s["lost"][stage].values()) for stage in ("standardize", "mix", "pack"))
        assert s["taken"] == s["trained"] + lost
    shares = {}
    for value in report.funnel.chart_values(steps):
        shares[value["sample"]] = shares.get(value["sample"], 0) + value["share"]
    assert all(share == pytest.approx(100, abs=0.01) for share in shares.values())


def test_every_reason_of_every_stage_is_listed_with_examples(session):
    page = session[2]
    for stage, reason in (
        ("sample", "language"),
        ("standardize", "no_close"),
        ("mix", "near_duplicate"),
        ("pack", "answer_too_long"),
    ):
        assert re.search(rf">{reason}</button>.*?<td>{stage}</td>", page, re.DOTALL)
    assert "repeats: question" in page
    assert "similarity 0.91" in page


def test_the_page_does_not_change_when_nothing_did(session):
    folder, inputs, page = session
    assert write_page(folder, inputs[::-1]) == 0
    again = (folder / "page.html").read_text("utf-8")
    assert write_page(folder, inputs) == 0
    assert (folder / "page.html").read_text("utf-8") == page
    assert len(again) == len(page)


def test_the_plan_stands_beside_what_happened(session):
    page = session[2]
    assert "The plan beside what happened" in page
    (row,) = re.findall(r"<tr><th[^>]*>Optimizer steps</th>(.*?)</tr>", page)
    assert re.findall(r">([^<]+)</td>", row) == ["20", "20", "100.0\N{NARROW NO-BREAK SPACE}%"]


def test_a_session_without_plan_export_and_timing_still_has_a_page(session, tmp_path):
    folder, inputs, _ = session
    copied = [
        tmp_path / path.relative_to(folder)
        for path in inputs
        if path.parent.name != "plan" and path.name != "certificate.json"
    ]
    shutil.copytree(folder / "results", tmp_path / "results")
    (tmp_path / "results/train/session1/timing.jsonl").unlink()
    assert write_page(tmp_path, copied) == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert 'id="export"' not in page
    assert "The plan beside" not in page
    assert 'id="chart-tokens_per_s"' not in page
    assert 'id="chart-loss"' in page


def test_a_missing_manifest_is_named(session, tmp_path, capsys):
    inputs = [path for path in session[1] if "evaluate/base" not in str(path)]
    assert write_page(tmp_path, inputs) == 1
    assert "--inputs holds no manifest of evaluate 'base', only download raiden_deepseek_r1" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_numbers_of_two_versions_of_a_task_are_not_compared(session, tmp_path, capsys):
    folder, inputs, _ = session
    shutil.copytree(folder / "results", tmp_path / "results")
    path = tmp_path / "results/evaluate/base/metrics.json"
    metrics = read_json(path)
    metrics["tasks"]["greedy"] = 0
    write_json(path, metrics)
    manifest = read_json(path.with_name("manifest.json"))
    manifest["files"]["metrics"] = describe(path, path.parent)
    write_json(path.with_name("manifest.json"), manifest)
    assert write_page(tmp_path, [tmp_path / p.relative_to(folder) for p in inputs]) == 1
    assert "task 'greedy' has version 0123456789ab for session1 and 0 for base" in capsys.readouterr().err


def test_importing_the_report_loads_no_model_code():
    code = "import sys, showwork.report; print(*(m for m in ('jax', 'transformers', 'torch', 'datasets') if m in sys.modules))"
    where = Path(report.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(where)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
