"""Parquet tables whose bytes are the same on every run, with a digest that outlives the library that wrote them.

Takes:  batches of rows in a fixed schema.
Leaves: zstd parquet, written whole or not at all, and a logical digest of the values. File bytes carry pyarrow's version;
        the logical digest does not.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from showwork.foundation import stitched
from showwork.foundation.files import HashingFile, Written, atomic
from showwork.foundation.overlap import Behind

COMPRESSION_LEVEL = 1
"""Of zstd. Level 3 with dictionaries on texts took 1.73 s where this takes 0.73 s, for 13 % fewer bytes (one table)."""

ROW_GROUP_ROWS = 500
"""4 MB of long answers. With twice as many rows a slice took as long and 30 MB more memory."""

ENCODERS = 2
"""Row groups encoded at a time, where there are as many cores; more wait for the disk and hold memory."""

FEW_VALUES = frozenset({"source", "sample", "reason", "mode", "stop_reason"})
"""Columns that repeat a few values and gain by a dictionary; texts and ids only lose by one."""


class LogicalDigest:
    """xxh3-128 over the values of a table, column by column: the lengths of texts (-1 for null) apart from their bytes.

    It tells whether two tables hold the same values, at memory speed; that nobody has put other bytes in the place of a file is
    what the file's sha256 is for. How rows are cut into batches does not matter, nor does the library that wrote the file. Numbers count as 8 bytes each
    with their nulls apart; other types by their `repr`.
    """

    def __init__(self) -> None:
        self._streams: dict[str, tuple[Any, Any]] = {}

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of `batch`."""
        for name in batch.schema.names:
            shape, content = self._streams.setdefault(name, (xxhash.xxh3_128(), xxhash.xxh3_128()))
            column = batch.column(name)
            for array in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                for part, stream in zip(_shape_and_content(array), (shape, content), strict=True):
                    stream.update(part)

    def hexdigest(self) -> str:
        """The digest of the rows so far, in hex."""
        whole = xxhash.xxh3_128()
        for name, (shape, content) in self._streams.items():
            whole.update(f"{name} {shape.hexdigest()} {content.hexdigest()}\n".encode())
        return whole.hexdigest()


def _shape_and_content(array: pa.Array) -> tuple[bytes, Any]:
    """(lengths of the values, their bytes) of one column's array; equal for equal values, wherever the array was cut."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array = array.cast(pa.large_string())
        filled = array.fill_null("") if array.null_count else array
        buffers, first = filled.buffers(), filled.offset
        offsets = (
            np.frombuffer(buffers[1], np.int64)[first : first + len(filled) + 1] if len(filled) else np.zeros(1, int)
        )
        lengths = np.diff(offsets)
        if array.null_count:
            lengths = np.where(array.is_null().to_numpy(zero_copy_only=False), -1, lengths)
        content = memoryview(buffers[2])[offsets[0] : offsets[-1]] if buffers[2] is not None else b""
        return lengths.astype("<i8").tobytes(), content
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = array.fill_null(False if pa.types.is_boolean(kind) else 0)
        return nulls.tobytes(), values.cast(pa.int64()).to_numpy().astype("<i8").tobytes()
    if pa.types.is_floating(kind):
        return nulls.tobytes(), array.fill_null(0.0).cast(pa.float64()).to_numpy().astype("<f8").tobytes()
    parts = [repr(value).encode() for value in array.to_pylist()]
    return np.array([len(p) for p in parts], "<i8").tobytes(), b"".join(parts)


def text_views(texts: pa.Array) -> list[memoryview]:
    """The UTF-8 bytes of each text of an array, where they lie.

    Raises: ValueError when one is null.
    """
    if texts.null_count:
        raise ValueError(f"a column of {len(texts):,} texts holds {texts.null_count:,} nulls, expected none")
    texts = texts.cast(pa.large_string())
    _, ends, content = texts.buffers()
    if not len(texts) or content is None:
        return [memoryview(b"")] * len(texts)
    data = memoryview(content)
    places = np.frombuffer(ends, np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


class ParquetSink:
    """A parquet file in the making: `with ParquetSink(path, schema) as sink: sink.write(rows)`.

    Nothing stands under `path` until the block ends without an error. `digest`, `rows` and `file` are final after it.
    Row groups are encoded in as many threads as there are cores, two at most; the file's bytes are those of one writer.
    """

    def __init__(self, path: Path | str, schema: pa.Schema, *, row_group_rows: int = ROW_GROUP_ROWS) -> None:
        self.path = Path(path)
        self.schema = schema
        self.rows = 0
        self.digest = ""
        self.file = Written(self.path, 0, "")
        self._row_group_rows = row_group_rows
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._logical = LogicalDigest()
        self._stack = contextlib.ExitStack()
        self._encoders = min(ENCODERS, len(os.sched_getaffinity(0)))
        self._encoding: deque[Future[stitched.Encoded]] = deque()
        self._groups: list[stitched.Fields] = []

    def __enter__(self) -> ParquetSink:
        with contextlib.ExitStack() as stack:
            part = stack.enter_context(atomic(self.path))
            self._bytes = stack.enter_context(HashingFile(part))
            self._beside = stack.enter_context(Behind(depth=2))
            self._pool = stack.enter_context(ThreadPoolExecutor(self._encoders))
            self._bytes.write(stitched.MAGIC)
            self._stack = stack.pop_all()
        return self

    def _writer(self, sink: pa.NativeFile) -> pq.ParquetWriter:
        return pq.ParquetWriter(
            sink,
            self.schema,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=[name for name in self.schema.names if name in FEW_VALUES],
            write_statistics=[f.name for f in self.schema if not pa.types.is_large_string(f.type)],
            store_schema=False,
        )

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
        self._beside(self._logical.update, table)
        self.rows += table.num_rows
        self._pending.append(table)
        self._pending_rows += table.num_rows
        while self._pending_rows >= self._row_group_rows:
            self._flush(self._row_group_rows)

    def _flush(self, count: int) -> None:
        table = pa.concat_tables(self._pending)
        group = table.slice(0, count)
        if any(column.num_chunks > 1 for column in group.columns):
            group = group.combine_chunks()  # the writer cuts pages at the ends of chunks, wherever these came from
        self._encoding.append(self._pool.submit(stitched.encode, group, self._writer))
        while len(self._encoding) > (self._encoders if self._encoders > 1 else 0):
            self._append(self._encoding.popleft().result())
        rest = table.slice(count)
        self._pending, self._pending_rows = ([rest], rest.num_rows) if rest.num_rows else ([], 0)

    def _append(self, group: stitched.Encoded) -> None:
        self._groups.append(stitched.moved(group.entry, self._bytes.bytes - len(stitched.MAGIC), len(self._groups)))
        self._bytes.write(group.body)

    def _finish(self) -> None:
        if self._pending_rows:
            self._flush(self._pending_rows)
        while self._encoding:
            self._append(self._encoding.popleft().result())
        self._bytes.write(stitched.footer(self._writer, self._groups))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException as e:
                self._stack.__exit__(type(e), e, e.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)
        self.digest = self._logical.hexdigest()
        self.file = Written(self.path, self._bytes.bytes, self._bytes.sha256)


def write_table(
    path: Path | str, schema: pa.Schema, batches: Iterable[Sequence[dict[str, Any]] | pa.Table]
) -> ParquetSink:
    """Write all `batches` to `path` and return the closed sink (its `rows` and `digest`)."""
    with ParquetSink(path, schema) as sink:
        for batch in batches:
            sink.write(batch)
    return sink


def read_rows(
    path: Path | str,
    columns: Sequence[str] | None = None,
    *,
    batch_rows: int = 1000,
    row_groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file (or of some of its row groups) in order, in batches, with text validated as UTF-8.

    Memory is one row group.

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
            for batch in file.iter_batches(
                batch_size=batch_rows,
                row_groups=None if row_groups is None else list(row_groups),
                columns=None if columns is None else list(columns),
            ):
                batch.validate(full=True)
                yield batch
    except pa.ArrowInvalid as e:
        raise ValueError(f"{path}: not a readable parquet file ({e}); delete it and run the same command again") from e
