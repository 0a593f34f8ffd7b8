"""Names for records and questions that depend on their text alone.

Takes:  question, trace, answer.
Leaves: 32 hex digits each: `record_id` tells equal records, `question_id` tells questions that differ only in letter case,
        white space or Unicode form. Row ids, which name rows of a source, are made in sources/identity.py.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np


def record_id(question: str, trace: str, answer: str) -> str:
    """The first 128 bits of sha256 of the three texts, in hex; processors have sha256 in hardware."""
    return hashlib.sha256(f"{question}\0{trace}\0{answer}".encode()).hexdigest()[:32]


def question_id(question: str) -> str:
    """The first 128 bits of sha256 of the normalized question, in hex.

    >>> question_id("What is  2 + 2?") == question_id("WHAT is 2 + 2? ")
    True
    """
    return hashlib.sha256(normalized(question).encode()).hexdigest()[:32]


def normalized(text: str) -> str:
    """Unicode NFKC, case folded, every run of white space one space.

    >>> normalized(" Ｗhat\\n is 2?")
    'what is 2?'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def order_keys(seed: int, texts: Sequence[str]) -> np.ndarray:
    """uint64[n]: numbers that order things by seed and name, the same on any machine."""
    start = f"{seed}\0".encode()
    digests = b"".join(hashlib.blake2b(start + text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)
