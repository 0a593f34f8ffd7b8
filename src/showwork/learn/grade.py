"""Grade one completion: form, answer, loops, copying. Evaluation and rewards use the same grades.

*Takes* a completion's text (control tokens shown by name, the final stop removed), whether it stopped by itself, and the
gold answer. *Leaves* a `Grade`. The form is judged by the parser that made the data, loops by the detector that filters it.

>>> grade("<reasoning>Two and two.</reasoning>\\n<answer>4.</answer>", "4", stopped=True).correct
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from showwork.records.ids import normalized
from showwork.records.language import not_english
from showwork.records.loops import find_loop
from showwork.records.parse import Parsed, parse_target

MATCH_MAX_CHARACTERS = 64
"""Gold answers up to this long are judged by equality; longer ones are prose, which equality says nothing about."""

HALVED_FROM = 600
"""Completions of so many characters are judged for their language by halves: a model may begin well and end in another."""

NOT_STOPPED = "not_stopped"
"""The reason of a completion that has the form to the letter and was cut by the limit before its stop token."""


@dataclass(frozen=True)
class Grade:
    """What one completion is worth. `reason` is empty exactly when it is well formed.

    `correct` and `answer_copied` are None where they cannot be judged: gold answers that are long or none, or no answer.
    """

    trace: str
    answer: str
    reason: str
    graded: float
    correct: bool | None
    looping: bool
    answer_copied: bool | None

    @property
    def well_formed(self) -> bool:
        """Whether nothing speaks against the form."""
        return not self.reason


def grade(
    completion: str,
    gold_answer: str | Sequence[str],
    *,
    stopped: bool,
    match_max_characters: int = MATCH_MAX_CHARACTERS,
) -> Grade:
    """All grades of one completion in our own form; of several gold answers any will do, and only short ones are compared."""
    golds = [gold_answer] if isinstance(gold_answer, str) else gold_answer
    short = [gold for gold in golds if is_short(gold, match_max_characters)]
    parsed = parse_target(completion)
    if isinstance(parsed, Parsed):
        trace, answer, reason = parsed.trace, parsed.answer, "" if stopped else NOT_STOPPED
    else:
        trace, answer, reason = "", "", parsed.reason
    correct = None
    if short:
        correct = not reason and any(answers_match(answer, gold) for gold in short)
    return Grade(
        trace=trace,
        answer=answer,
        reason=reason,
        graded=graded_form(completion, stopped=stopped),
        correct=correct,
        looping=find_loop(completion) is not None,
        answer_copied=is_copied(answer, trace, match_max_characters) if answer else None,
    )


def is_short(gold_answer: str, match_max_characters: int = MATCH_MAX_CHARACTERS) -> bool:
    """Whether equality with this gold answer is a fair test."""
    return len(normalized_answer(gold_answer)) <= match_max_characters


def answers_match(answer: str, gold_answer: str) -> bool:
    """Equal once letter case, white space, Unicode form and a final full stop are ignored.

    >>> answers_match(" Sunday. ", "sunday"), answers_match("on Sunday", "Sunday")
    (True, False)
    """
    return normalized_answer(answer) == normalized_answer(gold_answer)


def normalized_answer(answer: str) -> str:
    """`normalized` without one final full stop.

    >>> normalized_answer(" Ana  Lee.")
    'ana lee'
    """
    return normalized(answer).removesuffix(".").rstrip()


def is_copied(answer: str, trace: str, match_max_characters: int = MATCH_MAX_CHARACTERS) -> bool:
    """Whether a long answer stands word for word in the trace; a short one is expected to stand there.

    >>> is_copied("4", "Two and two is 4."), is_copied("It is so. " * 9, "Well. " + "It is so. " * 9)
    (False, True)
    """
    answer = normalized(answer)
    return len(answer) > match_max_characters and answer in normalized(trace)


def switches_language(question: str, completion: str) -> bool | None:
    """Whether a completion, or either half of a long one, is in another language than the question.

    Code, formulas and tags are left out of it. Halves of short ones are not judged: of 300 completions of the demo,
    all English, nine had a half that was not.

    None where it cannot be told: the question is not English, and a part is English or too short to say.

    >>> switches_language("Why do leaves fall?", "<reasoning>因为天气变冷,叶子就会掉下来。</reasoning>")
    True
    """
    middle = len(completion) // 2
    texts = [completion] if len(completion) < HALVED_FROM else [completion[:middle], completion[middle:]]
    asked, parts = _language(question), [_language(text) for text in texts]
    if any(part != asked for part in parts if part is not None):
        return True
    return False if asked is None or None not in parts else None


def _language(text: str) -> str | None:
    """None is English, or too short to say."""
    found = not_english(text)
    return found.split()[0] if found else None


def graded_form(completion: str, *, stopped: bool) -> float:
    """Share of the form's five parts that are in place, in order; 1.0 exactly when it is well formed and stopped.

    >>> graded_form("<reasoning>Two.</reasoning>\\n<answer>2</answer>", stopped=True)
    1.0
    >>> graded_form("<reasoning>Two.</reasoning>\\n<answer>2", stopped=True)
    0.6
    >>> graded_form("<<reasoning>Two.", stopped=True)
    0.0

    The parts: the text begins with `<reasoning>` and some trace; `</reasoning>` ends it; a newline and `<answer>` follow;
    `</answer>` ends an answer that is not empty; there the model stopped. A part counts only after those before it, and a
    tag that comes twice ends the count, so writing more tags never pays.
    """
    opened, closed, answer_opened, answer_closed = "<reasoning>", "</reasoning>", "<answer>", "</answer>"
    if not completion.startswith(opened):
        return 0.0
    trace, found, rest = completion.removeprefix(opened).partition(closed)
    if not trace.strip() or any(tag in trace for tag in (opened, answer_opened, answer_closed)):
        return 0.0
    if not found:
        return 0.2
    if not rest.startswith("\n" + answer_opened):
        return 0.4
    answer, found, rest = rest.removeprefix("\n" + answer_opened).partition(answer_closed)
    if not found or not answer.strip() or any(tag in answer for tag in (opened, closed, answer_opened)):
        return 0.6
    if rest or not stopped:
        return 0.8
    return 1.0
