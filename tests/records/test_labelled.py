"""The bars of the filters on their held-out halves, as benchmarks/ measures them; here on fewer loops."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from showwork.records.language import not_english
from showwork.records.prose import not_prose

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def test_english_is_told_from_other_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = benchmark("labels", monkeypatch)
    texts = labels.read(english="language_english.txt", foreign="language_foreign.txt")
    assert len(texts) >= 300
    held_out = [t for t in texts if t.half == "held_out"]
    found = labels.judged(held_out, lambda text: not_english(text) is not None, lambda t: t.label == "foreign")
    assert found["right"] >= 0.97


def test_maths_and_code_are_found_and_prose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = benchmark("labels", monkeypatch)
    texts = labels.read(prose="prose_clean.txt", maths="prose_maths.txt", code="prose_code.txt")
    assert len(texts) >= 200
    held_out = [t for t in texts if t.half == "held_out"]
    found = labels.judged(held_out, lambda text: not_prose("", text, "") is not None, lambda t: t.label != "prose")
    assert found["recall"] >= 0.90
    assert found["false_alarms"] <= 0.03


def test_loops_are_found_and_other_repetition_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = benchmark("loops", monkeypatch)
    monkeypatch.setattr(loops, "EACH", 5)
    assert loops.share(list(loops.judge(loops.LOOPS, "held_out").values())) >= 0.95
    assert loops.share(list(loops.judge(loops.HARD, "held_out").values())) <= 0.01
