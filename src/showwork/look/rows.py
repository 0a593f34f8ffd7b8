"""Rows of a parquet file as a person reads them: which row it is, what was said of it, its texts one under another.

Takes:  any parquet file that a stage leaves, and the rows wanted of it.
Leaves: on the screen what the file is, its reasons counted, the rows, and how long its texts are.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from showwork.look.lengths import lengths
from showwork.look.tables import ROW, Tables, listed
from showwork.look.terminal import grid
from showwork.look.told import MEANS
from showwork.look.view import File, Wanted, block, facts, heading, many
from showwork.tokens.template import completion_text

USUAL_ROWS = 3
IDS = ("row_id", "record_id", "question_id", "prompt_id")
NAMES = frozenset({*IDS, "source", "sample", "reason", "detail", "duplicate_of", "mode", "stop_reason"})
"""Columns of text that are short and no prose."""
TEXTS = ("question", "trace", "answer")
Row = dict[str, Any]


def show(out: Console, file: File, wanted: Wanted) -> None:
    """Print the rows wanted, and the lengths of the texts of all rows selected.

    Raises: ValueError when no row is selected, or `--where` is no condition.
    """
    tables = Tables([file.path])
    types = tables.types(file.path)
    total = tables.rows("SELECT count(*) AS n FROM $it", it=file.path)[0]["n"]
    selected = select(tables, file.path, types, total, wanted)
    texts = [name for name, kind in types.items() if kind == "VARCHAR" and name not in NAMES]
    source = file.manifest.get("settings", {}).get("source", "")
    introduce(out, file, total, selected, wanted)
    if "reason" in types:
        reasons(out, tables, file.path, selected)
    some = wanted.of(selected, USUAL_ROWS)
    found = (
        tables.rows(f"SELECT * FROM $it WHERE {ROW} IN {listed(some.tolist())} ORDER BY {ROW}", it=file.path)
        if len(some)
        else []
    )
    encoder = file.tokenizer[0] if wanted.tokens and found else None
    removed = "duplicate_of" in types
    records = kept = {}
    if removed:
        samples = [f"standardize/{name}.parquet" for name in dict.fromkeys(row["sample"] for row in found)]
        records = texts_of(file, samples, [row["record_id"] for row in found])
        kept = texts_of(
            file, ["heldout/prompts.parquet", "mix/*/train.parquet"], [row["duplicate_of"] for row in found]
        )
    for row in found:
        show_row(out, row, source, texts, wanted, encoder)
        if removed:
            show_removed(out, row, records, kept, wanted)
    lengths(out, file, tables, texts, selected, wanted)


def select(tables: Tables, path: Path, types: Mapping[str, str], total: int, wanted: Wanted) -> np.ndarray:
    """int64[n]: the numbers of the rows that `--where` and `--id` select, in order.

    Raises: ValueError when they select none, or the file has no column of ids.
    """
    selected = np.arange(total)
    if wanted.where:
        selected = tables.matching(path, wanted.where)
    if wanted.id:
        columns = [name for name in IDS if name in types]
        if not columns:
            raise ValueError(f"--id: {path} has no column of ids; it has {', '.join(types)}")
        condition = " OR ".join(f"starts_with({name}, ?)" for name in columns)
        sql = f"SELECT {ROW} FROM $it WHERE {condition} ORDER BY {ROW}"
        selected = np.intersect1d(selected, tables.columns(sql, [wanted.id] * len(columns), it=path)[ROW])
    if total and not len(selected):
        asked = " and ".join(f"--{name} {getattr(wanted, name)!r}" for name in ("where", "id") if getattr(wanted, name))
        raise ValueError(f"{path}: none of its {total:,} rows is one of {asked}")
    return selected


def introduce(out: Console, file: File, total: int, selected: np.ndarray, wanted: Wanted) -> None:
    """Print what the file is, and how many rows are `selected` [n]."""
    stage, name = file.manifest.get("stage"), file.manifest.get("name")
    what = f"{stage} {name}, " if stage else ""
    chosen = f", {len(selected):,} of them selected" if wanted.where or wanted.id else ""
    out.print(Text.assemble((str(file.path), "bold"), f": {what}{many(total, 'row')}{chosen}"), soft_wrap=True)


def reasons(out: Console, tables: Tables, path: Path, selected: np.ndarray) -> None:
    """Print how many of the rows `selected` [n] have each reason."""
    found = tables.columns(f"SELECT reason FROM $it ORDER BY {ROW}", it=path)["reason"]
    names, counts = np.unique(np.ma.filled(found[selected], "").astype(str), return_counts=True)
    drawn = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    drawn.add_column(justify="right")
    for count, name in sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True):
        if name:
            drawn.add_row(f"{count:,}", name, Text(MEANS.get(name, ""), "dim"))
    grid(out, drawn)


def show_row(out: Console, row: Row, source: str, texts: Sequence[str], wanted: Wanted, encoder: Any) -> None:
    """Print one row: where it is from, what was said of it, its texts."""
    source = row.get("source") or source
    place = f"{source}:{row['source_row']}" if "source_row" in row and source else ""
    heading(out, f"row {row[ROW]:,}", place)
    out.print(facts(row, [name for name in IDS if name in row]), soft_wrap=True)
    short = [name for name in row if name not in (*texts, *IDS, ROW, "source", "source_row")]
    if told := facts(row, short):
        out.print(told, soft_wrap=True)
    for name, text in _blocks(row, texts).items():
        block(out, name, text, wanted, encoder)
    if "raw" in row and row["raw"] is None:
        out.print(Text("its texts are not kept here: the row lies in the source", "dim"))


def _blocks(row: Row, texts: Sequence[str]) -> dict[str, str | None]:
    """The texts to print: of a rejected row its own columns, of a completion its two parts if that is all of it."""
    if "raw" in texts:
        return _columns(row["raw"])
    left_out: tuple[str, ...] = ()
    if "completion" in texts:
        whole = row["completion"] == completion_text(row["trace"] or "", row["answer"] or "")
        left_out = ("completion",) if whole else ("trace", "answer")
    return {name: row[name] for name in texts if name not in left_out}


def _columns(raw: str | None) -> dict[str, str | None]:
    """A row as it came: rejected rows are kept as JSON, rows that could not be read as they stood."""
    with contextlib.suppress(ValueError):
        columns = json.loads(raw or "")
        if isinstance(columns, dict) and all(isinstance(value, str | None) for value in columns.values()):
            "".join(filter(None, columns.values())).encode()  # half a surrogate pair is shown as it is escaped
            return columns
    return {} if raw is None else {"raw": raw}


def show_removed(out: Console, row: Row, records: Mapping[str, Row], kept: Mapping[str, Row], wanted: Wanted) -> None:
    """Print the texts of a removed record, and those of the record that it repeats where they are others."""
    if record := records.get(row["record_id"]):
        for text in TEXTS:
            block(out, text, record[text], wanted, None)
    if other := kept.get(row["duplicate_of"]):
        place = f"{other['source']}:{other['source_row']}"
        if row["record_id"] == row["duplicate_of"]:
            out.print(f"repeats {place} word for word")
            return
        does = "holds the question of" if row["reason"] == "contaminated" else "repeats"
        for text in TEXTS:
            block(out, f"{does} {place}, {text}", other[text], wanted, None)


def texts_of(file: File, places: Sequence[str], ids: Iterable[str]) -> dict[str, Row]:
    """{record id: its source, source_row and texts} of those records that are found in files of the run."""
    if file.run is None:
        return {}
    results = file.run.directory / "results"
    there = [path for place in places for path in sorted(results.glob(place))]
    tables, found = Tables(there), dict[str, Row]()
    columns = ", ".join(("record_id", "source", "source_row", *TEXTS))
    for path in there:
        if missing := sorted({name for name in ids if name} - found.keys()):
            sql = f"SELECT {columns} FROM $it WHERE record_id IN {listed(missing)}"
            found |= {row["record_id"]: row for row in tables.rows(sql, it=path)}
    return found
