"""CSV in one or more parts, each with its own header; cells may hold newlines and any length of text.

Takes:  CSV files as RFC 4180 writes them, in UTF-8 with or without a byte order mark, LF or CRLF.
Leaves: rows; text stays text ("NA" is no null), an empty cell is "". A stray index column (empty name or pandas'
        ``Unnamed: 0``) is left out unless asked for. Blank lines between rows are no rows.

Reading is strict: a broken quote costs its line (bad_csv) and reading goes on at the next; rows of another width are
wrong_width. A quote that is never closed would swallow the rest, so it is an error.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from showwork.sources.layouts.rows import Columns, Row, Source, bad, missing_column

FIELD_LIMIT = 2**31 - 1
_STRAY = re.compile(r"\s*|Unnamed: \d+")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class CsvSource(Source):
    """Final. The parts are read in the order given."""

    def __init__(self, name: str, files: Sequence[Path], columns: Sequence[str] | None) -> None:
        super().__init__(name, files)
        headers = [self._header(f) for f in files]
        own = [h for h in headers[0] if not _STRAY.fullmatch(h)]
        self.columns = tuple(columns if columns is not None else own)
        for file, header in zip(files, headers, strict=True):
            missing_column(name, self.columns, header, file.name)
            twice = [c for c in self.columns if header.count(c) > 1]
            if twice:
                raise ValueError(
                    f"source {name!r}: {file.name} has column {twice[0]!r} twice; columns must have one name each"
                )
            extra = [h for h in header if columns is None and h not in self.columns and not _STRAY.fullmatch(h)]
            if extra:
                raise ValueError(
                    f"source {name!r}: {file.name} has a column {extra[0]!r} that {files[0].name} lacks; "
                    f"name the columns to take"
                )

    def _header(self, file: Path) -> list[str]:
        with _open(file) as f:
            try:
                header = next((line for line in csv.reader(f, strict=True) if line), [])
            except csv.Error as e:
                raise ValueError(
                    f"source {self.name!r}: {file.name} is no CSV: {e} in its first line; check its layout"
                ) from e
        if not header:
            raise ValueError(
                f"source {self.name!r}: {file.name} is empty, not even a CSV header; check the source's files"
            )
        for column in header:
            if found := _ESCAPED_BYTE.search(column):
                raise ValueError(
                    f"source {self.name!r}: {file.name} has byte 0x{ord(found.group()) - 0xDC00:02x} in its header, which is no "
                    f"UTF-8; convert the file to UTF-8"
                )
        return header

    def _read(self) -> Iterator[Row]:
        for file in self.files:
            yield from self._read_part(file)

    def _read_part(self, file: Path) -> Iterator[Row]:
        with _open(file) as f, _Lines(file) as again:
            reader = csv.reader(f, strict=True)
            header = next(line for line in reader if line)
            places = [header.index(c) for c in self.columns]
            while True:
                begun = reader.line_num
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as e:
                    if "unexpected end of data" in str(e):
                        raise ValueError(
                            f"source {self.name!r}: {file.name} ends inside the quoted cell of the row at line {begun + 1:,}: "
                            f"it is cut off or a quote is missing; replace the file"
                        ) from e
                    yield bad("bad_csv", f"line {reader.line_num}: {e}", again.between(begun, reader.line_num))
                    continue
                if not cells:
                    continue
                if len(cells) != len(header):
                    what = f"{len(cells)} cells, header has {len(header)}"
                    yield bad("wrong_width", what, again.between(begun, reader.line_num))
                    continue
                row: Columns = {c: cells[i] for c, i in zip(self.columns, places, strict=True)}
                if wrong := _bad_utf8(row):
                    yield bad("bad_utf8", wrong, again.between(begun, reader.line_num))
                else:
                    yield row


def _bad_utf8(row: Columns) -> str | None:
    for column, cell in row.items():
        if cell and not cell.isascii() and (found := _ESCAPED_BYTE.search(cell)):
            return f"byte 0x{ord(found.group()) - 0xDC00:02x} in {column!r} at {found.start()}"
    return None


class _Lines:
    """The lines of a file once more, for the few rows that are to be shown as they stand: opened when the first is asked for.

    Keeping the lines of every row while it is parsed took as long as parsing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: TextIO | None = None
        self._at = 0

    def between(self, begun: int, ended: int) -> bytes:
        """The bytes of lines begun..ended-1, counted from 0; asked for in rising order."""
        if self._lines is None:
            self._lines = _open(self._file)
        lines = list(itertools.islice(self._lines, begun - self._at, ended - self._at))
        self._at = ended
        return _bytes("".join(lines))

    def __enter__(self) -> _Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _open(file: Path) -> TextIO:
    csv.field_size_limit(FIELD_LIMIT)
    return file.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
