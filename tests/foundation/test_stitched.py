"""Row groups that were encoded apart make the very file that one writer makes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from showwork.foundation import tables
from showwork.foundation.tables import COMPRESSION_LEVEL, FEW_VALUES, ParquetSink

SCHEMA = pa.schema(
    [
        ("source", pa.string()), ("row_id", pa.string()), ("place", pa.int64()), ("short", pa.int32()),
        ("similarity", pa.float64()), ("flag", pa.bool_()), ("text", pa.large_string()),
    ]
)  # fmt: skip


def rows(number: int) -> pa.Table:
    """Rows with nulls, texts that are long, empty and not of ASCII, and a column of two values."""
    return pa.Table.from_pylist(
        [
            {
                "source": ("a", "b", None)[i % 3], "row_id": f"{i:032x}", "place": i - 5, "short": i % 7,
                "similarity": None if i % 2 else i / 7, "flag": i % 5 == 0, "text": ("", "é" * i, f"text {i} " * 300)[i % 3],
            }
            for i in range(number)
        ],
        schema=SCHEMA,
    )  # fmt: skip


def by_one_writer(path: Path, table: pa.Table, group: int) -> bytes:
    with pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=[name for name in SCHEMA.names if name in FEW_VALUES],
        write_statistics=[f.name for f in SCHEMA if not pa.types.is_large_string(f.type)],
        store_schema=False,
    ) as out:
        for start in range(0, table.num_rows, group):
            out.write_table(table.slice(start, group), row_group_size=group)
    return path.read_bytes()


@pytest.mark.parametrize("encoders", [1, 2])
@pytest.mark.parametrize("number", [0, 1, 50, 1003])
def test_the_bytes_are_those_of_one_writer(
    number: int, encoders: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables.os, "sched_getaffinity", lambda _: set(range(encoders)))
    table = rows(number)
    with ParquetSink(tmp_path / "ours.parquet", SCHEMA, row_group_rows=50) as sink:
        for start in range(0, number, 37):
            sink.write(table.slice(start, 37))
    assert (tmp_path / "ours.parquet").read_bytes() == by_one_writer(tmp_path / "one.parquet", table, 50)
    assert pq.read_table(tmp_path / "ours.parquet").cast(SCHEMA).equals(table)
    assert sink.file.bytes == (tmp_path / "ours.parquet").stat().st_size


def test_an_error_in_an_encoder_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables.stitched, "encode", broken)
    with pytest.raises(OSError, match="No space left"), ParquetSink(tmp_path / "x.parquet", SCHEMA) as sink:
        sink.write(rows(3))
    assert not list(tmp_path.iterdir())
