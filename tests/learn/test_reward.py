from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from showwork.learn.grade import grade
from showwork.learn.reward import Attempt, pay, reward_functions, weighted

GOOD = "<reasoning>Two and two.</reasoning>\n<answer>4</answer>"


def attempt(text: str = GOOD, reference: str = "4", stopped: bool = True, num_tokens: int = 20) -> Attempt:
    return Attempt(
        question="2 + 2?", reference=reference, text=text, stopped=stopped, num_tokens=num_tokens,
        grade=grade(text, reference, stopped=stopped), record_id="r1", source="s",
    )  # fmt: skip


WEIGHTS = {"format": 0.2, "answer": 1.0, "loop": 0.5, "length": 0.25}


def paid(*attempts: Attempt, **weights: float) -> dict[str, list[float]]:
    functions = reward_functions(weights or WEIGHTS, 60, 100)
    return {name: found.tolist() for name, found in pay(functions, attempts).items()}


def test_each_reward_pays_what_its_name_says():
    looping = "<reasoning>" + "so it is and " * 40
    found = paid(attempt(), attempt(reference="5"), attempt(looping, num_tokens=100, stopped=False))
    assert found == {
        "answer": [1, 0, 0], "format": [1, 1, 0.2], "loop": [0, 0, -1], "length": [0, 0, -1],
    }  # fmt: skip
    assert paid(attempt(num_tokens=80), length=1.0) == {"length": [-0.5]}


def test_a_right_answer_in_a_broken_form_is_not_paid():
    assert paid(attempt("4"), attempt(GOOD, stopped=False), answer=1.0) == {"answer": [0, 0]}


def test_the_sum_is_weighted_and_a_weight_of_zero_switches_off():
    parts = pay(reward_functions({**WEIGHTS, "loop": 0}, 60, 100), [attempt(num_tokens=80)])
    assert list(parts) == ["answer", "format", "length"]
    assert weighted(parts, WEIGHTS).tolist() == [0.2 + 1.0 - 0.125]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a module of the user's, and gives the paths of its functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rewards", raising=False)  # another test's
    (tmp_path / "own_rewards.py").write_text(
        "def short(attempt):\n    return len(attempt.text) < 10\n"
        "def wrong(attempt):\n    return attempt.txt\n"
        "def nan(attempt):\n    return float('nan')\n"
        "def text(attempt):\n    return 'good'\n"
        "def gigabytes(attempt):\n    return ['x' * 10**8] * 20\n"
        "def digits(attempt):\n    return 10**100_000\n"
        "def shouts(attempt):\n    raise RuntimeError('x' * 10**8)\n"
        "number = 4\n"
    )
    return "own_rewards:{}".format


def test_a_function_of_the_users_is_found_by_its_path(own):
    assert paid(attempt("4"), attempt(), **{own("short"): 1.0}) == {own("short"): [1, 0]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wrong", "reward 'own_rewards:wrong' raised AttributeError: 'Attempt' object has no attribute 'txt' on a rollout "
                  "of record r1 .* mend the function, then run the same command again: it goes on from the last checkpoint"),
        ("nan", "reward 'own_rewards:nan' gave nan on a rollout of record r1 .*, wanted a finite number; mend the function"),
        ("text", "reward 'own_rewards:text' gave 'good' on a rollout"),
        ("gigabytes", r"reward 'own_rewards:gigabytes' gave \['xxx[x.]*', .{,1500} on a rollout"),
        ("digits", "reward 'own_rewards:digits' gave a whole number of 332,193 bits on a rollout"),
        ("shouts", "reward 'own_rewards:shouts' raised RuntimeError: x{200}… on a rollout"),
    ],
)  # fmt: skip
def test_a_reward_that_fails_is_named_with_the_record(own, name, text):
    with pytest.raises(ValueError, match=text) as error:
        paid(attempt(), **{own(name): 1.0})
    assert len(str(error.value)) < 2_000


@pytest.mark.parametrize(
    ("weights", "soft", "text"),
    [
        ({"formt": 1}, 60, "rewards has 'formt', wanted format, answer, loop, length or a function of yours"),
        ({"format": 0}, 60, "no weight other than 0"),
        ({"format": 1}, 100, "soft_limit_tokens is 100, wanted less than max_new_tokens, 100"),
        ({"no_such_module:f": 1}, 60, r"reward 'no_such_module:f' cannot be imported \(ModuleNotFoundError"),
        ({"own_rewards:number": 1}, 60, "reward 'own_rewards:number' is int, wanted a function of one attempt"),
    ],
)
def test_impossible_rewards_are_one_sentence(own, weights, soft, text):
    with pytest.raises(ValueError, match=text):
        reward_functions(weights, soft, 100)


def test_an_attempt_cannot_be_changed_by_a_reward():
    with pytest.raises(dataclasses.FrozenInstanceError):
        attempt().text = "x"
    assert np.isfinite(paid(attempt())["format"][0])
