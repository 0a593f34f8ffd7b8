"""What a rollout is paid for: named functions with weights, the user's own among them.

Takes   an `Attempt`: one completion, what was asked, how it was graded.
Leaves  one number for each reward, and their weighted sum.

    format   share of the form's parts in place, in order: the grade that the evaluation reports (0 to 1)
    answer   1 where the answer equals the short reference, else 0
    loop     -1 where the completion loops, else 0
    length   0 up to `soft_limit_tokens`, then falling evenly to -1 at `max_new_tokens`; a limit of 0 pays for every token saved
    a.b:f    the function f of the module a.b of the user: f(attempt) -> float

Source  the soft limit is DAPO's soft overlong punishment (arXiv 2503.14476, section 3.4).
"""

from __future__ import annotations

import importlib
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from showwork.learn.grade import Grade

SHOWN_CHARACTERS = 200
"""Of what a user's function gave or raised, in an error."""


@dataclass(frozen=True)
class Attempt:
    """One rollout as a reward sees it.

    text: the completion without its final `<end_of_turn>`. stopped: it ended in `<end_of_turn>`. num_tokens: all ids
    written, the stop included. record_id: of the record that was asked.
    """

    question: str
    reference: str
    text: str
    stopped: bool
    num_tokens: int
    grade: Grade
    record_id: str
    source: str


Reward = Callable[[Attempt], float]


def answer_reward(attempt: Attempt) -> float:
    """1 for the reference's answer in the right form, else 0; references too long to be compared pay nothing."""
    return float(attempt.grade.correct or False)


def length_reward(attempt: Attempt, soft_limit: int, max_new_tokens: int) -> float:
    """0 within the soft limit, -1 at the hard one, on a line between.

    With a soft limit of 60 and a hard one of 100, 50 tokens give 0, 80 give -0.5, 100 give -1.
    """
    return -max(0, attempt.num_tokens - soft_limit) / (max_new_tokens - soft_limit)


def reward_functions(weights: Mapping[str, float], soft_limit: int, max_new_tokens: int) -> dict[str, Reward]:
    """{name: function} of every reward whose weight is not 0.

    Raises:
      ValueError: no reward, an unknown name, a module or function that cannot be imported, a soft limit that is not
        below the hard one.
    """
    if soft_limit >= max_new_tokens:
        raise ValueError(
            f"train.grpo.soft_limit_tokens is {soft_limit}, wanted less than max_new_tokens, {max_new_tokens}: the length "
            "reward falls between the two; lower it"
        )
    known: dict[str, Reward] = {
        "format": lambda attempt: attempt.grade.graded,
        "answer": answer_reward,
        "loop": lambda attempt: -float(attempt.grade.looping),
        "length": lambda attempt: length_reward(attempt, soft_limit, max_new_tokens),
    }
    found = {}
    for name, weight in sorted(weights.items()):
        if weight and name not in known and ":" not in name:
            raise ValueError(
                f"train.grpo.rewards has {name!r}, wanted {', '.join(known)} or a function of yours as module:function; "
                "correct the name"
            )
        if weight:
            found[name] = known[name] if name in known else imported(name)
    if not found:
        raise ValueError(
            "train.grpo.rewards has no weight other than 0, so that nothing would be paid for; give one a weight"
        )
    return found


def imported(path: str) -> Reward:
    """The user's function `module:function`, the module found in the working directory or on the Python path.

    Raises:
      ValueError: it is not there, or is no function.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as problem:  # whatever the user's module does when it is imported
        raise ValueError(
            f"reward {path!r} cannot be imported ({type(problem).__name__}: {problem}); wanted module:function, the module "
            "in the folder where the run is or on PYTHONPATH"
        ) from problem
    if not callable(found):
        raise ValueError(
            f"reward {path!r} is {type(found).__name__}, wanted a function of one attempt; correct the path"
        )
    return found


def pay(functions: Mapping[str, Reward], attempts: Sequence[Attempt]) -> dict[str, np.ndarray]:
    """{name: [attempts] float64} of every reward.

    Raises:
      ValueError: a function raised, or gave something that is not a finite number; function and record are named.
    """
    return {name: np.array([_paid(name, f, a) for a in attempts], np.float64) for name, f in functions.items()}


def weighted(parts: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """The sum [n] of each reward [n] times its weight."""
    return sum((weights[name] * value for name, value in parts.items()), np.zeros(()))


def _paid(name: str, function: Reward, attempt: Attempt) -> float:
    where = f"on a rollout of record {attempt.record_id} ({attempt.text[:80]!r})"
    mend = "mend the function, then run the same command again: it goes on from the last checkpoint"
    try:
        found = function(attempt)
    except Exception as problem:  # whatever the user's function does
        said = f"{type(problem).__name__}: {_cut(str(problem))}"
        raise ValueError(f"reward {name!r} raised {said} {where}; {mend}") from problem
    if isinstance(found, bool | int | float | np.integer | np.floating) and abs(found) <= sys.float_info.max:
        return float(found)
    raise ValueError(f"reward {name!r} gave {_described(found)} {where}, wanted a finite number; {mend}")


def _described(found: object) -> str:
    """A value that is no number, in a few words however large it is."""
    if isinstance(found, int) and found.bit_length() > 1_024:
        return f"a whole number of {found.bit_length():,} bits"
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = SHOWN_CHARACTERS
    return shown.repr(found)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
