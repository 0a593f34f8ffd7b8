"""The rubric: what a judge is asked for each answer, and the strict reading of its reply.

Takes:  question, reference and completion; then the text of a reply.
Leaves: the messages; then a score from 1 to 5 for each criterion, or ValueError with what is wrong. No score is guessed.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from showwork.foundation.nesting import loads

RUBRIC = {
    "correctness": "5 the final answer says what the reference says; 3 partly; 1 it does not, or there is none",
    "reasoning": "5 every step is true and follows; 3 one step does not; 1 the steps do not lead to the answer",
    "clarity": "5 short, ordered and easy to follow; 3 needs a second reading; 1 repeats itself, breaks off or rambles",
}
"""{criterion: what the numbers mean}"""
LOWEST, HIGHEST = 1, 5


def messages(question: str, reference: str, completion: str) -> list[dict[str, str]]:
    """The messages of one request; the three texts stand in them as JSON, so that none can end its own quotation."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True)
    template = resources.files("showwork.judging").joinpath("prompt.jinja").read_text("utf-8")
    texts = {"question": question, "reference": reference or "(none)", "completion": completion}
    quoted = {name: json.dumps(text, ensure_ascii=False) for name, text in texts.items()}
    return [{"role": "user", "content": environment.from_string(template).render(**quoted, rubric=RUBRIC)}]


def scores(reply: str) -> dict[str, Any]:
    """The criteria's scores and `why`.

    >>> scores('{"why": "Right.", "correctness": 5, "reasoning": 4, "clarity": 5}')["reasoning"]
    4

    A fence of ``` around the object is allowed, nothing else.

    Raises:
        ValueError: no such object, a criterion missing or not a whole number from 1 to 5.
    """
    text = reply.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text.split("\n", 1)[1].removesuffix("```")
    try:
        found = loads(text)
    except ValueError as problem:
        raise ValueError(f"the reply is not JSON ({problem})") from None
    if not isinstance(found, dict):
        raise ValueError(f"the reply is {type(found).__name__}, expected an object")
    for name in RUBRIC:
        score = found.get(name)
        if type(score) is not int or not LOWEST <= score <= HIGHEST:
            raise ValueError(f"{name} is {score!r}, expected a whole number from {LOWEST} to {HIGHEST}")
    why = found.get("why", "")
    return {name: found[name] for name in RUBRIC} | {"why": why if isinstance(why, str) else json.dumps(why)}
