"""Formats: how a row of a source holds question, trace and answer, declared as data and read by one parser.

Takes:  the name of a built-in format, or a declaration, or a name with changes:

    format: think                                               # a built-in one
    format: {like: thought_output, recover: [no_answer_close]}  # with changes
    format: {columns: {question: q, response: r}, trace: ["<<", ">>"], answer: rest}

Leaves: a Format, which turns a row into three texts or a typed reason.

A declaration's keys:
    columns           {question, response}: one text with tags in it; or {question, trace, answer}: each text by itself.
                      Values are columns of the source or paths into them (records/paths.py)
    trace             [open, close]: the tags around the trace, in `response`
    answer            [open, close], or `rest`: all that follows the trace
    opening_optional  true: a text may begin inside the trace (R1 models whose prompt ended in the opening tag)
    text_around       true: other text may stand around the blocks; it is left out and counted
    recover           reasons to mend instead of to reject (records/parse.py says how each is mended); counted apart
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from showwork.records import parse as strict
from showwork.records import paths
from showwork.records.neutralize import neutralize, says_nothing
from showwork.records.parse import Rejected, Tags

_RESPONSE = {"question": "prompt", "response": "response"}

BUILT_IN: dict[str, dict[str, Any]] = {
    "think": {"columns": _RESPONSE, "trace": ["<think>", "</think>"], "answer": "rest"},
    "think_unopened": {
        "columns": _RESPONSE, "trace": ["<think>", "</think>"], "answer": "rest", "opening_optional": True,
    },
    "think_answer": {"columns": _RESPONSE, "trace": ["<think>", "</think>"], "answer": ["<answer>", "</answer>"]},
    "think_response": {"columns": _RESPONSE, "trace": ["<think>", "</think>"], "answer": ["<response>", "</response>"]},
    "thought_output": {
        "columns": {"question": "instruction", "response": "output"},
        "trace": ["<Thought>", "</Thought>"], "answer": ["<Output>", "</Output>"],
    },
    "thinking": {"columns": _RESPONSE, "trace": ["<thinking>", "</thinking>"], "answer": "rest"},
    "reasoning_answer": {
        "columns": _RESPONSE, "trace": ["<reasoning>", "</reasoning>"], "answer": ["<answer>", "</answer>"],
    },
    "begin_of_thought": {
        "columns": _RESPONSE, "trace": ["<|begin_of_thought|>", "<|end_of_thought|>"],
        "answer": ["<|begin_of_solution|>", "<|end_of_solution|>"],
    },
    "columns": {"columns": {"question": "question", "trace": "trace", "answer": "answer"}},
    "messages": {
        "columns": {
            "question": "messages[role=user].content",
            "trace": "messages[role=assistant].reasoning_content",
            "answer": "messages[role=assistant].content",
        }
    },
    "nested_reasoning": {"columns": {"question": "prompt", "trace": "metadata.reasoning", "answer": "response"}},
    "flagged_traces": {
        "columns": {"question": "problem", "response": "generations[?correctness]"},
        "trace": ["<think>", "</think>"], "answer": "rest",
    },
}  # fmt: skip
"""The twelve forms that public reasoning datasets come in, by name."""

KEYS = ("like", "columns", "trace", "answer", "opening_optional", "text_around", "recover")

REASONS = {
    **paths.REASONS,
    **strict.REASONS,
    "empty_question": "the question is nothing but white space",
    "only_control_tokens": "question, trace or answer is made of control tokens or tags alone",
}
"""Every reason a format can give, with what it means."""


class Texts(NamedTuple):
    """What a row says, harmless and stripped, with what was done to it."""

    question: str
    trace: str
    answer: str
    neutralized: Sequence[str] = ()
    recovered: Sequence[str] = ()


@dataclass(frozen=True)
class Format:
    """A checked declaration. `columns` maps our names to paths; `tags` is None when each text lies by itself."""

    columns: dict[str, str]
    tags: Tags | None

    @property
    def needs(self) -> list[str]:
        """The columns of the source that it reads, each once."""
        return list(dict.fromkeys(c for path in self.columns.values() for c in paths.columns_of(path)))

    def texts_of(self, rows: Iterable[Mapping[str, str | None]]) -> list[Texts | Rejected]:
        """What each row says, or why it says nothing."""
        roles = {role: paths.compile_path(path) for role, path in self.columns.items()}
        question_at, tags = roles["question"], self.tags
        if tags is not None:
            response_at = roles["response"]
            return [_told(question_at(row), response_at(row), tags) for row in rows]
        trace_at, answer_at = roles["trace"], roles["answer"]
        return [_joined(question_at(row), trace_at(row), answer_at(row)) for row in rows]

    def render(self, question: str, trace: str, answer: str) -> dict[str, str]:
        """{our column name: text} of a row that parses to these three texts: the parser's inverse, for tests and demos."""
        if self.tags is None:
            return {"question": question, "trace": trace, "answer": answer}
        opened, closed = self.tags.trace
        ends = self.tags.answer or ("", "")
        return {"question": question, "response": f"{opened}{trace}{closed}\n{ends[0]}{answer}{ends[1]}"}


def _told(question: str | Rejected, response: str | Rejected, tags: Tags) -> Texts | Rejected:
    if isinstance(question, Rejected):
        return question
    if isinstance(response, Rejected):
        return response
    found = strict.parse(response, tags)
    return found if isinstance(found, Rejected) else _harmless(question, found.trace, found.answer, found.recovered)


def _joined(question: str | Rejected, trace: str | Rejected, answer: str | Rejected) -> Texts | Rejected:
    for text in (question, trace, answer):
        if isinstance(text, Rejected):
            return text
    trace, answer = trace.strip(), answer.strip()  # type: ignore[union-attr]
    if not trace:
        return Rejected("empty_trace")
    if not answer:
        return Rejected("empty_answer", strict.shown(trace[-strict.DETAIL_CHARACTERS :]))
    return _harmless(question, trace, answer, ())  # type: ignore[arg-type]


def _harmless(question: str, trace: str, answer: str, recovered: Sequence[str]) -> Texts | Rejected:
    if not (question := question.strip()):
        return Rejected("empty_question")
    harmless, changed = [], []
    for name, text in (("question", question), ("trace", trace), ("answer", answer)):
        text_now, found = neutralize(text)
        if found:
            if says_nothing(text):
                return Rejected("only_control_tokens", f"{name}: {strict.shown(text_now)}"[: strict.DETAIL_CHARACTERS])
            changed += found
        harmless.append(text_now)
    return Texts(harmless[0], harmless[1], harmless[2], changed, recovered)


def format_of(declared: str | Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Format:
    """The Format of a name or declaration; `columns` (a source's own) goes before the columns of the declaration.

    Raises: ValueError naming the key, the value, what was expected.
    """
    spec = _whole(declared)
    spec["columns"] = {**spec.get("columns", {}), **(columns or {})}
    tagged = "trace" in spec
    for key in () if tagged else ("answer", "opening_optional", "text_around", "recover"):
        if spec.get(key):
            raise ValueError(
                f"format: {key} is given but no trace: [open, close]; add the tags of the trace or remove {key}"
            )
    wanted = ("question", "response") if tagged else ("question", "trace", "answer")
    for role in spec["columns"]:
        if role not in wanted:
            raise ValueError(
                f"format: columns name {role!r}, expected {', '.join(wanted)} "
                f"({'the trace is found by its tags' if tagged else 'there are no tags, so each text has its column'}); "
                "rename or remove it"
            )
    for role in wanted:
        if role not in spec["columns"]:
            raise ValueError(f"format: no column for {role!r}; add `columns: {{{role}: name of the source's column}}`")
    for path in spec["columns"].values():
        paths.columns_of(path)
    return Format(spec["columns"], _tags(spec) if tagged else None)


def _whole(declared: str | Mapping[str, Any]) -> dict[str, Any]:
    """A declaration with `like` filled in and its keys checked."""
    if isinstance(declared, str):
        if declared not in BUILT_IN:
            raise ValueError(
                f"format: unknown format {declared!r}{_nearest(declared, list(BUILT_IN))}; "
                f"the formats are {', '.join(BUILT_IN)}, or declare your own"
            )
        return dict(BUILT_IN[declared])
    if not isinstance(declared, Mapping):
        raise ValueError(f"format: is {declared!r}, expected the name of a format or a declaration")
    for key in declared:
        if key not in KEYS:
            raise ValueError(f"format: unknown key {key!r}{_nearest(key, KEYS)}; the keys are {', '.join(KEYS)}")
    own = {key: value for key, value in declared.items() if key != "like" and value is not None}
    return {**(_whole(declared["like"]) if declared.get("like") else {}), **own}


def _tags(spec: Mapping[str, Any]) -> Tags:
    answer, recover = spec.get("answer", "rest"), spec.get("recover", [])
    for key, value in (("trace", spec["trace"]), ("answer", answer)):
        pair = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(t, str) and t for t in value)
        if not pair and not (key == "answer" and value == "rest"):
            wanted = "[open, close]" if key == "trace" else "[open, close] or rest"
            raise ValueError(f"format: {key} is {value!r}, expected {wanted}; give the two tags as text")
        if pair and value[0] == value[1]:
            raise ValueError(f"format: {key} opens and closes with {value[0]!r}; the two tags must differ")
    for reason in recover:
        if reason not in strict.RECOVERABLE:
            known = ", ".join(strict.RECOVERABLE)
            raise ValueError(
                f"format: recover names {reason!r}{_nearest(reason, strict.RECOVERABLE)}; it can name {known}"
            )
    return Tags(
        (spec["trace"][0], spec["trace"][1]),
        None if answer == "rest" else (answer[0], answer[1]),
        opening_optional=bool(spec.get("opening_optional", False)),
        text_around=bool(spec.get("text_around", False)),
        recover=frozenset(recover),
    )


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""
