"""Parquet shards, by row group: a slice reads the footers and the row groups it overlaps, nothing else.

Takes:  parquet files in the order their rows count.
Leaves: rows and batches; text that is not UTF-8 (which pyarrow reads and rewrites without a word) is a bad row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from showwork.foundation.overlap import ahead
from showwork.sources.identity import row_digests
from showwork.sources.layouts.rows import BATCH_ROWS, Batch, Row, Source, as_text, bad, missing_column
from showwork.sources.row_groups import RowGroupFile

PAGE_BUFFER_BYTES = 1 << 20
TABLE_BYTES = 4 << 20
"""Rows are handed on in tables of about this size: smaller ones make the threads wait for each other, larger ones fill memory."""

BOMB_BYTES, BOMB_TIMES = 256 << 20, 1_000
"""A column of a row group that unpacks to more bytes than these, and to more than so many times its own: no text does."""


class ParquetSource(Source):
    """Final. `num_rows` is known from the footers at once."""

    def __init__(self, name: str, files: Sequence[Path], columns: Sequence[str] | None) -> None:
        super().__init__(name, files)
        self._footers = [self._footer(f) for f in files]
        names = self._footers[0].schema.to_arrow_schema().names
        self.columns = tuple(names if columns is None else columns)
        for file, footer in zip(files, self._footers, strict=True):
            missing_column(name, self.columns, footer.schema.to_arrow_schema().names, file.name)
        self._ended(sum(footer.num_rows for footer in self._footers))

    def _footer(self, file: Path) -> pq.FileMetaData:
        try:
            return pq.read_metadata(file)
        except (pa.ArrowInvalid, OSError) as e:
            if isinstance(e, OSError) and e.errno is not None:
                raise  # of the file system and not of the file's content
            raise ValueError(
                f"source {self.name!r}: {file.name} is no whole parquet file ({_first(e)}); it is cut off or of another "
                f"layout, fetch or replace it"
            ) from e

    def _read(self) -> Iterator[Row]:
        for _, batch in self._tables(0, self._last() - self.first_row):
            yield from self._rows_of(batch)

    def slice(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Rows start..stop, 1-based and inclusive, from their row groups alone."""
        for first, batch in self._bounded(start, stop):
            yield from enumerate(self._rows_of(batch), first)

    def batches(self, start: int | None = None, stop: int | None = None) -> Iterator[Batch]:
        """Rows start..stop as tables, read in a second thread; whole text columns never become Python strings."""
        start, stop = self.first_row + 1 if start is None else start, self._last() if stop is None else stop
        for first, batch in ahead(self._bounded(start, stop), depth=1):
            yield self._made(first, batch)

    def _made(self, first: int, batch: pa.RecordBatch) -> Batch:
        table = self._validated(batch)
        if table is None:
            return self._batch(list(enumerate(self._rows_of(batch), first)))
        return Batch(first, table, range(first, first + len(table)), row_digests(table), [])

    def _bounded(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        begin, end = self._span(start, stop)
        if stop > self._last():
            self._too_short(stop)
        return ((self.first_row + at, batch) for at, batch in self._tables(begin, end))

    def _tables(self, begin: int, end: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row, batch) for the rows begin..end-1, reading only the row groups that hold them."""
        first = 0
        for file, footer in zip(self.files, self._footers, strict=True):
            if first < end and first + footer.num_rows > begin:
                try:
                    yield from self._tables_of(file, footer, first, begin, end)
                except (pa.ArrowInvalid, OSError) as e:
                    raise ValueError(
                        f"source {self.name!r}: {file.name} cannot be read ({_first(e)}); fetch or replace it"
                    ) from e
            first += footer.num_rows

    def _tables_of(
        self, file: Path, footer: pq.FileMetaData, first: int, begin: int, end: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        # A buffered column reader holds a page at a time; pre_buffer would hold whole row groups.
        shown = RowGroupFile(file, self._row_groups(file))
        with shown, pq.ParquetFile(shown, metadata=footer, pre_buffer=False, buffer_size=PAGE_BUFFER_BYTES) as opened:
            for group in range(footer.num_row_groups):
                held = footer.row_group(group)
                rows = held.num_rows
                if first < end and first + rows > begin:
                    self._no_bomb(file, held, group)
                    at = first
                    shown.load(footer, group)
                    tables = max(1, round(held.total_byte_size / TABLE_BYTES))
                    table_rows = max(1, min(BATCH_ROWS, -(-rows // tables)))
                    for batch in opened.iter_batches(
                        table_rows, row_groups=[group], columns=list(self.columns), use_threads=False
                    ):
                        low, high = max(begin - at, 0), min(end - at, len(batch))
                        if low < high:
                            yield at + low, batch.slice(low, high - low).select(list(self.columns))
                        at += len(batch)
                        if at >= end:
                            break
                first += rows

    def _no_bomb(self, file: Path, held: pq.RowGroupMetaData, group: int) -> None:
        # Arrow ends the process over some damaged entries of columns, so that they are not asked in vain.
        if held.total_byte_size <= BOMB_BYTES:
            return
        for column in map(held.column, range(held.num_columns)):
            packed, whole = column.total_compressed_size, column.total_uncompressed_size
            if column.path_in_schema.split(".")[0] in self.columns and whole > max(BOMB_BYTES, BOMB_TIMES * packed):
                raise ValueError(
                    f"source {self.name!r}: {file.name} holds {packed:,} bytes in row group {group}, column "
                    f"{column.path_in_schema!r}, that unpack to {whole:,}; no text is packed so small, and memory would be "
                    f"filled with it: replace the file, or leave the column out"
                )

    def _row_groups(self, file: Path) -> list[str] | None:
        entries = self.entries or [{}] * len(self.files)
        return entries[self.files.index(file)].get("row_groups")

    def _checked(self, file: Path) -> bool:
        return self._row_groups(file) is not None

    def _validated(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """The batch as large_string columns, or None when it holds other types or invalid text."""
        if not all(pa.types.is_string(t) or pa.types.is_large_string(t) for t in batch.schema.types):
            return None
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid:
            return None
        return batch.cast(pa.schema([(c, pa.large_string()) for c in self.columns]))

    def _rows_of(self, batch: pa.RecordBatch) -> Iterator[Row]:
        lists = []
        for column in batch.columns:
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            lists.append(column.cast(pa.large_binary()).to_pylist() if text else column.to_pylist())
        for values in zip(*lists, strict=True):
            yield _row(dict(zip(self.columns, values, strict=True)))


def _row(values: dict[str, object]) -> Row:
    row: dict[str, str | None] = {}
    for column, value in values.items():
        try:
            row[column] = value.decode("utf-8") if isinstance(value, bytes) else as_text(value)
        except UnicodeDecodeError as e:
            shown = {k: v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for k, v in values.items()}
            detail = f"byte 0x{e.object[e.start]:02x} in {column!r} at {e.start}"
            return bad("bad_utf8", detail, as_text(shown) or "")
    return row


def _first(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")
