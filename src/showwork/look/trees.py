"""Files that are no rows of text: a manifest or any other JSON as a tree, JSON lines as a table, weights by name and shape.

Takes:  the path of the file.
Leaves: it on the screen.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from showwork.foundation.files import read_json
from showwork.foundation.nesting import loads
from showwork.look.tables import Tables
from showwork.look.terminal import grid, harmless, written
from showwork.look.view import Wanted

MOST_ITEMS = 8
"""Items of a list that are shown; texts that are lines for a person are all shown."""
USUAL_LINES = 20
LINE_CHARACTERS = 120
"""An object of plain values stands on one line up to this length."""
DIGEST = re.compile(r"[0-9a-f]{32,}")
FIRST = ("counts", "total")
LAST = ("by_source", "inputs", "files", "digest", "digests", "settings", "origin", "columns", "parts")
"""What a manifest says of itself comes after what it counts."""


def show_json(out: Console, path: Path, wanted: Wanted) -> None:
    """Print a JSON file as a tree; of a manifest the counts come first. `--width 0` shows digests in full."""
    body, title = read_json(path), Text(str(path), "bold")
    if isinstance(body, dict):
        if {"stage", "name"} <= body.keys():
            title.append(f": {body.pop('stage')} {body.pop('name')}", "not bold")
            for drawn in (lines := body.pop("tree", [])):
                out.print(written(drawn), soft_wrap=True)
            if lines:
                out.print()
        body = dict(sorted(body.items(), key=lambda item: (item[0] not in FIRST, item[0] in LAST)))
    tree = Tree(title, guide_style="dim")
    _grow(tree, body, wanted.width)
    out.print(tree)


def _grow(tree: Tree, value: Any, width: int) -> None:
    """Hang an object's entries, or a list's items, below its name."""
    entries = list(value.items()) if isinstance(value, dict) else [("", item) for item in _items(value)]
    lines = [_line(item, width) for _, item in entries]
    longest = max(
        (len(str(name)) for (name, _), line in zip(entries, lines, strict=True) if line is not None), default=0
    )
    for (name, item), line in zip(entries, lines, strict=True):
        shown = harmless(str(name))
        if line is None:
            _grow(tree.add(Text(shown, "bold")), item, width)
        else:
            tree.add(Text.assemble((f"{shown:{longest}}  " if shown else "", "cyan"), written(line)))
    if isinstance(value, list) and len(entries) < len(value):
        tree.add(Text(f"… {len(value) - len(entries):,} more", "dim"))


def _items(value: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    lines_for_a_person = all(isinstance(item, str) and " " in item for item in items)
    return items if lines_for_a_person else items[:MOST_ITEMS]


def _line(item: Any, width: int) -> str | None:
    """A value on the line of its name, or None where it takes lines of its own.

    >>> _line({"p10": 3, "p5": 2, "kept": 1200}, 0), _line({"a": {"b": {}}}, 0)
    ('kept 1,200, p5 2, p10 3', None)
    """
    if isinstance(item, dict):
        if any(isinstance(value, dict | list) and value for value in item.values()):
            return None
        line = ", ".join(f"{name} {_plain(item[name], width)}" for name in sorted(item, key=_natural))
    elif isinstance(item, list):
        if any(isinstance(value, dict | list) for value in item):
            return None
        line = ", ".join(_plain(value, width) for value in item)
    else:
        return _plain(item, width)
    return (line or "none") if len(line) <= LINE_CHARACTERS else None


def _plain(value: Any, width: int) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, str) and width and DIGEST.fullmatch(value):
        return f"{value[:12]}…"
    return "none" if value in ({}, []) else str(value)


def _natural(name: str) -> list[tuple[str, int]]:
    """p5 before p10."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name)]


def show_lines(out: Console, path: Path, wanted: Wanted) -> None:
    """Print a JSON-lines file as a table: so many lines from `--start`, or else some from its beginning to its end.

    Raises: ValueError for a line that is no JSON object, or when no line is selected.
    """
    lines = [_object(path, number, text) for number, text in enumerate(path.read_text("utf-8").splitlines())]
    selected = np.arange(len(lines))
    if wanted.where:
        selected = Tables([path]).matching(path, wanted.where)
    if not len(selected):
        raise ValueError(f"{path}: none of its {len(lines):,} lines is one of --where {wanted.where!r}")
    if wanted.start or wanted.seed is not None:
        some = wanted.of(selected, USUAL_LINES)
    else:
        places = np.linspace(0, len(selected) - 1, min(wanted.rows or USUAL_LINES, len(selected)))
        some = selected[np.unique(places.round().astype(int))]
    chosen = [lines[number] for number in some.tolist()]
    names = list(dict.fromkeys(name for line in chosen for name in line))
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    names.sort(key=lambda name: name != "step")
    for name in names:
        drawn.add_column(harmless(name), justify="right")
    for line in chosen:
        drawn.add_row(*(written(_cell(line[name])) if name in line else Text() for name in names))
    how = "" if len(some) == len(lines) else f", {len(some):,} of them shown; --rows {len(lines)} shows all"
    out.print(Text.assemble((str(path), "bold"), f": {len(lines):,} lines{how}"), soft_wrap=True)
    grid(out, drawn)


def _cell(value: Any) -> str:
    """A number in four digits; of an object of numbers the least and the greatest.

    >>> _cell(0.0123456), _cell({"q": 0.5, "k": 0.25})
    ('0.01235', '0.25 to 0.5')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict) and value and all(isinstance(v, int | float) for v in value.values()):
        return f"{_cell(min(value.values()))} to {_cell(max(value.values()))}"
    return _plain(value, 1) if not isinstance(value, dict | list) else json.dumps(value)


def _object(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = loads(text)
    except ValueError as e:
        raise ValueError(f"{path}: line {number + 1:,} is no JSON ({e}); run the stage that wrote it again") from e
    if not isinstance(line, dict):
        raise ValueError(f"{path}: line {number + 1:,} is {text[:40]!r}, expected an object")
    return line


def show_tensors(out: Console, path: Path) -> None:
    """Print names, shapes and types of a safetensors file; layers of the same shape stand on one line.

    Raises: ValueError when it is no safetensors file.
    """
    from safetensors import safe_open  # of the extra `train`; manifests are shown without it

    groups: defaultdict[tuple[str, tuple[int, ...], str], list[int | None]] = defaultdict(list)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 (no mapping)
                about = file.get_slice(name)
                layer = re.search(r"(?<=layers\.)[0-9]+", name)
                pattern = re.sub(r"(?<=layers\.)[0-9]+", "*", name)
                groups[pattern, tuple(about.get_shape()), about.get_dtype()].append(int(layer[0]) if layer else None)
    except Exception as e:  # the library raises its own SafetensorError
        raise ValueError(
            f"{path}: no readable safetensors file ({e}); delete it and run the command that built it again"
        ) from e
    total = sum(int(np.prod(shape)) * len(layers) for (_, shape, _), layers in groups.items())
    number = sum(map(len, groups.values()))
    out.print(
        Text.assemble((str(path), "bold"), f": {number:,} arrays, {total:,} numbers, {path.stat().st_size:,} bytes"),
        soft_wrap=True,
    )
    for key, value in metadata.items():
        out.print(Text(f"{key}: ", "dim").append_text(written(value)), soft_wrap=True)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("name", "layers", "shape", "type"):
        drawn.add_column(title, justify="left")
    for (name, shape, kind), layers in sorted(groups.items()):
        drawn.add_row(
            harmless(name), _ranges([layer for layer in layers if layer is not None]), " x ".join(map(str, shape)), kind
        )
    grid(out, drawn)


def _ranges(numbers: list[int]) -> str:
    """Numbers in order, neighbours as ranges.

    >>> _ranges([0, 1, 2, 5])
    '0–2, 5'
    """
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in found)
