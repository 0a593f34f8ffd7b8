"""Is a text plain prose, with no maths and no code? For recipes that want reasoning in words.

Takes:  the texts of a record.
Leaves: None for prose, else `maths` or `code` and how dense the signs of it stand.

Signs are counted and weighed per thousand characters: for maths LaTeX, operators between numbers, mathematical symbols and
the words of exercises; for code fences, braces and semicolons at the ends of lines, calls, names_with_joints, tags, operators
that prose does not have. Years, prices, percentages, scores, dates and lists are no maths. Weights and thresholds were set on the
tuning half of benchmarks/labelled/prose_*.txt and judged on the other half by benchmarks/prose.py.
"""

from __future__ import annotations

import functools
import re

LIMIT = 4.0
"""Weight of signs in a thousand characters from which a text is no prose."""
SHORTEST = 300
"""A shorter text is judged as if it had so many characters."""

# Plain texts are counted as they are; patterns begin with one literal sign where they can, so that a search leaps over prose.
_Signs = tuple[tuple[float, tuple[str, ...], tuple[str, ...]], ...]
_MATHS: _Signs = (
    (1.5, tuple("²³½·×÷≤≥≠≈√∑∫∏∞∈∀∃≡⊂∪∩"), ()),
    (1.5, ("^",), (r"=(?<![=!<>+]=)(?![=>])", r"\\(?:[a-zA-Z]{2,}|[\[(])", r"\d ?[+*−] ?\d|\d [-/] \d|\d[a-zA-Z]\b ?[-+=]")),
    (0.7, (" plus ", " minus ", " divided by ", " percent"),
     (r" (?:equations?|subtract\w*|multipl\w+|square root|hypotenuse|perimeter|derivative|integral|probability|remainder"
      r"|divisor|triangle|theorem|degrees|median|average)\b",)),
)  # fmt: skip
_CODE: _Signs = (
    (4.0, ("```",), ()),
    (2.0, ("#include", "SELECT ", "INSERT INTO", "UPDATE ", "CREATE TABLE", "GROUP BY", "sudo ", "git ", "console.log", "printf"),
     (r"\n[ \t]*(?:def|class|import|from|return|elif|else:|try:|except|public|private|static|func|fn|let|const|var) ",)),
    (1.5, ("==", "!=", "&&", "||", "=>", "->", "<-", "::", "+=", "++", "${"),
     (r";[ \t]*(?:\n|\Z)", r"{[ \t]*(?:\n|\Z)", r"}[ \t]*(?:\n|\Z)", r"</?[a-zA-Z][^<>\n]{0,60}>", r"\[\w+\]")),
    (1.0, ("`",), (r"\((?<=\w\()(?=[\w\"'&*)])(?!s\))", r"_(?<=\w_)(?=\w)", r"{[\w\"' ]")),
)  # fmt: skip
_compiled = functools.cache(re.compile)


def not_prose(question: str, trace: str, answer: str) -> str | None:
    """What a record holds besides prose, or None.

    >>> not_prose("Solve it.", "We have x^2 - 4 = 0, so x = 2 or x = -2.", "x = 2")
    'maths 30.0 in 1,000 characters'
    >>> not_prose("Why is the sky blue?", "In 1871 Rayleigh showed that short waves scatter most.", "Scattering") is None
    True
    """
    text = f"{question}\n{trace}\n{answer}"
    thousands = max(len(text), SHORTEST) / 1000
    code, maths = _weight(_CODE, text) / thousands, _weight(_MATHS, text) / thousands
    if code + maths < LIMIT:
        return None
    return f"{'code' if code >= maths else 'maths'} {max(code, maths):.1f} in 1,000 characters"


def _weight(signs: _Signs, text: str) -> float:
    total = 0.0
    ascii_only = text.isascii()
    for weight, plain, patterns in signs:
        counted = sum(text.count(sign) for sign in plain if not ascii_only or sign.isascii())
        total += weight * (counted + sum(len(_compiled(pattern).findall(text)) for pattern in patterns))
    return total
