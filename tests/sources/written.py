"""Rows written in every layout, for the tests of readers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = [
    {"prompt": f'question {i}\nwith a "quote", 中文 and }}', "response": f"{{answer}} {i % 7}" * (i % 5 + 1)}
    for i in range(57)
]
ROWS[20] = dict(ROWS[10])
EVERYTHING = 2**64


def write_csv(path: Path, rows, newline="\r\n", bom=False, index=False) -> Path:
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator=newline)
        writer.writerow([""] * index + list(rows[0]))
        for i, row in enumerate(rows):
            writer.writerow([i] * index + ["" if v is None else v for v in row.values()])
    return path


def write_jsonl(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def write_object(path: Path, rows, first=0, **how) -> Path:
    path.write_text(json.dumps({str(i): r for i, r in enumerate(rows, first)}, **how), "utf-8")
    return path


def write_parquet(path: Path, rows, row_group_size=10) -> Path:
    pq.write_table(
        pa.Table.from_pylist(rows), path, row_group_size=row_group_size, compression="none", use_dictionary=False
    )
    return path


WRITERS = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "json_object": write_object,
    "parquet": write_parquet,
    "datasets": write_parquet,
}
EACH_LAYOUT = pytest.mark.parametrize("layout", WRITERS)


def split(layout: str, folder: Path, rows, parts: int, name: str = "part") -> list[Path]:
    size = -(-len(rows) // parts)
    return [WRITERS[layout](folder / f"{name}{i}", rows[i * size : (i + 1) * size]) for i in range(parts)]
