"""How long the texts of a file are, in characters and in tokens, beside what the recipe's origin measured of the same source.

Takes:  a parquet file's text columns, the rows selected, the base's tokenizer where there is one.
Leaves: one table of percentiles. Characters are of every row selected; tokens of at most TOKENIZED of them, drawn by a seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from showwork.look.tables import ROW, Tables, listed
from showwork.look.terminal import grid, harmless
from showwork.look.view import File, Wanted, many
from showwork.records.lengths import PERCENTILES, percentiles

TOKENIZED = 2000
SEED = 42
TEXTS = ("question", "trace", "answer")
Line = tuple[str, Mapping[str, int]]


def lengths(
    out: Console, file: File, tables: Tables, texts: Sequence[str], selected: np.ndarray, wanted: Wanted
) -> None:
    """Print the table of the columns `texts` of the row numbers `selected` [n]; nothing when there are none."""
    if not len(selected) or not texts:
        return
    sizes = ", ".join(f'length("{name}") AS "{name}"' for name in texts)
    found = tables.columns(f"SELECT {sizes} FROM $it ORDER BY {ROW}", it=file.path)
    told = {} if wanted.where or wanted.id else published(file)  # they are of whole files
    lines: list[Line] = []
    for name in texts:
        values = found[name][selected]
        lines.append((name, percentiles(np.ma.compressed(values))))
        if origin := told.get(name):
            lines.append((f"  {origin['column']}, published ({origin['of']})", origin))
    out.print()
    table(out, f"Length in characters, {many(len(selected), 'row')}", lines)
    if told:
        out.print(Text(_published()["origin"], "dim"))
    elif not wanted.where and not wanted.id:
        for sentence in elsewhere(file):
            out.print(Text(sentence, "dim"), soft_wrap=True)
    if wanted.tokens:
        tokens(out, file, tables, texts, selected, wanted)


def tokens(
    out: Console, file: File, tables: Tables, texts: Sequence[str], selected: np.ndarray, wanted: Wanted
) -> None:
    """Print the table in tokens of the row numbers `selected` [n], or why there is none."""
    encoder, folder, why = file.tokenizer
    if encoder is None:
        out.print(Text(f"No lengths in tokens: {why}", "dim"), soft_wrap=True)
        return
    seed = SEED if wanted.seed is None else wanted.seed
    some, said = selected, many(len(selected), "row")
    if len(selected) > TOKENIZED:
        some = np.sort(np.random.Generator(np.random.PCG64(seed)).choice(selected, TOKENIZED, replace=False))
        said = f"{TOKENIZED:,} of {len(selected):,} rows, drawn with seed {seed}"
    columns = ", ".join(f'"{name}"' for name in texts)
    rows = tables.rows(f"SELECT {columns} FROM $it WHERE {ROW} IN {listed(some.tolist())}", it=file.path)
    lines = []
    for name in texts:
        lines.append((name, percentiles(encoder.count_tokens([row[name] for row in rows if row[name] is not None]))))
    out.print()
    table(out, f"Length in tokens (tokenizer of {folder}), {said}", lines)


def table(out: Console, title: str, lines: Sequence[Line]) -> None:
    """Print percentiles, a line each."""
    out.print(Text(title, "bold"))
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    drawn.add_column("")
    for p in PERCENTILES:
        drawn.add_column(f"p{p}", justify="right")
    for name, values in lines:
        numbers = [f"{values[f'p{p}']:,}" if values else "–" for p in PERCENTILES]
        drawn.add_row(harmless(name), *numbers, style="dim" if name.startswith(" ") else "")
    grid(out, drawn)


def published(file: File) -> dict[str, dict[str, Any]]:
    """{column of the file: what the origin published of it}; nothing for generated sources, whose texts are others."""
    roles, mine = _roles(file), {line["column"]: line for line in _lines_of(file)}
    return {name: mine[column] for name, column in roles.items() if column in mine}


def elsewhere(file: File) -> list[str]:
    """Where the published lengths can be compared, when not in this file: they are of the source's own columns."""
    columns = [line["column"] for line in _lines_of(file)]
    if not columns or file.manifest.get("stage") != "standardize" or file.run is None:
        return []
    sample = file.run.directory / f"results/sample/{file.manifest['name']}.parquet"
    return [f"Published lengths are of the source's own {', '.join(columns)}: showwork inspect {sample}"]


def _lines_of(file: File) -> list[dict[str, Any]]:
    source, hub = file.manifest.get("settings", {}).get("source"), (file.manifest.get("origin") or {}).get("hub")
    if not source or (file.run and file.run.is_demo):
        return []
    return [
        line for line in _published()["lengths"] if line["hub"] == hub or (hub is None and line["source"] == source)
    ]


def _roles(file: File) -> dict[str, str]:
    """{column of the file: column of the source}."""
    stage, settings = file.manifest.get("stage"), file.manifest.get("settings", {})
    if stage == "sample":
        return {name: name for name in file.manifest["columns"]}
    if stage == "standardize":
        return {role: column for role, column in (settings.get("columns") or {}).items() if role in TEXTS}
    return {}


def _published() -> dict[str, Any]:
    return json.loads(resources.files("showwork.look").joinpath("published.json").read_text("utf-8"))
