"""Is a text plain prose, with no maths and no code? For recipes that want reasoning in words.

Takes:  the texts of a record.
Leaves: None for prose, else `maths` or `code` and how dense the signs of it stand.

Signs are counted per thousand characters: for maths LaTeX commands, formulas with an operator between numbers or letters,
mathematical symbols and the words of exercises; for code fences, lines that end or begin as code does, calls, operators
that prose does not have. A year, a price, a percentage or a list is no maths. Thresholds were set on the tuning half of
benchmarks/labelled/prose.jsonl and measured on the other half by benchmarks/prose.py.
"""

from __future__ import annotations

import re

MATHS_PER_THOUSAND = 3.0
CODE_PER_THOUSAND = 3.0
FEWEST_SIGNS = 2

_MATHS = re.compile(
    r"\\(?:frac|d?frac|sqrt|sum|int|prod|cdot|times|div|leq?|geq?|neq?|pi|theta|alpha|beta|infty|boxed|text|mathbb|left|right|lim"
    r"|log|sin|cos|tan|binom|begin|equiv|pmod|approx)\b"
    r"|\$[^$\n]{1,80}[\\^_=+][^$\n]{0,80}\$|\\[\[(]"
    r"|[\w)\]]\s?[=≤≥≠≈<>]\s?[-(]?[\w(\[]|\d\s?[-+*/×÷·^]\s?[\d(]|\b[a-zA-Z]\s?[-+*/^]\s?[\da-zA-Z(]\b|\b\d+[xyzn]\b|[²³√∑∫∏∞∈∀∃≡⊂∪∩πΔ]"
)
_CODE = re.compile(
    r"```\w*\n|^\s*(?:def|class|import|from|return|elif|else:|try:|except|#include|public|private|static|void|func|fn|let|const|var"
    r"|SELECT|INSERT INTO|UPDATE|CREATE TABLE|FROM|WHERE|GROUP BY)\b[^.!?\n]*$|[;{}]\s*$|^\s*[})\]]+[;,]?\s*$"
    r"|\b\w+\([^()\n]{0,60}\)(?=\s*[;:{.)\]]|$)|\w+\.\w+\(|\w+\(\)|==|!=|&&|\|\||=>|->|::|\+=|\+\+|</?\w+[^<>\n]{0,60}>|\b\w+_\w+\b"
    r"|\b[a-z]+[A-Z]\w*\b|\w+\[\w+\]",
    re.MULTILINE,
)


def not_prose(question: str, trace: str, answer: str) -> str | None:
    """What a record holds besides prose, or None.

    >>> not_prose("Solve it.", "We have x^2 - 4 = 0, so x = 2 or x = -2.", "x = 2")
    'maths 25.0 in 1,000 characters'
    >>> not_prose("Why is the sky blue?", "In 1871 Rayleigh showed that short waves scatter most.", "Scattering") is None
    True
    """
    text = f"{question}\n{trace}\n{answer}"
    for name, signs, limit in (("code", _CODE, CODE_PER_THOUSAND), ("maths", _MATHS, MATHS_PER_THOUSAND)):
        count = sum(1 for _ in signs.finditer(text))
        density = 1000 * count / max(len(text), 200)
        if count >= FEWEST_SIGNS and density >= limit:
            return f"{name} {density:.1f} in 1,000 characters"
    return None
