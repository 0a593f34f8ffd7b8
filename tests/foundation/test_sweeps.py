"""Sweeps: runs are named by their values, share what they can, and a mistake is one sentence with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from showwork.foundation.config import ConfigError, checked_config

REPO = Path(__file__).parents[2]


def checked(sweep: dict[str, Any]) -> dict[str, Any]:
    config = yaml.safe_load((REPO / "config.yaml").read_text()) | {"sweep": sweep}
    return checked_config(
        config, files=[REPO / "config.yaml"], schema_file=REPO / "workflow/schemas/config.schema.yaml"
    )


def test_a_run_is_a_copy_of_its_session_but_for_the_values_that_name_it() -> None:
    found = checked({"rates": {"session": "session2", "over": {"learning_rate": ["1e-5"], "adapter.rank": [8, 16]}}})
    runs = found["sweep"]["rates"]["runs"]
    assert list(runs) == ["rates_learning_rate_1e_05_rank_8", "rates_learning_rate_1e_05_rank_16"]
    assert found["sessions"]["rates_learning_rate_1e_05_rank_8"] == {
        "samples": ["glaiveai_continuation_100k"], "start_from": "session1", "publish": None, "mix": "session2",
        "train": {"learning_rate": 1e-5, "adapter": {"rank": 8}}, "of_sweep": "rates",
    }  # fmt: skip


def test_a_run_that_differs_in_nothing_is_the_session_itself() -> None:
    found = checked({"rates": {"session": "session1", "over": {"learning_rate": [2e-5, 4e-5]}}})
    sessions = [run["session"] for run in found["sweep"]["rates"]["runs"].values()]
    assert sessions == ["session1", "rates_learning_rate_4e_05"]
    assert set(found["sessions"]) == {"session1", "session2", "session3", "rates_learning_rate_4e_05"}


def test_runs_on_other_records_share_one_mix_whatever_else_they_vary() -> None:
    over = {"samples": {"less": ["raiden_deepseek_r1"]}, "seed": [1, 2]}
    found = checked({"mixes": {"session": "session1", "over": over}})
    assert {found["sessions"][run]["mix"] for run in found["sweep"]["mixes"]["runs"]} == {"mixes_less"}


WRONG = {
    "an unknown session": (
        {"session": "session9", "over": {"seed": [1]}},
        "sweep.a.session: no session 'session9'; a sweep varies one of session1, session2, session3",
    ),
    "an unknown setting": (
        {"session": "session1", "over": {"learning_rat": [1]}},
        "sweep.a.over.learning_rat[0]: unknown setting; did you mean 'learning_rate'?",
    ),
    "a value out of bounds": (
        {"session": "session1", "over": {"learning_rate": [1e-5, -1]}},
        "sweep.a.over.learning_rate[1]: is -1, expected more than 0",
    ),
    "a value given twice": (
        {"session": "session1", "over": {"learning_rate": [1e-5, 0.00001]}},
        "makes a run 'a_learning_rate_1e_05', a name that sweep.a has already; give each value once, or rename the sweep",
    ),
    "a mix without a name": (
        {"session": "session1", "over": {"samples": [["raiden_deepseek_r1"]]}},
        "write a block of names and values, {short_name: ['raiden_deepseek_r1']}",
    ),
    "an unknown sample": (
        {"session": "session1", "over": {"samples": {"x": ["raiden"]}}},
        "run a_x: samples[0] no sample 'raiden'",
    ),
    "rows of the session before": (
        {"session": "session2", "over": {"samples": {"x": ["glaiveai_30k"]}}},
        "glaiveai_30k is also in session1; a row may be in one session only",
    ),
    "no values": ({"session": "session1", "over": {"seed": []}}, "sweep.a.over.seed: is [], expected"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_sentence(name: str) -> None:
    block, said = WRONG[name]
    with pytest.raises(ConfigError) as refused:
        checked({"a": block})
    (problem,) = refused.value.problems
    assert said in problem
    assert problem.startswith("config.yaml:")
