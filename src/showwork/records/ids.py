"""Names for records and questions that depend on their text alone.

Takes:  question, trace, answer.
Leaves: 32 hex digits each: `record_id` tells equal records, `question_id` tells questions that differ only in letter case,
        white space or Unicode form. Row ids, which name rows of a source, are made in sources/identity.py.
"""

from __future__ import annotations

import hashlib
import unicodedata


def record_id(question: str, trace: str, answer: str) -> str:
    """blake2b-128 of the three texts, in hex."""
    return hashlib.blake2b(f"{question}\0{trace}\0{answer}".encode(), digest_size=16).hexdigest()


def question_id(question: str) -> str:
    """blake2b-128 of the normalized question, in hex.

    >>> question_id("What is  2 + 2?") == question_id("WHAT is 2 + 2? ")
    True
    """
    return hashlib.blake2b(normalized(question).encode(), digest_size=16).hexdigest()


def normalized(text: str) -> str:
    """Unicode NFKC, case folded, every run of white space one space.

    >>> normalized(" Ｗhat\\n is 2?")
    'what is 2?'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def order_key(seed: int, text: str) -> int:
    """A 64-bit number that orders things by seed and name, the same on any machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest(), "big")
