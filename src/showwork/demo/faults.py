"""Everything that is known to be wrong with real rows, done to clean ones on purpose and by name.

Takes   a puzzle and the tags of a source.
Leaves  the row's cells, and what a correct pipeline does with the row: keep it, reject it or drop it, and for what reason.
Source  the defects that people met in the four sources, and those of R1-style text in general.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from showwork.demo.world import Puzzle

THINK = ("<think>\n", "\n</think>\n\n", "")
THOUGHT = ("<Thought>\n", "\n</Thought>\n<Output>\n", "\n</Output>")
SECOND_LOOKS = (
    "Wait, let me look at that again.", "Hmm, I am not sure about this.", "Let me go over it once more.",
    "Maybe I should read the facts again.", "But is that really so?",
)  # fmt: skip
CONTROL = ("<end_of_turn>", "<bos>", "<start_of_turn>", "<eos>", "</answer>", "<reasoning>", "</reasoning>", "<answer>")
LONG_CELL_CHARACTERS = 140_000


@dataclass(frozen=True, slots=True)
class Cells:
    """The three texts of one row before they are put into a layout; None stands for null or, where told, for absent."""

    question: str | None
    trace: str | None
    answer: str | None
    response: str | None


def joined(tags: tuple[str, str, str], trace: str, answer: str) -> str:
    """`<think>` trace `</think>` answer, in the tags given."""
    return f"{tags[0]}{trace}{tags[1]}{answer}{tags[2]}"


def clean(puzzle: Puzzle, tags: tuple[str, str, str]) -> Cells:
    """The row as it should be."""
    return Cells(puzzle.question, puzzle.trace, puzzle.answer, joined(tags, puzzle.trace, puzzle.answer))


def looped(rng: Random, trace: str) -> str:
    """The trace, then two sentences again and again."""
    return trace + f" {rng.choice(SECOND_LOOKS)} {rng.choice(SECOND_LOOKS)}" * 30


def long_text(rng: Random, trace: str) -> str:
    """A trace with a paragraph of numbers in its middle that makes it longer than a CSV reader's usual limit."""
    first, rest = trace.split(". ", 1)
    numbers = " ".join(str(rng.randrange(10**7, 10**8)) for _ in range(LONG_CELL_CHARACTERS // 9))
    return f"{first}.\n\nNumbers: {numbers}.\n\n{rest}"


Text = Callable[[Random, Puzzle, tuple[str, str, str]], str | None]

RESPONSES: dict[str, tuple[str, Text]] = {
    "no_open": ("no_open", lambda r, p, t: joined(t, p.trace, p.answer).removeprefix(t[0])),
    "never_closed": ("no_close", lambda r, p, t: t[0] + looped(r, p.trace)),
    "no_close": ("no_close", lambda r, p, t: f"{t[0]}{p.trace}\n\n{p.answer}"),
    "close_first": ("close_before_open", lambda r, p, t: f"{t[1].split()[0]}{p.trace}{t[0]}{p.answer}"),
    "empty_block": ("empty_trace", lambda r, p, t: joined(t, "", p.answer)),
    "empty_answer": ("empty_answer", lambda r, p, t: joined(t, p.trace, "")),
    "several_blocks": ("several_blocks", lambda r, p, t: joined(t, p.trace, "") + joined(t, p.trace, p.answer)),
    "nested": ("nested", lambda r, p, t: joined(t, f"{t[0]}{p.trace}", p.answer)),
    "text_before": ("text_before", lambda r, p, t: "Let me see.\n" + joined(t, p.trace, p.answer)),
    "control_tokens_only": ("only_control_tokens", lambda r, p, t: joined(t, p.trace, "<eos> <end_of_turn>")),
}
"""Defects of one text with tags: name -> (reason, how)."""

OUTPUTS: dict[str, tuple[str, Text]] = {
    "no_output_close": ("no_answer_close", lambda r, p, t: joined((t[0], t[1], ""), p.trace, p.answer)),
    "no_output_open": ("no_answer_open", lambda r, p, t: f"{t[0]}{p.trace}\n{t[1].split()[0]}\n{p.answer}"),
    "text_between": ("text_between", lambda r, p, t: joined(t, p.trace, p.answer).replace(t[1], t[1].replace(
        "\n<", "\nSo now the output.\n<"))),
    "text_after": ("text_after", lambda r, p, t: joined(t, p.trace, p.answer) + "\nI hope that helps."),
}  # fmt: skip
"""Further defects where the answer has tags too."""


def tagged_row(rng: Random, puzzle: Puzzle, tags: tuple[str, str, str], defect: str) -> tuple[Cells, str]:
    """A row with the named defect of its text, and the reason it is to be rejected with."""
    reason, text = {**RESPONSES, **OUTPUTS}[defect]
    return Cells(puzzle.question, None, None, text(rng, puzzle, tags)), reason


def with_control_tokens(rng: Random, puzzle: Puzzle) -> Puzzle:
    """A puzzle whose question and trace say the names of control tokens or of our own tags: harmless once neutralized."""
    first, second = rng.sample(CONTROL, 2)
    return Puzzle(
        puzzle.family, f"{puzzle.question} Do not say {first}.", f"{puzzle.trace} No {second} here.", puzzle.answer
    )


def nearly(puzzle: Puzzle) -> Puzzle:
    """The same puzzle with another first word: a near duplicate."""
    _, rest = puzzle.question.split(" ", 1)
    return Puzzle(puzzle.family, f"Well: {rest}", puzzle.trace, puzzle.answer)


CHINESE = {
    "question": "请看这一队人。{a}在{b}前面，{b}在{c}前面，{c}在{d}前面。请问从{a}往后数三个人是谁？",
    "trace": "我们一步一步来想。首先，{a}的后面是{b}。然后，{b}的后面是{c}。最后，{c}的后面是{d}。所以答案是{d}。",
}
SPANISH = {
    "question": "En esta fila hay cuatro personas. Detrás de {a} está {b}, detrás de {b} está {c} y detrás de {c} está {d}. "
    "¿Quién está tres puestos detrás de {a}?",
    "trace": "Vamos paso a paso. Detrás de {a} está {b}. Después viene {c}, y al final de la fila está {d}.",
}
NAMES = {
    "zh": "小明 小红 小刚 小丽 小华 小军 小芳 小龙 小梅 小强 小兰 小波 小雪 小涛 小云 小霞",
    "es": "Ángel Begoña Carmen Diego Elena Felipe Gonzalo Inés Jaime Lucía Marta Nuria Óscar Pablo Raúl Sofía",
}


def foreign(rng: Random, chinese: bool) -> Puzzle:
    """A well-formed puzzle in Chinese or Spanish."""
    texts, pool = (CHINESE, NAMES["zh"]) if chinese else (SPANISH, NAMES["es"])
    names = dict(zip("abcd", rng.sample(pool.split(), 4), strict=True))
    return Puzzle("foreign", texts["question"].format(**names), texts["trace"].format(**names), names["d"])
