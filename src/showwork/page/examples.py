"""A few example rows of every loss, so that a reader can judge whether the reason was a good one.

*Takes* the files of dropped, rejected and removed rows and the ledger. *Leaves* {(stage, source, reason): examples}, the first
few in the order of the file, each with its place, the value that failed and its texts, shortened.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from showwork.foundation.tables import read_rows
from showwork.page.cells import count, shortened

PER_REASON = 3
MOST_CHARACTERS = 500
TEXTS = ("question", "trace", "answer")

Key = tuple[str, str, str]
Found = dict[Key, list[dict[str, Any]]]


def loss_examples(
    dropped: Iterable[Path], rejected: Iterable[Path], removed: Path, records: Sequence[Path], ledger: Path, train: Path
) -> Found:
    """Examples of all four stages that lose rows.

    Args:
        dropped, rejected: of each sample. removed: of the mix. records: standardized, where removed records' texts are.
        ledger: of packing. train: the mix's records, where the texts of records too long to pack are.
    """
    found: Found = {}
    for path in dropped:
        for key, rows in _first("sample", path).items():
            found.setdefault(key, []).extend(_row_example(row) for row in rows)
    for path in rejected:
        for key, rows in _first("standardize", path).items():
            found.setdefault(key, []).extend(_row_example(row) for row in rows)
    gone = _first("mix", removed)
    wanted = {
        name for rows in gone.values() for row in rows for name in (row["record_id"], row["duplicate_of"]) if name
    }
    texts = texts_of([*records, train], wanted)
    for key, rows in gone.items():
        found[key] = [_removed_example(row, texts) for row in rows]
    unpacked = _first("pack", ledger)
    texts = texts_of([train], {row["record_id"] for rows in unpacked.values() for row in rows})
    for key, rows in unpacked.items():
        found[key] = [_record_example(row, texts.get(row["record_id"])) for row in rows]
    return {key: examples[:PER_REASON] for key, examples in found.items()}


def texts_of(files: Iterable[Path], record_ids: set[str]) -> dict[str, dict[str, Any]]:
    """{record id: its question, trace and answer} of those that are in `files`; only the row groups that hold one are read."""
    texts: dict[str, dict[str, Any]] = {}
    missing = set(record_ids)
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                if not missing:
                    return texts
                ids = file.read_row_group(group, columns=["record_id"]).column(0)
                if pc.any(pc.is_in(ids, pa.array(sorted(missing), pa.string()))).as_py():
                    table = file.read_row_group(group, columns=["record_id", *TEXTS])
                    mine = table.filter(pc.is_in(table.column("record_id"), pa.array(sorted(missing), pa.string())))
                    texts.update({row["record_id"]: row for row in mine.to_pylist()})
                    missing -= texts.keys()
    return texts


def _first(stage: str, path: Path) -> dict[Key, list[dict[str, Any]]]:
    """The first rows of each (source, reason) in a file; a row without a reason is no loss."""
    found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for batch in read_rows(path):
        sources, reasons = batch.column("source").to_pylist(), batch.column("reason").to_pylist()
        for i, (source, reason) in enumerate(zip(sources, reasons, strict=True)):
            if reason and len(found[stage, source, reason]) < PER_REASON:
                found[stage, source, reason].append(batch.slice(i, 1).to_pylist()[0])
    return {key: rows for key, rows in found.items() if rows}


def _row_example(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a source: its place, what failed, its columns (or its text, where it could not be read)."""
    raw = row.get("raw")
    fields: list[tuple[str, str]] = [] if row["detail"] is None else [("what failed", row["detail"])]
    if raw:
        columns = _columns(raw)
        fields += [(name, _short(value)) for name, value in columns.items()] if columns else [("row", _short(raw))]
    return {"title": _place(row), "fields": [(name, text) for name, text in fields if text]}


def _columns(raw: str) -> dict[str, Any] | None:
    try:
        columns = json.loads(raw)
    except ValueError:
        return None
    return columns if isinstance(columns, dict) else None


def _removed_example(row: dict[str, Any], texts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    example = _record_example(row, texts.get(row["record_id"]))
    other = texts.get(row["duplicate_of"]) if row["duplicate_of"] != row["record_id"] else None
    if row["similarity"] is not None:
        what = "share of the question" if row["reason"] == "contaminated" else "similarity"
        example["title"] += f" · {what} {row['similarity']:.2f}"
    if other:
        does = "holds the question of" if row["reason"] == "contaminated" else "repeats"
        example["fields"] += [(f"{does}: {name}", _short(other[name])) for name in ("question", "answer")]
    return example


def _record_example(row: dict[str, Any], texts: dict[str, Any] | None) -> dict[str, Any]:
    fields = [] if texts is None else [(name, _short(texts[name])) for name in TEXTS]
    return {"title": f"{_place(row)} · record {row['record_id'][:12]}", "fields": fields}


def _place(row: dict[str, Any]) -> str:
    return f"{row['source']}, row {count(row['source_row'])}"


def _short(value: Any) -> str:
    """Text as a page can hold it: half of a surrogate pair, which no encoding has, is shown as its escape."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return shortened(text.encode("utf-8", "backslashreplace").decode(), MOST_CHARACTERS)
