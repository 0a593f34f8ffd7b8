"""The pure parts of the page: what they count, how they round, what they claim."""

from __future__ import annotations

import base64
import gzip
import json

import numpy as np
import pytest

from showwork.learn.measures import measures
from showwork.page.cells import percent, points, shortened, size
from showwork.page.charts import curve, length_bins, smoothed
from showwork.page.comparison import Evaluated, comparison
from showwork.page.generations import generations_section
from showwork.page.lengths import fill_values, segments_values, whole_lengths
from showwork.page.render import inline_json, vega_bundle
from showwork.page.training import curves, duration, plan_beside_fact, training_section
from showwork.page.verdict import tiles, verdict_sentence


def evaluated(
    name: str, right: list[bool | None], *, direct: list[bool] | None = None, formed: bool = True
) -> Evaluated:
    """A model that answered len(right) prompts, `right` in its tags and `direct` without."""
    rows = []
    for i, correct in enumerate(right):
        row = {
            "prompt_id": f"{i:03d}", "source": "ab"[i % 2], "mode": "greedy", "question": f"Question {i} é?", "gold_answer": "4",
            "completion": f"text {i} of {name}", "answer": "4", "reason": "" if formed else "no_open", "well_formed": formed,
            "graded": 1.0, "correct": correct, "looping": False, "truncated": False, "answer_copied": None, "language_switched": None, "num_tokens": 9,
            "gold_loss": 10.0 + i, "gold_tokens": 10, "stop_probability": 0.9,
        }  # fmt: skip
        rows.append(row)
        if direct is not None:
            rows.append(
                row
                | {"mode": "direct", "correct": direct[i], "well_formed": None, "gold_loss": None, "gold_tokens": None}
            )
    modes: dict = {}
    for row in rows:
        modes.setdefault(row["mode"], {})[row["prompt_id"]] = row
    return Evaluated(name, {"name": name, **measures(rows)}, modes)


def test_a_gain_is_claimed_only_when_its_interval_leaves_out_zero():
    base = evaluated("base", [False] * 40, direct=[True] * 10 + [False] * 30, formed=False)
    clear = verdict_sentence(base, evaluated("session1", [True] * 36 + [False] * 4, direct=[False] * 40))
    assert "100.0\N{NARROW NO-BREAK SPACE}% of 40 held-out answers" in clear
    assert "65 points more than base asked directly" in clear
    unclear = verdict_sentence(base, evaluated("session1", [True] * 12 + [False] * 28, direct=[False] * 40))
    assert "which is not shown to differ from base asked directly" in unclear
    worse = verdict_sentence(base, evaluated("session1", [False] * 40, direct=[False] * 40))
    assert "25 points fewer than base asked directly" in worse


def test_without_short_gold_answers_the_verdict_falls_back_on_the_loss():
    base, session = evaluated("base", [None] * 20), evaluated("session1", [None] * 20)
    assert "the held-out loss did not clearly move: 1.950 before, 1.950 after." in verdict_sentence(base, session)


def test_tiles_are_coloured_only_where_the_paired_difference_is_clear():
    base, session = evaluated("base", [False] * 30, formed=False), evaluated("session1", [True] * 30)
    kinds = {tile["name"]: tile["kind"] for tile in tiles(base, session)}
    assert kinds["Well-formed"] == kinds["Right answers"] == "good"
    assert kinds["Held-out loss"] == kinds["Looping"] == ""


def test_the_table_compares_in_the_tags_with_the_base_asked_directly():
    base = evaluated("base", [False] * 30, direct=[True] * 9 + [False] * 21)
    table = comparison([base, evaluated("session1", [True] * 24 + [False] * 6, direct=[False] * 30)])
    (row,) = [r for r in table["rows"] if r[0]["text"] == "Right answers, against base asked directly"]
    assert [c["text"] for c in row[1:]] == ["30.0\N{NARROW NO-BREAK SPACE}%", "80.0\N{NARROW NO-BREAK SPACE}%", "+50.0"]
    assert row[3]["kind"] == "good"
    assert [c["title"] for c in table["columns"]] == ["Measure", "base", "session1", "session1 – base"]
    assert [r[0]["text"] for r in table["source_rows"]] == ["a", "b"]


def test_the_browser_of_generations_gives_way_before_the_page_grows_too_large():
    models = [evaluated("base", [False] * 200), evaluated("session1", [True] * 200, direct=[True] * 200)]
    whole = generations_section(models, 10**6)
    assert whole["note"] == ""
    part = generations_section(models, len(whole["payload"]) // 3)
    assert len(part["payload"]) <= len(whole["payload"]) // 3
    held = json.loads(gzip.decompress(base64.b64decode(part["payload"])))
    assert 20 < len(held["prompts"]) < 200
    assert part["note"] == f"The page holds the first {len(held['prompts'])} of 200; all are in generations.parquet."
    first = held["prompts"][0]
    assert first["outputs"]["session1"]["direct"] == {"text": "4", "right": True}
    assert "direct" not in first["outputs"]["base"]


def test_filters_for_right_and_wrong_need_answers_that_can_be_judged():
    assert "right" in generations_section([evaluated("base", [True])], 10**6)["filters"]
    assert "right" not in generations_section([evaluated("base", [None])], 10**6)["filters"]


LEDGER = {
    "source": np.array(["a", "a", "b", "b"]),
    "packed_row": np.array([0, 0, 1, -1]),
    "num_tokens": np.array([3, 4, 8, 0]),
    "tokens_cut": np.array([0, 0, 12, 0]),
}


def test_lengths_are_those_before_anything_was_cut_and_leave_out_dropped_records():
    assert {k: v.tolist() for k, v in whole_lengths(LEDGER).items()} == {"a": [3, 4], "b": [20]}
    assert segments_values(LEDGER) == [{"examples": 1, "rows": 1}, {"examples": 2, "rows": 1}]
    fill = fill_values(LEDGER, {"density": 15 / 16}, 8)
    assert fill == [{"how": "packed", "percent": 93.75}, {"how": "padded", "percent": 62.5}]


def test_the_histogram_holds_every_example_once_and_its_last_bar_all_longer_ones():
    lengths = {"a": np.array([1, 2, 2, 7]), "b": np.array([8, 9, 5000])}
    bins = length_bins(lengths, max_length=8, num_bins=4)
    assert sum(b["examples"] for b in bins) == 7
    assert bins == [
        {"source": "a", "from": 0, "to": 4, "examples": 3},
        {"source": "a", "from": 4, "to": 8, "examples": 1},
        {"source": "b", "from": 8, "to": 12, "examples": 2},
        {"source": "b", "from": 12, "to": 16, "examples": 1},
    ]


def test_the_moving_median_is_centred_and_one_bad_step_does_not_lift_it():
    assert smoothed([0.0, 9.0, 3.0, 2.0, 1.0, 0.0, 0.0]) == [3.0, 2.5, 2.0, 2.0, 1.0, 0.5, 0.0]
    assert smoothed([2.0] * 50 + [99.0] + [2.0] * 50) == [2.0] * 101


def test_a_loss_that_falls_far_gets_a_logarithmic_axis():
    def scale(last: float) -> str:
        spec = curve([{"step": 1, "loss": 3.0}, {"step": 2, "loss": last}], "loss")
        return spec["layer"][0]["encoding"]["y"]["scale"]["type"]

    assert (scale(0.03), scale(1.0)) == ("log", "linear")


def test_curves_are_thinned_and_missing_numbers_leave_their_curve_out():
    history = [{"step": i, "loss": 1.0, "lr": 1e-5, "grad_norm": 2.0, "tokens": 10} for i in range(1, 2001)]
    history[999]["share_moved"] = 0.5
    found = curves(history, [{"step": 1, "seconds": 0.5, "tokens": 10}, {"step": 2, "seconds": 0.25, "tokens": 10}])
    assert set(found) == {"loss", "learning_rate", "grad_norm", "tokens_per_s"}
    assert len(found["loss"]) == 500
    assert found["tokens_per_s"] == [{"step": 1, "tokens_per_s": 20.0}, {"step": 2, "tokens_per_s": 40.0}]


def test_a_session_that_learns_from_rewards_shows_them_and_not_its_loss():
    history = [
        {"step": i, "loss": 0.0, "lr": 1e-5, "grad_norm": float(i != 2), "tokens": 10, "reward": i / 10, "length": 40.0}
        for i in (1, 2, 3)
    ]
    found = curves(history, [])
    assert set(found) == {"reward", "length", "learning_rate", "grad_norm"}
    drawn = curve(found["grad_norm"], "grad_norm")["layer"][0]["encoding"]["y"]["scale"]["type"]
    assert drawn == "linear", "a norm of 0 has no place on a logarithmic axis"
    chosen = {
        "adapter": None, "batch_size": 8, "gradient_accumulation": 1, "schedule": "linear", "learning_rate": 1e-3,
        "warmup_steps": 2, "grpo": {"prompts_per_batch": 16, "group_size": 8},
    }  # fmt: skip
    counts = {"steps": 3, "tokens": 30, "loss_tokens": 9, "parameters": 5}
    section = training_section(history, [], {"counts": counts, "settings": {"train": chosen}}, None)
    said = (
        "the reward of its own rollouts went from 0.100, the mean of the first 1 batches, to 0.300, that of the last 1."
    )
    assert said in section["sentence"]
    assert section["caption"].startswith("What happened; 16 prompts x 8 rollouts a batch, linear schedule from 0.001")


def test_the_plan_stands_beside_what_happened_and_is_left_out_when_there_is_none():
    chosen = {
        "batch_size": 2,
        "gradient_accumulation": 16,
        "schedule": "cosine",
        "learning_rate": 2e-5,
        "warmup_steps": 100,
    }
    caption, columns, rows = plan_beside_fact({"steps": 100, "seconds": 50}, {"steps": 100, "seconds": 75.0}, chosen)
    assert caption.startswith("The plan beside what happened; 32 packed rows a step, cosine schedule from 2e-05")
    by_name = {row[0]["text"]: [c["text"] for c in row[1:]] for row in rows}
    assert by_name["Optimizer steps"] == ["100", "100", "100.0\N{NARROW NO-BREAK SPACE}%"]
    assert by_name["Time"] == ["50.0 s", "1 min 15 s", "150.0\N{NARROW NO-BREAK SPACE}%"]
    assert by_name["Peak memory (planned: the step alone)"] == ["–", "–", "–"]
    _, columns, rows = plan_beside_fact(None, {"steps": 100}, chosen)
    assert [c["title"] for c in columns] == ["Quantity", "Happened"]
    assert all(len(row) == 2 for row in rows)


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.41, "9.4 s"), (75, "1 min 15 s"), (3725, "1 h 02 min"), (3599.6, "1 h 00 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_numbers_read_as_people_write_them():
    assert (percent(0.9731), percent(None)) == ("97.3\N{NARROW NO-BREAK SPACE}%", "–")
    assert (points(0.57), points(-0.005)) == ("+57.0", "\N{MINUS SIGN}0.5")
    assert (size(999), size(2_500_000), size(87e9)) == ("999 bytes", "2.5 MB", "87.0 GB")
    assert shortened("abcdef", 4) == "abcd… (2 characters more)"
    assert shortened("abcd", 4) == "abcd"


def test_json_inside_a_script_cannot_close_it():
    shown = inline_json({"text": "</script><!-- <b>"})
    assert "<" not in shown
    assert json.loads(shown) == {"text": "</script><!-- <b>"}
    assert "</script" not in vega_bundle()
