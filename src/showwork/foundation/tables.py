"""Parquet tables whose bytes are the same on every run, with a digest that outlives the library that wrote them.

Takes:  batches of rows in a fixed schema.
Leaves: zstd parquet, written whole or not at all, and a logical digest: sha256 over the length-prefixed values of each
        row in column order. File bytes carry pyarrow's version; the logical digest does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from showwork.foundation.files import atomic

COMPRESSION_LEVEL = 3


class LogicalDigest:
    """sha256 over the values of a table, row by row: 8 bytes of length then UTF-8 for text, `repr` for numbers.

    A null is the length 2**64 - 1, so that it differs from an empty string.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of `batch`; how rows are cut into batches does not matter."""
        pack, null = struct.Struct("<Q").pack, b"\xff" * 8
        columns = [batch.column(i).to_pylist() for i in range(batch.num_columns)]
        add = self._hash.update
        for row in zip(*columns, strict=True):
            parts = []
            for value in row:
                if value is None:
                    parts.append(null)
                    continue
                raw = value.encode() if isinstance(value, str) else repr(value).encode()
                parts.append(pack(len(raw)))
                parts.append(raw)
            add(b"".join(parts))

    def hexdigest(self) -> str:
        """The digest of the rows so far, in hex."""
        return self._hash.hexdigest()


class ParquetSink:
    """A parquet file in the making: `with ParquetSink(path, schema) as sink: sink.write(rows)`.

    Nothing stands under `path` until the block ends without an error. `digest` and `rows` are final after the block.
    """

    def __init__(self, path: Path | str, schema: pa.Schema, *, row_group_rows: int = 2000) -> None:
        self.path = Path(path)
        self.schema = schema
        self.rows = 0
        self.digest = ""
        self._row_group_rows = row_group_rows
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._logical = LogicalDigest()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ParquetSink:
        part = self._stack.enter_context(atomic(self.path))
        self._writer = self._stack.enter_context(
            pq.ParquetWriter(
                part, self.schema, compression="zstd", compression_level=COMPRESSION_LEVEL, store_schema=False
            )
        )
        return self

    def write(self, rows: Sequence[dict[str, Any]] | pa.RecordBatch | pa.Table) -> None:
        """Append rows; they are cut into row groups of the same size however they arrive."""
        if isinstance(rows, pa.RecordBatch):
            table = pa.Table.from_batches([rows]).cast(self.schema)
        elif isinstance(rows, pa.Table):
            table = rows.cast(self.schema)
        else:
            table = pa.Table.from_pylist(list(rows), schema=self.schema)
        if not table.num_rows:
            return
        self._logical.update(table)
        self.rows += table.num_rows
        self._pending.append(table)
        self._pending_rows += table.num_rows
        while self._pending_rows >= self._row_group_rows:
            self._flush(self._row_group_rows)

    def _flush(self, count: int) -> None:
        table = pa.concat_tables(self._pending)
        self._writer.write_table(table.slice(0, count).combine_chunks(), row_group_size=self._row_group_rows)
        rest = table.slice(count)
        self._pending, self._pending_rows = ([rest], rest.num_rows) if rest.num_rows else ([], 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._pending_rows:
            try:
                self._flush(self._pending_rows)
            except BaseException as e:
                self._stack.__exit__(type(e), e, e.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)
        self.digest = self._logical.hexdigest()


def write_table(
    path: Path | str, schema: pa.Schema, batches: Iterable[Sequence[dict[str, Any]] | pa.Table]
) -> ParquetSink:
    """Write all `batches` to `path` and return the closed sink (its `rows` and `digest`)."""
    with ParquetSink(path, schema) as sink:
        for batch in batches:
            sink.write(batch)
    return sink


def read_rows(
    path: Path | str, columns: Sequence[str] | None = None, *, batch_rows: int = 1000
) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file in order, in batches, with text validated as UTF-8; memory is one row group.

    Raises: FileNotFoundError; ValueError when the file is not parquet, lacks a column, or holds invalid text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; an earlier stage should have left it, run the same command again"
        )
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            missing = [c for c in columns or () if c not in file.schema_arrow.names]
            if missing:
                raise ValueError(f"{path}: no column {missing[0]!r}; it has {', '.join(file.schema_arrow.names)}")
            for batch in file.iter_batches(batch_size=batch_rows, columns=None if columns is None else list(columns)):
                batch.validate(full=True)
                yield batch
    except pa.ArrowInvalid as e:
        raise ValueError(f"{path}: not a readable parquet file ({e}); delete it and run the same command again") from e
