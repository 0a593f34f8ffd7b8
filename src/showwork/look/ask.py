"""Asks a trained model a question and shows its work while it writes: the trace dimmed, the answer bright.

    showwork ask "Why do leaves fall?"                            the session that was trained last
    showwork ask "Why do leaves fall?" --session base --directory demo
    showwork ask "Why do leaves fall?" --compare base,session1    side by side
    showwork ask --file questions.jsonl > answers.jsonl           one JSON object a line, in and out

A question is worded, read and answered as in the evaluation: same template, same sampler, same limit of tokens; greedy unless
--temperature is given. Where nobody looks at a terminal the completion is printed as it is, with its tags. Control characters in
it are shown, not obeyed. What there is to say beside it, such as why it is not well formed, goes to standard error.

A line of --file is an object with `question` and, if wanted, `id`, `answer` (a reference, or a list of them) and `tags`; a line
of the output adds session, completion, trace, answer, reason, correct, looping, stop_reason and num_tokens, in the file's order,
one session after another. Only results/ is read; compiled programs are kept in work/jax-cache for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from showwork.look.models import Asked, Model
from showwork.look.painted import Painter
from showwork.look.results import Results
from showwork.look.terminal import console, harmless, written
from showwork.records.neutralize import neutralize

if TYPE_CHECKING:
    from showwork.learn.rollout import Request, Rollout
    from showwork.records.questions import Question

EOS = "<eos>"
SLOTS = 32  # questions of a file that are answered at a time


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked, of whom, and how it is sampled."""
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("question", nargs="?", help="the question")
    asked.add_argument("--file", type=Path, metavar="JSONL", help="questions, one JSON object a line")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--session", metavar="NAME", help="base or a session (default: the one trained last)")
    whom.add_argument("--compare", type=_names, metavar="A,B", help="several of them, side by side")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder that holds results/ (default: this one)")
    parser.add_argument("--max-new-tokens", type=_above_0(int), metavar="N", help="limit (default: the evaluation's)")
    parser.add_argument("--temperature", type=_above_0(float), metavar="T", help="sample at it (default: greedy)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default: 0)")


def work(args: argparse.Namespace) -> int:
    """Ask.

    Raises: ValueError, FileNotFoundError: no such session, nothing trained, something damaged, a question that is none.
    """
    asked = Asked(Results(args.directory))
    names = args.compare or [args.session or asked.latest()]
    models = [asked.model(name) for name in names]
    questions = _questions(args)
    _keep_compiled(asked.results.directory)
    if args.file:
        _batch(asked, models, questions, args)
    elif len(models) > 1 and (out := console()).is_terminal:
        _side_by_side(out, asked, models, questions[0], args)
    else:
        _one_by_one(console(), asked, models, questions[0], args)
    return 0


def _questions(args: argparse.Namespace) -> list[Question]:
    """What is asked, harmless as every question that the model was trained on; what was changed is said."""
    from dataclasses import replace

    from showwork.records.questions import Question, read_questions

    if args.file is None and not args.question.strip():
        raise ValueError(f"the question is {args.question!r}, expected text")
    given = read_questions(args.file) if args.file else [Question("", args.question.strip())]
    found = []
    for question in given:
        text, changed = neutralize(question.question)
        if changed:
            _note(f"made harmless in {text[:60]!r}: {', '.join(dict.fromkeys(changed))}")
        found.append(replace(question, question=text))
    return found


def _one_by_one(
    out: Console, asked: Asked, models: Sequence[Model], question: Question, args: argparse.Namespace
) -> None:
    """The completion as it grows; with several models one below the other, each under its name."""
    for number, model in enumerate(models):
        if len(models) > 1:
            out.print(Text(f"{'' if number == 0 else chr(10)}── {harmless(model.name)}", "bold"))
        for piece in (growing := _Growing(asked, model, question, args)):
            out.print(piece, end="", soft_wrap=True)
            sys.stdout.flush()
        out.print()
        _note(growing.verdict())


def _side_by_side(
    out: Console, asked: Asked, models: Sequence[Model], question: Question, args: argparse.Namespace
) -> None:
    """A column for each model, filled from left to right: one model at a time is in memory."""
    columns, notes = [Text() for _ in models], [Text() for _ in models]

    def table() -> Table:
        drawn = Table(expand=True)
        for model in models:
            drawn.add_column(harmless(model.name), ratio=1, overflow="fold")
        drawn.add_row(*(Group(text, note) for text, note in zip(columns, notes, strict=True)))
        return drawn

    with Live(console=out, get_renderable=table, refresh_per_second=8, transient=True):
        for model, column, note in zip(models, columns, notes, strict=True):
            for piece in (growing := _Growing(asked, model, question, args)):
                column.append_text(piece)
            note.append(f"\n{growing.verdict()}", "italic dim")
    out.print(table())


def _batch(asked: Asked, models: Sequence[Model], questions: Sequence[Question], args: argparse.Namespace) -> None:
    """Every question of a file, a line of JSON for each as soon as its model is through."""
    from showwork.learn.rollout import generate

    for model in models:
        requests = [_request(asked, model, question, args, number) for number, question in enumerate(questions)]
        weights = asked.weights(model)
        rollouts = generate(
            weights, asked.cfg, requests, temperature=args.temperature, seed=args.seed, slots=SLOTS,
            progress=partial(_through, model.name, len(questions)),
        )  # fmt: skip
        for question, rollout in zip(questions, rollouts, strict=True):
            # Everything outside ASCII is escaped, so that the lines are harmless on a terminal too.
            print(json.dumps(_line(asked, model, question, rollout)), flush=True)


def _through(name: str, total: int, done: int, tokens: int) -> None:
    _note(f"{name}: {done:,} of {total:,} questions, {tokens:,} tokens")


def _line(asked: Asked, model: Model, question: Question, rollout: Rollout) -> dict[str, Any]:
    from showwork.learn.grade import grade

    text = _text(asked, rollout)
    found = grade(text, question.answers, stopped=_ended(asked, rollout))
    return {
        "id": question.id, "session": model.name, "question": question.question, "completion": text,
        "trace": found.trace, "answer": found.answer, "reason": found.reason, "correct": found.correct,
        "looping": found.looping, "stop_reason": rollout.reason, "num_tokens": len(rollout.ids),
        "tags": list(question.tags),
    }  # fmt: skip


class _Growing:
    """Iterates over the pieces of one completion, painted, as the model writes them; then it can be judged."""

    def __init__(self, asked: Asked, model: Model, question: Question, args: argparse.Namespace) -> None:
        from showwork.learn.stream import Stream

        self._asked, self._model = asked, model
        self._request = _request(asked, model, question, args, 0)
        self._stream = Stream(
            asked.shapes(model), asked.cfg, self._request, temperature=args.temperature, seed=args.seed
        )
        self._last: Rollout | None = None

    def __iter__(self) -> Iterator[Text]:
        painter = Painter()
        for rollout in self._stream.write(self._asked.weights(self._model)):
            self._last = rollout
            whole = rollout.stopped or len(rollout.ids) >= self._request.max_new_tokens
            for style, piece in painter.grow(_text(self._asked, rollout), whole=whole):
                yield written(piece, style)

    def verdict(self) -> str:
        """`session1: 54 tokens, well formed`, or why it is not.

        Raises: ValueError before anything has been written.
        """
        from showwork.learn.grade import NOT_STOPPED, grade
        from showwork.records.parse import REASONS

        rollout = self._last
        if rollout is None:
            raise ValueError(f"{self._model.name}: nothing has been written yet; iterate over the pieces first")
        found = grade(_text(self._asked, rollout), (), stopped=_ended(self._asked, rollout))
        means = {**REASONS, NOT_STOPPED: "it has the form but did not stop there"}
        form = "well formed" if found.well_formed else f"not well formed: {means[found.reason]} ({found.reason})"
        looping, cut = ", looping" if found.looping else "", "" if rollout.stopped else ", cut at the limit of tokens"
        return f"{self._model.name}: {len(rollout.ids):,} tokens, {form}{looping}{cut}"


def _request(asked: Asked, model: Model, question: Question, args: argparse.Namespace, number: int) -> Request:
    """The question as the evaluation words it.

    Raises: ValueError when it is longer than the base can read.
    """
    from showwork.learn.rollout import Request
    from showwork.tokens.template import prompt_segments

    ids = asked.encoder.encode(prompt_segments(model.system_prompt, question.question)).ids
    limit = args.max_new_tokens or model.max_new_tokens
    if len(ids) + limit > asked.positions:
        raise ValueError(
            f"question {question.question[:60]!r}: has {len(ids):,} tokens with its template; with {limit:,} to write that is "
            f"more than the {asked.positions:,} positions of the base; shorten it or lower --max-new-tokens"
        )
    return Request(ids, (asked.encoder.end_of_turn_id, asked.encoder.control_ids[EOS]), limit, number)


def _ended(asked: Asked, rollout: Rollout) -> bool:
    return bool(rollout.ids[-1] == asked.encoder.end_of_turn_id)


def _text(asked: Asked, rollout: Rollout) -> str:
    """The completion; only `<end_of_turn>` ends a well-formed one, another stop token stays in the text."""
    ids = rollout.ids[:-1] if _ended(asked, rollout) else rollout.ids
    return asked.encoder.decode(ids.tolist())


def _note(sentence: str) -> None:
    """Say something beside the answer."""
    Console(stderr=True, markup=False, emoji=False, highlight=False).print(
        Text(harmless(sentence), "dim"), soft_wrap=True
    )


def _keep_compiled(directory: Path) -> None:
    """Keep compiled programs where the run's own jobs keep theirs, if one may write there."""
    from showwork.learn.device import compile_cache

    if os.access(directory, os.W_OK):
        compile_cache(directory / "work/jax-cache")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"is {text!r}, expected at least two different names such as base,session1")
    return names


def _above_0(kind: type) -> Any:
    def number(text: str) -> Any:
        value = kind(text)
        if not value > 0 or value == float("inf"):
            raise argparse.ArgumentTypeError(f"is {text}, expected a number above 0")
        return value

    return number
