"""Which files of a listing a source means: names and patterns, in the order in which their rows count.

Takes:  patterns as `files` in config.yaml gives them; `*` and `?` stay within a folder, `**` crosses folders.
Leaves: names in the order of the patterns, sorted within each, none twice.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence

REQUIRED_OF_MODEL = ("config.json", "tokenizer.json", "*.safetensors")


def choose(
    patterns: Sequence[str], names: Sequence[str], *, owner: str, where: str, kind: str = "dataset"
) -> list[str]:
    """The names that `patterns` mean; of a model only config, tokenizer and weights must be there.

    >>> choose(["b*", "a"], ["a", "b2", "b1", "c"], owner="source 's'", where="here")
    ['b1', 'b2', 'a']

    Raises: ValueError for a pattern that leaves the folder or matches nothing; it names what is near.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
            raise ValueError(f"{owner}: file {pattern!r} leaves its folder; give names relative to it")
        found = sorted(n for n in names if _matches(n.split("/"), pattern.split("/")))
        if not found and (kind == "dataset" or pattern in REQUIRED_OF_MODEL):
            raise ValueError(f"{owner}: no file in {where} matches {pattern!r}; {_near(pattern, names)}; correct files")
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _matches(name: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches(name[i:], pattern[1:]) for i in range(len(name) + 1))
    return bool(name) and fnmatch.fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _near(pattern: str, names: Sequence[str]) -> str:
    if not names:
        return "it holds no files"
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or sorted(names)[:3]
    return f"of its {len(names)} files the nearest are {', '.join(near)}"
