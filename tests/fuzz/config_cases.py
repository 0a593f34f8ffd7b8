"""The shipped configuration with a few things wrong with it, by seed, and what must hold of the checker's every answer."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

from showwork.foundation import slices
from showwork.foundation.config import ConfigError, checked_config
from showwork.foundation.files import canonical

REPO = Path(__file__).parents[2]
SCHEMA = REPO / "workflow/schemas/config.schema.yaml"
SHIPPED = REPO / "config.yaml"
LONGEST_SENTENCE = 1_500
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**9, 10**400, 0.5, -0.5, 1e-300, 1e308, float("nan"), float("inf"), "", " ", "1", "1e-4", "~",
    "null", "base", "session1", "session2", "auto", "grpo", "sft", "english", "en", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800",
    "\u202e", "${HOME}", "{sample}", "{", "}", "%s", "__proto__", "x" * 5000, "a:b", "os:system", "9 hours", "full", "random", "rest",
    [], [None], ["session1"], [[1]], [1, 1], {}, {"a": 1}, {"": {}}, {None: 1}, {1: 2}, {"session1": {}}, (1, 2), {1, 2}, b"bytes",
    datetime.date(2024, 1, 1), ["raiden_deepseek_r1"], {"learning_rate": [1e-5, 4e-5]}, {"language": "en"}, ["<", ">"],
    {"format": 1.0}, {"os:system": 1.0}, {"hub": "a/b"}, {"like": "think"}, {"like": 3}, {"columns": {"question": "q"}},
)  # fmt: skip


def shipped() -> dict[str, Any]:
    """The configuration as it is shipped."""
    return dict(yaml.safe_load(SHIPPED.read_text("utf-8")))


def cases(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """`count` configurations with one to four things changed."""
    chance, base = Random(seed), shipped()
    for _ in range(count):
        config = copy.deepcopy(base)
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
            _change(config, chance)
        yield config


def check(config: dict[str, Any]) -> str:
    """ "accepted" or "refused". What is accepted can be planned: every stage's slice of it is made and is JSON.

    Raises: AssertionError where an answer is none that a person could use; whatever else the checker should not raise.
    """
    problems: list[str] = []
    try:
        made = checked_config(config, files=[SHIPPED], schema_file=SCHEMA)
    except ConfigError as error:
        problems = error.problems or [""]
    for problem in problems:
        assert problem.startswith("config.yaml"), problem
        assert ": " in problem, problem
        assert len(problem) <= LONGEST_SENTENCE, problem
    if problems:
        return "refused"
    for sample in made["samples"]:
        for stage in (slices.download, slices.sample, slices.standardize):
            canonical(stage(made, sample))
    for session in made["sessions"]:
        for stage in (slices.mix, slices.publish, slices.pack, slices.train, slices.evaluate, slices.verdict, slices.export,
                      slices.report, slices.rewarded):  # fmt: skip
            canonical(stage(made, session))
    canonical([slices.heldout(made), slices.lock(made), slices.download(made, "base"), slices.unresolved(made)])
    return "accepted"


def _places(node: Any) -> list[tuple[Any, Any]]:
    """(block, key) of everything in it."""
    found: list[tuple[Any, Any]] = []
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(entries):
        found.append((node, key))
        found += _places(value)
    return found


def _change(config: dict[str, Any], chance: Random) -> None:
    places = _places(config)
    block, key = chance.choice(places)
    act = chance.randrange(6)
    if act <= 1:
        block[key] = copy.deepcopy(chance.choice(VALUES))
    elif act == 2:
        del block[key]
    elif act == 3:
        other, name = chance.choice(places)
        block[key] = copy.deepcopy(other[name])
    elif isinstance(block, dict):
        word = chance.choice(
            ("", "x", "session1", "Ab", "a b", "../a", "a\0", "é", str(key) + "s", str(key)[:-1], 3, None)
        )
        block[word] = block[key] if act == 4 else copy.deepcopy(chance.choice(VALUES))
    else:
        block.append(copy.deepcopy(chance.choice(VALUES)))
