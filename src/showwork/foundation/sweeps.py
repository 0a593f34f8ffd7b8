"""The runs of a sweep: one session for every combination of the values that its block lists.

Takes:  the checked configuration, whose `sweep.<name>` names a session and, under `over`, settings with their values.
Leaves: the same configuration with an entry in `sessions` for every run, marked by `of_sweep`, and in `sweep.<name>.runs` what
        each run varies. A run is named by its values, so that a value that comes or goes touches no other run. Runs whose
        records are those of the session read its mix and its packed rows (`mix`), and a run that differs in nothing is the
        session itself. Key: `samples`, or a setting of `train` with dots ("adapter.rank").
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from showwork.foundation import slices
from showwork.foundation.places import Key

Config = dict[str, Any]


def values_of(key: str, listed: Any) -> list[tuple[str, str | int, Any]]:
    """(name, place in the block, value) of each value of one setting.

    >>> values_of("adapter.rank", [8, 16])
    [('rank_8', 0, 8), ('rank_16', 1, 16)]
    >>> values_of("samples", {"half": ["a"], "all": ["a", "b"]})
    [('half', 'half', ['a']), ('all', 'all', ['a', 'b'])]
    """
    if isinstance(listed, Mapping):
        return [(str(name), name, value) for name, value in listed.items()]
    last = key.rpartition(".")[2]
    return [(f"{last}_{_slug(value)}", i, value) for i, value in enumerate(listed)]


def _slug(value: Any) -> str:
    """A value as part of a name: 2.0e-5 -> '2e_05', 'all-linear' -> 'all_linear'."""
    text = f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def partial(key: str, value: Any) -> Config:
    """The piece of a session that sets one value.

    >>> partial("adapter.rank", 8)
    {'train': {'adapter': {'rank': 8}}}
    """
    if key == "samples":
        return {"samples": value}
    for part in reversed(key.split(".")):
        value = {part: value}
    return {"train": value}


def value_in(piece: Config, key: str) -> Any:
    """The value that `partial` laid into a piece."""
    for part in ["samples"] if key == "samples" else ["train", *key.split(".")]:
        piece = piece[part]
    return piece


def problems(config: Config) -> Iterator[tuple[Key, str]]:
    """What the schema cannot say of the blocks: an unknown session, values without names, two values or names that are one."""
    taken: dict[str, str] = dict.fromkeys(["base", *config["sessions"]], "sessions")
    for sweep, block in config["sweep"].items():
        place: Key = ("sweep", sweep)
        if block["session"] not in config["sessions"]:
            known = ", ".join(config["sessions"])
            yield (*place, "session"), f"no session {block['session']!r}; a sweep varies one of {known}"
            continue
        unnamed = False
        for key, listed in block["over"].items():
            for i, value in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(value, (list, dict)) or value is None:
                    unnamed = True
                    yield (
                        (*place, "over", key, i),
                        f"is {value!r}, which gives no short name; write a block of names and values, {{short_name: {value!r}}}",
                    )
        if unnamed:
            continue
        runs = [name for name, _ in combinations(sweep, block["over"])]
        mixes = {f"{sweep}_{name}" for name, _, _ in values_of("samples", block["over"].get("samples", {}))}
        for run in [*runs, *sorted(mixes - set(runs))]:
            if run in taken:
                yield (
                    (*place, "over"),
                    f"makes a run {run!r}, a name that {taken[run]} has already; give each value once, or rename the sweep",
                )
            taken[run] = f"sweep.{sweep}"


def combinations(sweep: str, over: Config) -> list[tuple[str, Config]]:
    """(name of the run, {key: value}) of every combination, the last key turning fastest."""
    lists = [[(name, key, value) for name, _, value in values_of(key, listed)] for key, listed in over.items()]
    return [
        ("_".join([sweep, *(name for name, _, _ in chosen)]), {key: value for _, key, value in chosen})
        for chosen in itertools.product(*lists)
    ]


def with_runs(config: Config) -> Config:
    """The configuration with the runs of every sweep among its sessions."""
    made = {**config, "sessions": dict(config["sessions"]), "sweep": {}}
    for sweep, block in config["sweep"].items():
        session = config["sessions"][block["session"]]
        mixes = {
            tuple(value): f"{sweep}_{name}" for name, _, value in values_of("samples", block["over"].get("samples", {}))
        }
        mixes[tuple(session["samples"])] = block["session"]
        for samples, owner in mixes.items():
            if owner != block["session"]:  # its records are made once, whatever else is varied
                made["sessions"][owner] = {
                    **_copy(session, {"samples": list(samples)}),
                    "mix": owner,
                    "of_sweep": sweep,
                }
        runs: Config = {}
        for name, chosen in combinations(sweep, block["over"]):
            run = _copy(session, chosen)
            owner = mixes[tuple(run["samples"])]
            made["sessions"][name] = {**run, "mix": owner, "of_sweep": sweep}
            same = owner == block["session"] and _trained(made, name) == _trained(made, block["session"])
            if same:
                del made["sessions"][name]
            runs[name] = {"session": block["session"] if same else name, "values": chosen}
        made["sweep"][sweep] = {**block, "runs": runs}
    return made


def _trained(config: Config, session: str) -> Config:
    """How a session trains, its name apart."""
    found = slices.grpo(config, session) if slices.method(config, session) != "sft" else slices.train(config, session)
    return {**found, "name": ""}


def _copy(session: Config, chosen: Config) -> Config:
    """A session with the chosen values in place of its own; nothing of it is published."""
    made = {**copy.deepcopy(session), "publish": None}
    for key, value in chosen.items():
        _lay_over(made, partial(key, value))
    return made


def _lay_over(below: Config, above: Config) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value)
        else:
            below[key] = copy.deepcopy(value)
