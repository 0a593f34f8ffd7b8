"""How scripts that turn tagged rows into columns parse and clean them: a regular expression for the blocks, str.replace for the
tokens. Shared by the peers."""

import functools
import re

from showwork.records.neutralize import CONTROL_TOKENS
from showwork.records.parse import TARGET_TAGS

HARMLESS = {t: f"‹{t[1:-1]}›" if t[0] == "<" else f"⟦{t[1:-1]}⟧" for t in (*CONTROL_TOKENS, *TARGET_TAGS)}
UNUSED = re.compile("<(unused[0-9]+)>")


@functools.cache
def pattern(trace, answer):
    """One block of trace, then one of answer, or the rest where the answer has no tag."""
    rest = rf"\s*<{answer}>(.*?)</{answer}>\s*" if answer else "(.*)"
    return re.compile(rf"\s*<{trace}>(.*?)</{trace}>{rest}", re.DOTALL)


def tagged(response, trace, answer=None):
    """(trace, answer) of a response, or None when it is not of this form or holds a tag twice."""
    found = pattern(trace, answer).fullmatch(response)
    texts = tuple(text.strip() for text in found.groups()) if found else ()
    tags = [mark for tag in (trace, answer) if tag for mark in (f"<{tag}>", f"</{tag}>")]
    return texts if texts and all(texts) and not any(tag in text for text in texts for tag in tags) else None


def harmless(text):
    """`text` with control tokens and our tags in other brackets."""
    for token, shown in HARMLESS.items():
        text = text.replace(token, shown)
    return UNUSED.sub(r"‹\1›", text)
