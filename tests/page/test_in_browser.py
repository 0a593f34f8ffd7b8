"""The page in a real browser: no complaint, no request, charts drawn, search, filters, keyboard, phone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, browser
from finished_runs import INDEX, RUNS, finish_runs, judge_models
from finished_session import HOSTILE, finish_session, settings

from showwork import index, report
from showwork.foundation.stage import run_stage

# One process runs them all: a browser is dear to start.
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver; .ci/run installs them"
    ),
]
NUM_PROMPTS = 40
TAB, ENTER = "\ue004", "\ue007"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    inputs = finish_session(folder, num_prompts=NUM_PROMPTS, steps=30)
    inputs += judge_models(folder / "results", ("base", "session1"), NUM_PROMPTS)
    argv = ["--settings", json.dumps(settings()), "--session", "session1", "--inputs", *map(str, inputs)]
    assert (
        run_stage(report.work, report.arguments, report.__doc__, [*argv, "--page", str(folder / "session1.html")]) == 0
    )
    return folder / "session1.html"


@pytest.fixture(scope="module")
def started():
    with browser() as one:
        yield one


@pytest.fixture
def shown(started, page) -> Browser:
    started.open(page)
    started.wait("document.documentElement.dataset.charts === 'drawn'")
    started.wait("document.documentElement.dataset.generations === 'shown'")
    return started


def cards(shown: Browser) -> int:
    return shown.run("return document.querySelectorAll('.card').length")


def pick(shown: Browser, name: str) -> None:
    shown.run("document.querySelector(`#filters [data-filter='${arguments[0]}']`).click()", name)


def search(shown: Browser, text: str) -> None:
    script = "const s = document.querySelector('#search'); s.value = arguments[0]; s.dispatchEvent(new Event('input'));"
    before = shown.run("return document.querySelector('#shown').textContent")
    shown.run(script, text)
    shown.wait(f"document.querySelector('#shown').textContent !== {json.dumps(before)}")


def test_nothing_is_asked_of_a_network_and_the_console_is_silent(shown):
    assert shown.requests() == []
    assert shown.logs() == []


def test_every_chart_is_drawn_with_marks(shown):
    count = shown.run("return document.querySelectorAll('script.chart-spec').length")
    drawn = shown.run(
        "return [...document.querySelectorAll('.chart svg')].map((s) => s.querySelectorAll('path, rect').length)"
    )
    assert count == len(drawn) == 12
    assert all(marks > 5 for marks in drawn)
    colours = shown.run("return document.querySelector('#chart-funnel svg').outerHTML.includes('--series')")
    assert not colours, "the names of CSS colours must have been filled in"


def test_a_record_full_of_html_is_shown_as_text(shown):
    assert shown.run("return document.title") == "session1 – report"
    assert shown.run("return document.querySelectorAll('main img, main b script').length") == 0
    search(shown, "pwned")
    assert cards(shown) == 1
    assert HOSTILE in shown.run("return document.querySelector('.card .question').textContent")
    assert HOSTILE in shown.run(
        "return document.querySelector('.card .said .trace').textContent + document.querySelectorAll('.card .said')[1].textContent"
    )
    opened = "[...document.querySelectorAll('tbody.loss pre')].some((p) => p.textContent.includes('onerror='))"
    assert shown.run(f"return {opened}")
    assert shown.logs() == []


def test_ten_are_shown_first_then_more(shown):
    assert cards(shown) == 10
    assert shown.run("return document.querySelector('#shown').textContent") == f"10 of {NUM_PROMPTS} shown"
    shown.run("document.querySelector('#more').click()")
    assert cards(shown) == 35
    shown.run("document.querySelector('#more').click()")
    assert cards(shown) == NUM_PROMPTS
    assert shown.run("return document.querySelector('#more').hidden")


def test_filters_show_what_they_say_and_count_it(shown):
    for name, badge in (("wrong", "wrong"), ("looping", "looping"), ("malformed", "no close")):
        pick(shown, name)
        label = shown.run("return document.querySelector(`#filters [aria-pressed='true']`).textContent").split()
        assert label[0] == name
        assert 0 < int(label[1]) < NUM_PROMPTS
        assert cards(shown) == min(10, int(label[1]))
        column = "[...document.querySelectorAll('.card .columns > div:last-child h4')]"
        assert shown.run(
            f"return {column}.every((h) => [...h.children].some((b) => b.textContent === arguments[0]))", badge
        )
    pick(shown, "all")
    assert cards(shown) == 10


def test_search_and_source_narrow_together_and_mark_what_was_found(shown):
    search(shown, "  VERA ")
    marks = shown.run("return [...document.querySelectorAll('mark')].map((m) => m.textContent)")
    assert marks
    assert set(marks) == {"Vera"}
    both = int(shown.run("return document.querySelector('#shown').textContent").split()[2])
    shown.run("const s = document.querySelector('#source'); s.value = 'glaive'; s.dispatchEvent(new Event('change'));")
    assert int(shown.run("return document.querySelector('#shown').textContent").split()[2]) < both
    about = shown.run("return [...document.querySelectorAll('.card .about')].map((a) => a.textContent)")
    assert all(text.startswith("glaive") for text in about)
    search(shown, "no such text anywhere")
    assert cards(shown) == 0


def test_tables_sort_by_number_and_back(shown):
    read = "return [...document.querySelectorAll('#data table')[0].tBodies[0].rows].map((r) => r.cells[3].textContent)"
    click = "document.querySelectorAll('#data table')[0].querySelectorAll('thead th button')[3].click()"
    shown.run(click)
    falling = [int(text) for text in shown.run(read)]
    shown.run(click)
    assert falling == sorted(falling, reverse=True) == [int(text) for text in shown.run(read)][::-1]


def test_a_loss_opens_to_example_rows_by_keyboard_and_stays_with_its_row_when_sorted(shown):
    shown.run("document.querySelector('tbody.loss .open').focus()")
    shown.press(ENTER)
    button = "document.querySelector(\"tbody.loss .open[aria-expanded='true']\")"
    assert shown.run(f"return document.getElementById({button}.getAttribute('aria-controls')).checkVisibility()")
    losses = "[...document.querySelectorAll('table')].find((t) => t.tBodies[0].classList.contains('loss'))"
    shown.run(f"{losses}.querySelector('thead th button').click()")
    assert shown.run(f"return {button}.closest('tbody').querySelectorAll('.example').length > 0")
    assert shown.run(f"return document.getElementById({button}.getAttribute('aria-controls')).checkVisibility()")


def test_the_keyboard_reaches_skip_link_navigation_search_and_filters(shown):
    shown.run("document.activeElement.blur(); window.scrollTo(0, 0);")
    reached = []
    for _ in range(60):
        shown.press(TAB)
        reached.append(
            shown.run(
                "const e = document.activeElement; return e.className || e.id || e.dataset.filter || e.hash || e.tagName"
            )
        )
    assert reached[0] == "skip"
    assert "theme" in reached
    assert "search" in reached
    assert any(name in reached for name in ("all", "well-formed"))


def test_a_phone_sees_no_sideways_scrolling_and_columns_one_below_the_other(shown):
    shown.size(390, 800)
    try:
        assert shown.run("return document.documentElement.scrollWidth") == 390
        tops = shown.run(
            "return [...document.querySelector('.columns').children].map((c) => c.getBoundingClientRect().top)"
        )
        assert tops[0] < tops[1]
        widths = shown.run(
            "return [...document.querySelectorAll('.chart svg')].map((s) => s.getBoundingClientRect().width)"
        )
        assert max(widths) <= 390
    finally:
        shown.size(1280, 900)


def test_the_theme_changes_page_and_charts(shown):
    look = "return [getComputedStyle(document.body).backgroundColor, document.querySelector('#chart-measures svg').outerHTML]"
    before = shown.run(look)
    shown.run("delete document.documentElement.dataset.charts; document.querySelector('#theme').click()")
    shown.wait("document.documentElement.dataset.charts === 'drawn'")
    after = shown.run(look)
    assert before[0] != after[0]
    assert before[1] != after[1]
    shown.run("document.querySelector('#theme').click()")


def test_the_judges_scores_stand_beside_the_evaluation_as_text(shown):
    table = "[...document.querySelectorAll('table')].find((t) => t.caption?.textContent.includes('a <judge>'))"
    heads = shown.run(f"return [...{table}.tHead.rows[0].cells].map((c) => c.textContent.trim().split(/\\s/)[0])")
    assert heads == ["Model", "Judged", "Correctness", "Reasoning", "Clarity"]
    rows = shown.run(f"return [...{table}.tBodies[0].rows].map((r) => [...r.cells].map((c) => c.textContent.trim()))")
    assert [row[0] for row in rows] == ["base", "session1"]
    assert rows[0][1].startswith(f"{NUM_PROMPTS - 1}")
    assert "1 unread" in rows[0][1]
    base, after = (float(row[2].split()[0][:4]) for row in rows)
    assert after == pytest.approx(base + 1, abs=0.011)
    assert "+1.00 (+1.00 to +1.00)" in rows[1][2]
    assert shown.run(f"return {table}.caption.textContent").count("cost") == 1


@pytest.fixture(scope="module")
def index_page(tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("index") / "results"
    inputs = [*finish_runs(results), *judge_models(results, ("base", *RUNS))]
    page = results / "report/index.html"
    argv = ["--settings", json.dumps(INDEX), "--inputs", *map(str, inputs), "--page", str(page)]
    assert run_stage(index.work, index.arguments, index.__doc__, argv) == 0
    return page


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_the_index_is_silent_drawn_and_no_wider_than_the_window(started, index_page, width):
    started.requests(), started.logs()  # of the pages before
    before = len(started.requests())
    started.open(index_page, width=width)
    try:
        started.wait("document.documentElement.dataset.charts === 'drawn'")
        assert started.run("return document.documentElement.scrollWidth") == width
        charts = "[...document.querySelectorAll('.chart svg')]"
        assert started.run(f"return {charts}.map((s) => s.querySelectorAll('path, rect').length > 3)") == [True] * 4
        assert max(started.run(f"return {charts}.map((s) => s.getBoundingClientRect().width)")) <= width
        assert started.logs() == []
        assert len(started.requests()) == before == 0
        shown = started.run("return [...document.querySelectorAll('main table')].every((t) => t.checkVisibility())")
        assert shown
        captions = started.run("return [...document.querySelectorAll('caption')].map((c) => c.textContent)")
        assert sum("a <judge>" in caption for caption in captions) == 2
    finally:
        started.size(1280, 900)


def test_a_heading_of_the_index_sorts_its_table(started, index_page):
    started.open(index_page)
    started.wait("document.documentElement.dataset.charts === 'drawn'")
    first = "document.querySelector('main table')"
    models = f"return [...{first}.tBodies[0].rows].map((r) => r.cells[0].firstChild.textContent.trim())"
    click = f"{first}.querySelectorAll('thead th button')[0].click()"
    started.run(click)
    once = started.run(models)
    started.run(click)
    assert once == started.run(models)[::-1]
    assert set(once) == {"base", *RUNS}
