"""The checker: reads the configuration once, before any job, and reports everything that is wrong with it at once.

Takes:  the merged configuration, the YAML files it came from, the schema `workflow/schemas/config.schema.yaml`.
Leaves: the configuration with numbers that YAML read as text made numbers and defaults filled in, or one ConfigError
        with a line per problem: file, line, key, what is wrong, the nearest thing that would be right.
"""

from __future__ import annotations

import copy
import difflib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from showwork.foundation import slices, sweeps
from showwork.foundation.durations import seconds_of
from showwork.foundation.places import Key, Places
from showwork.foundation.plain import cut, shown, unplain
from showwork.foundation.shared_rows import shared_rows
from showwork.records.formats import format_of

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

REWARDS = ("format", "answer", "loop", "length")
"""The rewards that showwork/learn/reward.py has by name."""

NEEDED = {"full": (), "random": ("n",), "reservoir": ("n",), "first_n": ("start", "stop")}
"""The keys that each sampling method needs; the others must be absent."""

LONGEST = 1_000
"""Characters of a problem."""


class ConfigError(ValueError):
    """Everything wrong with a configuration; `problems` has a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def checked_config(config: dict[str, Any], *, files: Sequence[Path], schema_file: Path) -> dict[str, Any]:
    """A deep copy of `config`, coerced and complete.

    Raises: ConfigError with all problems.
    """
    schema = _schema(schema_file.read_text("utf-8"))
    places = Places(files)
    if places.syntax_errors:
        raise ConfigError(places.syntax_errors)
    if wrong_kinds := unplain(config):
        raise ConfigError([_line(places, key, text) for key, text in wrong_kinds])
    config = copy.deepcopy(config)
    _coerce(config, schema, schema)
    validator = Draft202012Validator(schema)
    found = [_sentence(error) for error in validator.iter_errors(config)]
    problems = list(places.duplicates)
    problems += [_line(places, key, text) for key, text in found]
    if not problems:
        _fill(config, schema, schema)
        problems += [_line(places, key, text) for key, text in _crossed(config)]
    else:
        wrong = {key for key, _ in found}
        for key, text in _crossed_if_possible(config):
            if key not in wrong:
                problems.append(_line(places, key, text))
    if not problems:
        problems += [_line(places, key, text) for key, text in _swept(config, schema)]
    if problems:
        raise ConfigError(problems)
    return sweeps.with_runs(config)


def _line(places: Places, key: Key, text: str) -> str:
    """One problem as a person reads it; what was written into the configuration may be long, its end says what to do."""
    text = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return f"{places.of(key)}  {cut(_dotted(key))}: {text}"


@functools.lru_cache(1)
def _schema(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _swept(config: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Problems of the sweeps: each value is checked as if it stood in the session, each run as if it were one.

    Values are coerced in place, as everywhere.
    """
    session = _resolve(schema["properties"]["sessions"]["additionalProperties"], schema)
    validator = Draft202012Validator({**session, "required": [], "$defs": schema["$defs"]})
    found: list[tuple[Key, str]] = []
    for name, block in config["sweep"].items():
        for key, listed in block["over"].items():
            for _, at, value in sweeps.values_of(key, listed):
                piece = sweeps.partial(key, value)
                _coerce(piece, session, schema)
                for error in validator.iter_errors(piece):
                    found.append((("sweep", name, "over", key, at), _sentence(error)[1]))
                listed[at] = sweeps.value_in(piece, key)
    found += list(sweeps.problems(config)) if not found else []
    yield from found
    if not found:
        made = sweeps.with_runs(config)
        for name, block in made["sweep"].items():
            for run, how in block["runs"].items():
                own = {s: made["sessions"][s] for s in [*slices.chain(made, how["session"]), how["session"]]}
                for key, text in _session_problems({**made, "sessions": own}):
                    yield ("sweep", name, "over"), f"run {run}: {_dotted(key[2:])} {text}"


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` when a known word is close, else the list of the known."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known) or 'none'}"


# ---- schema ----------------------------------------------------------------------------------------------------------


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{k: v for k, v in schema.items() if k != "$ref"}}


def _types(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def _children(node: Any, schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(key or index, its schema) of every entry of `node` that the schema describes."""
    if isinstance(node, dict):
        for key in node:
            sub = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(sub, dict):
                yield key, _resolve(sub, root)
    elif isinstance(node, list) and isinstance(schema.get("items"), dict):
        yield from ((i, _resolve(schema["items"], root)) for i in range(len(node)))


def _coerce(node: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """YAML reads 1e-4 as text, and `--config` gives only text: make it what the schema wants."""
    for key, sub in _children(node, schema, root):
        value, types = node[key], _types(sub)
        if isinstance(value, str) and "string" not in types:
            node[key] = _converted(value, types)
        elif isinstance(value, float) and types and "number" not in types and "integer" in types and value.is_integer():
            node[key] = int(value)
        _coerce(node[key], sub, root)


def _converted(text: str, types: Sequence[str]) -> Any:
    if "null" in types and text in {"null", "None", "~", ""}:
        return None
    if "boolean" in types and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind, make in (("integer", int), ("number", float)):
        if kind in types:
            try:
                return make(text)
            except ValueError:
                continue
    return text


def _fill(node: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Put the schema's defaults where a key is absent."""
    if isinstance(node, dict):
        for key, sub in schema.get("properties", {}).items():
            sub = _resolve(sub, root)
            if key not in node and "default" in sub:
                node[key] = copy.deepcopy(sub["default"])
    for key, sub in _children(node, schema, root):
        _fill(node[key], sub, root)


def _sentence(error: ValidationError) -> tuple[Key, str]:
    """(key, what is wrong with it) in our words."""
    key: Key = tuple(error.absolute_path)
    value, wanted = error.instance, error.validator_value
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        extra = [str(k) for k in value if k not in known]
        rest = f" (and {', '.join(extra[1:])})" if len(extra) > 1 else ""
        return (*key, extra[0]), f"unknown setting{rest}{nearest(extra[0], known)}"
    if error.validator == "required":
        missing = [k for k in wanted if k not in value]
        return key, f"{', '.join(missing)} missing; add it"
    if error.validator == "enum":
        return key, f"is {shown(value)}, expected one of {', '.join(map(str, wanted))}{_close(value, wanted)}"
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return key, f"is {shown(value)}, expected {' or '.join(_KINDS[k] for k in kinds)}"
    if error.validator == "pattern" and "40" in str(wanted):
        return key, (
            f"is {shown(value)}, expected a commit of 40 hex digits: a branch or tag moves and would change your data in "
            "silence. Write null and run `snakemake --cores 1 lock`, which resolves it"
        )
    if error.validator == "pattern":
        return key, f"{shown(value)} is no name; expected small letters, digits and _, starting with a letter"
    if error.validator == "uniqueItems":
        return key, f"names something twice: {', '.join(map(str, value))}"
    bounds = {
        "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than",
        "minItems": "a number of entries of at least", "minProperties": "a number of entries of at least",
    }  # fmt: skip
    return key, f"is {shown(value)}, expected {bounds.get(str(error.validator), str(error.validator))} {wanted}"


_KINDS = {
    "object": "a block of settings", "array": "a list", "string": "text", "number": "a number", "integer": "a whole number",
    "boolean": "true or false", "null": "null",
}  # fmt: skip


def _close(value: Any, wanted: Sequence[Any]) -> str:
    hit = difflib.get_close_matches(str(value), [str(w) for w in wanted], n=1, cutoff=0.6)
    return f"; did you mean {hit[0]!r}?" if hit else ""


def _dotted(key: Key) -> str:
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in key).lstrip(".") or "the configuration"


# ---- what one key says of another ------------------------------------------------------------------------------------


def _crossed_if_possible(config: dict[str, Any]) -> list[tuple[Key, str]]:
    """The cross checks of a configuration that already has other problems: as many as its shape still allows."""
    try:
        return list(_crossed(config))
    except (KeyError, TypeError, AttributeError):
        return []


def _crossed(config: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    sources, samples = config["sources"], config["samples"]
    for name, source in sources.items():
        if not source.get("hub") and not source.get("path"):
            yield ("sources", name), "has neither hub nor path; give the dataset's id or a folder"
        try:
            format_of(source["format"], source.get("columns"))
        except ValueError as error:
            yield ("sources", name, "format"), str(error).removeprefix("format: ")
    for name, sample in samples.items():
        yield from _sample_problems(name, sample, sources)
    for i, sample in enumerate(config["held_out"]["samples"]):
        if sample not in samples:
            yield ("held_out", "samples", i), f"no sample {sample!r}{nearest(sample, list(samples))}"
    yield from _session_problems(config)
    direct = config["evaluate"].get("direct_prompt")
    if direct is not None and "{question}" not in direct:
        yield ("evaluate", "direct_prompt"), f"is {direct!r}, expected it to hold {{question}}"
    url = (config.get("judge") or {}).get("url")
    if url is not None and not url.startswith(("http://", "https://")):
        yield ("judge", "url"), f"is {url!r}, expected a URL such as http://localhost:8000/v1"
    for name, path in config["evaluate"].get("questions", {}).items():
        from showwork.records.questions import read_questions  # few plans have such files, and it loads pyarrow

        try:
            read_questions(Path(path))
        except (ValueError, OSError) as error:
            yield ("evaluate", "questions", name), str(error)


def _session_problems(config: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """What is wrong with the sessions, seen beside their samples and one another."""
    samples, sessions = config["samples"], config["sessions"]
    for name, session in sessions.items():
        for i, sample in enumerate(session["samples"]):
            if sample not in samples:
                yield ("sessions", name, "samples", i), f"no sample {sample!r}{nearest(sample, list(samples))}"
        yield from _start_problems(name, sessions)
        train = {**config["train"], **session.get("train", {})}
        yield from _length_problems(("sessions", name, "train"), train)
        if train["method"] == "auto" and session["start_from"] not in sessions:
            yield (
                ("sessions", name, "train", "method"),
                f"is auto, which reads the verdict on the session that start_from names, but that is "
                f"{session['start_from']!r}; start from a session, or choose sft or grpo",
            )
        if train["method"] in ("grpo", "auto"):
            own = {**config["train"]["grpo"], **session.get("train", {}).get("grpo", {})}
            yield from _grpo_problems(("sessions", name, "train"), train, own)
    yield from shared_rows(samples, sessions)


def _length_problems(place: Key, train: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """How long a session trains is said in one way."""
    budget = train.get("time_budget")
    given = [key for key in ("epochs", "max_steps", "time_budget") if train.get(key) is not None]
    if len(given) != 1:
        yield (
            place,
            f"expected one of epochs, max_steps and time_budget, the others null; given: {', '.join(given) or 'none'}",
        )
    if budget is not None:
        try:
            seconds_of(budget)
        except ValueError as error:
            yield (*place, "time_budget"), str(error)
        if train["method"] != "sft":
            yield (
                (*place, "time_budget"),
                f"is {budget!r}, but method is {train['method']} and only sft knows its pace beforehand; give epochs or max_steps",
            )


def _grpo_problems(place: Key, train: dict[str, Any], grpo: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    limit, soft, updates = grpo["max_new_tokens"], grpo["soft_limit_tokens"], grpo["updates_per_batch"]
    for name, weight in grpo["rewards"].items():
        if weight and name not in REWARDS and ":" not in name:
            yield (
                (*place, "grpo", "rewards", name),
                f"no such reward{nearest(name, [*REWARDS, 'your module:function'])}",
            )
    if soft >= limit:
        yield (*place, "grpo", "soft_limit_tokens"), f"is {soft}, expected less than max_new_tokens, {limit}"
    if train.get("max_steps") and train["max_steps"] % updates:
        yield (
            (*place, "max_steps"),
            f"is {train['max_steps']}, expected a multiple of grpo.updates_per_batch, {updates}: every batch of rollouts "
            "is learned from that often",
        )


def _sample_problems(name: str, sample: dict[str, Any], sources: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    place: Key = ("samples", name)
    if sample["source"] not in sources:
        yield (*place, "source"), f"no source {sample['source']!r}{nearest(sample['source'], list(sources))}"
    needed = NEEDED[sample["method"]]
    for key in ("n", "start", "stop"):
        if (sample.get(key) is None) and key in needed:
            yield place, f"method {sample['method']} needs {key}; add it"
        if sample.get(key) is not None and key not in needed:
            yield (*place, key), f"method {sample['method']} takes no {key}; remove it"
    for key in ("weights", "per_task"):
        if sample.get(key) is not None and "n" not in needed:
            yield (*place, key), f"method {sample['method']} draws nothing; remove it, or draw with random or reservoir"
    if (
        sample["method"] == "first_n"
        and sample.get("start")
        and sample.get("stop")
        and sample["stop"] < sample["start"]
    ):
        yield (*place, "stop"), f"is {sample['stop']:,}, expected at least start, {sample['start']:,}"


def _start_problems(name: str, sessions: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    place: Key = ("sessions", name, "start_from")
    known = ["base", *(s for s in sessions if s != name)]
    if name == "base":
        yield ("sessions", name), "the name 'base' means the base model; choose another"
    seen, at = [name], sessions[name]["start_from"]
    if is_folder(at):
        return
    if at not in known:
        yield place, f"no session {at!r}{nearest(at, [*known, 'the path of a folder, with a /'])}"
        return
    while at != "base" and at in sessions:
        if at in seen:
            yield place, f"goes in a circle: {' -> '.join([*seen, at])}; one session must start from base"
            return
        seen.append(at)
        at = sessions[at]["start_from"]


def is_folder(start_from: str) -> bool:
    """Whether this is the path of a folder; names of sessions hold no slash.

    >>> is_folder("./adapter"), is_folder("session1")
    (True, False)
    """
    return "/" in start_from
