"""Makes control tokens and our own tags harmless inside content: still to be seen, no longer to be obeyed.

Takes:  a text that came from outside.
Leaves: the same text with `<end_of_turn>` written `‹end_of_turn›` and `[@BOS@]` written `⟦@BOS@⟧`, and the names of what was changed, to be counted.

The names are those of Gemma 2 and 3's tokenizers (added tokens that steer), and the four tags that our parser looks for.
"""

from __future__ import annotations

import re

from showwork.records.parse import TARGET_TAGS

CONTROL_TOKENS = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
    "<end_of_image>", "<image_soft_token>", "[@BOS@]", "[multimodal]",
)  # fmt: skip
"""And `<unused0>`, `<unused1>`, …"""

_ANGLES = "|".join(re.escape(t[1:-1]) for t in (*CONTROL_TOKENS, *TARGET_TAGS) if t[0] == "<")
# One literal first character lets the regular expression engine skip to it: six times as fast as an alternation.
_PATTERN = re.compile(rf"<(?:{_ANGLES}|unused[0-9]+)>")
_SQUARE = [t for t in CONTROL_TOKENS if t[0] == "["]


def neutralize(text: str) -> tuple[str, list[str]]:
    """The harmless text, and each token or tag that was changed.

    >>> neutralize("stop<end_of_turn> or </answer>")
    ('stop‹end_of_turn› or ‹/answer›', ['<end_of_turn>', '</answer>'])
    """
    found: list[str] = _PATTERN.findall(text) if "<" in text else []
    if found:
        text = _PATTERN.sub(lambda m: f"‹{m.group()[1:-1]}›", text)
    for token in _SQUARE if "[" in text else ():
        if token in text:
            found += [token] * text.count(token)
            text = text.replace(token, f"⟦{token[1:-1]}⟧")
    return text, found


def says_nothing(text: str) -> bool:
    """Whether `text` is made of control tokens, tags and white space alone.

    >>> says_nothing("<eos> <end_of_turn>"), says_nothing("<eos> 4")
    (True, False)
    """
    text = _PATTERN.sub("", text)
    for token in _SQUARE:
        text = text.replace(token, "")
    return not text.strip()
