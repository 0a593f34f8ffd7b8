"""Where a key of the configuration stands: file and line, and the keys a YAML file gives twice.

Takes:  YAML files, the last one given wins.
Leaves: positions that a person can click on. PyYAML's own loader keeps neither lines nor duplicates.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from showwork.foundation.plain import DEEPEST, MOST, Key

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Places:
    """Lines of the keys in `files`, read once."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.syntax_errors: list[str] = []
        self.duplicates: list[str] = []
        self._lines: list[tuple[str, dict[Key, int]]] = []
        for file in files:
            shown = os.path.relpath(file)
            shown = file.name if shown.startswith("..") else shown
            try:
                text = file.read_text("utf-8")
                if _depth(text) > DEEPEST:
                    self.syntax_errors.append(f"{shown}  nested more than {DEEPEST} deep; write it flatter")
                    continue
                root = yaml.compose(text, Loader=_Loader)
            except OSError as e:
                self.syntax_errors.append(f"{shown}: cannot be read ({e.strerror})")
                continue
            except yaml.MarkedYAMLError as e:
                line = e.problem_mark.line + 1 if e.problem_mark else 1
                self.syntax_errors.append(f"{shown}:{line}  not valid YAML: {e.problem or e.context}")
                continue
            except (yaml.YAMLError, UnicodeDecodeError) as e:
                self.syntax_errors.append(f"{shown}  not valid YAML: {_first_line(e)}")
                continue
            lines: dict[Key, int] = {}
            for key, line, before in itertools.islice(_walk(root, ()), MOST):
                if before is not None:
                    name = ".".join(map(str, key))
                    self.duplicates.append(f"{shown}:{line}  {name}: given twice, first in line {before}; keep one")
                lines[key] = line
            self._lines.append((shown, lines))

    def of(self, key: Key) -> str:
        """`file:line` of a key, or of the nearest key above it; the file that was given last wins."""
        for length in range(len(key), 0, -1):
            for shown, lines in reversed(self._lines):
                if key[:length] in lines:
                    return f"{shown}:{lines[key[:length]]}"
        return self._lines[0][0] if self._lines else "config"


def _depth(text: str) -> int:
    """How deep blocks and lists lie in one another, at least up to one more than is allowed: `compose` has no limit but the stack's."""
    deep = deepest = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            deep += 1
            deepest = max(deepest, deep)
        elif isinstance(event, yaml.CollectionEndEvent):
            deep -= 1
        if deepest > DEEPEST:
            break
    return deepest


def _walk(node: yaml.Node | None, key: Key) -> Iterator[tuple[Key, int, int | None]]:
    """(key, line, line of the same key before or None) of every entry below `node`."""
    if len(key) > DEEPEST:  # an alias may name a block around it
        return
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):  # a list as a key: no place of ours, and never a setting
                continue
            yield (*key, name.value), line, seen.get(name.value)
            seen[name.value] = line
            yield from _walk(value, (*key, name.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield (*key, i), value.start_mark.line + 1, None
            yield from _walk(value, (*key, i))


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]
