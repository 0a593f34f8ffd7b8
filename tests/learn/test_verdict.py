from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from showwork.learn.verdict import Measure, still_falling, verdict

LIMITS = {
    "well_formed": 0.9, "gain_over_direct": 0.0, "looping": 0.02, "loss_rise": 0.0, "rejected": 0.5, "still_falling": 0.01,
}  # fmt: skip
FLAT = [{"loss": 1.0, "loss_tokens": 10} for _ in range(50)]
FALLING = [{"loss": 2.0 - i / 40, "loss_tokens": 10} for i in range(50)]


def rows(*, formed=1.0, right=0.7, loops=0.0, loss=1.0, direct: float | None = 0.25, n=300) -> dict[str, Any]:
    """An evaluation in which the first so-and-so many of n prompts have a property."""
    found: dict[str, Any] = {
        "greedy": {
            str(i): {"well_formed": i < formed * n, "correct": i < right * n, "looping": i >= n - loops * n,
                     "gold_loss": 40 * loss * (1 + i % 5 / 10), "gold_tokens": 40}
            for i in range(n)
        }
    }  # fmt: skip
    if direct is not None:
        found["direct"] = {str(i): {"correct": (i * 7) % n < direct * n} for i in range(n)}
    return found


BASE = rows(formed=0, right=0, loss=2.0)


def judged(session: dict[str, Any], history=FLAT, rejected=(10, 1000), base=BASE) -> dict[str, Any]:
    return verdict(base, session, history, rejected, LIMITS)


def test_a_good_session_does_not_underperform_and_nothing_is_advised():
    found = judged(rows())
    assert (found["underperforms"], found["fallback"], found["missed"]) == (False, "none", [])
    assert {m["key"]: m["found"] for m in found["measures"]} == {
        "well_formed": "met", "gain_over_direct": "met", "looping": "met", "loss_rise": "met", "rejected": "met",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("session", "more", "fallback", "missed", "also"),
    [
        (rows(formed=0.5), {}, "grpo", ["well_formed"], []),
        (rows(right=0.1), {}, "grpo", ["gain_over_direct"], []),
        (rows(right=0.1), {"history": FALLING}, "more_epochs", ["gain_over_direct"], ["grpo"]),
        (rows(loops=0.2), {}, "quality_filter", ["looping"], []),
        (rows(), {"rejected": (700, 1000)}, "quality_filter", ["rejected"], []),
        (rows(loss=3.0), {}, "grpo_from_base", ["loss_rise"], []),
        (
            rows(loss=3.0, formed=0.5, loops=0.2),
            {},
            "grpo_from_base",
            ["well_formed", "looping", "loss_rise"],
            ["quality_filter", "grpo"],
        ),
        (rows(), {"history": FALLING}, "none", [], []),
    ],
)
def test_each_shortfall_has_its_fallback(session, more, fallback, missed, also):
    found = judged(session, **more)
    assert (found["fallback"], found["missed"], found["also"]) == (fallback, missed, also)
    assert found["underperforms"] is bool(missed)


def test_an_interval_across_the_threshold_is_unclear_and_no_shortfall():
    found = judged(rows(formed=0.89))
    (formed,) = [m for m in found["measures"] if m["key"] == "well_formed"]
    assert formed["low"] < 0.9 < formed["high"]
    assert (formed["found"], found["underperforms"]) == ("unclear", False)


def test_what_was_not_asked_is_not_judged():
    base = {"greedy": BASE["greedy"]}
    assert [m["key"] for m in judged(rows(direct=None), base=base)["measures"]] == [
        "well_formed", "looping", "loss_rise", "rejected",
    ]  # fmt: skip


def test_a_measure_says_value_interval_threshold_and_verdict():
    measure = Measure("looping", 0.1, 0.05, 0.15, 0.02, above=False)
    assert measure.sentence() == "looping is 0.100 (95 %: 0.050 to 0.150), wanted at most 0.02: missed"


def test_the_loss_is_held_against_the_fifth_before_the_last():
    assert still_falling([{"loss": x, "loss_tokens": 1} for x in (9, 9, 9, 1.0, 0.9)]) == pytest.approx(0.1)
    assert still_falling(FLAT[:4]) is None
    assert still_falling([{"loss": 0.0, "reward": 1.0, "loss_tokens": 1}] * 10) is None
    assert np.sign(still_falling(FALLING)) == 1
