"""Questions to parquet and JSON-lines files by SQL, cut off from every other file and from the network.

Takes:  the files that may be read, named when the connection is made; nothing else can be opened through it.
Leaves: rows as dicts, or columns as arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    import numpy as np

ROW = "file_row_number"
"""The column that numbers the rows of a file from 0."""


class Tables:
    """`Tables(files).rows("SELECT … FROM $rows", rows=path)`."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = [str(Path(file).resolve()) for file in files]
        self._duckdb = duckdb.connect(
            ":memory:",
            config={"autoinstall_known_extensions": False, "autoload_known_extensions": False},
        )
        self._duckdb.execute(f"SET allowed_paths=[{', '.join(map(text, self._files))}]")
        self._duckdb.execute("SET enable_external_access=false")
        self._duckdb.execute("SET lock_configuration=true")

    def rows(self, sql: str, given: Sequence[Any] = (), **files: Path) -> list[dict[str, Any]]:
        """What a query gives. `$name` in it stands for the file of that name, whose rows are numbered by `file_row_number`.

        Raises: ValueError when a file cannot be read, or the query is none.
        """
        found = self._run(sql, given, files)
        names = [column[0] for column in found.description]
        return [dict(zip(names, values, strict=True)) for values in found.fetchall()]

    def columns(self, sql: str, given: Sequence[Any] = (), **files: Path) -> dict[str, np.ndarray]:
        """The same as one array for each column; null is masked."""
        return self._run(sql, given, files).fetchnumpy()

    def types(self, file: Path) -> dict[str, str]:
        """{column: type} of a file, in its order."""
        return {row["column_name"]: row["column_type"] for row in self.rows("DESCRIBE SELECT * FROM $it", it=file)
                if row["column_name"] != ROW}  # fmt: skip

    def _run(self, sql: str, given: Sequence[Any], files: Mapping[str, Path]) -> duckdb.DuckDBPyConnection:
        for name, file in files.items():
            sql = sql.replace(f"${name}", _table(file))
        try:
            return self._duckdb.execute(sql, list(given))
        except duckdb.Error as e:
            raise Unanswered(" ".join(str(e).split("LINE 1")[0].split()), files.values()) from e

    def matching(self, file: Path, condition: str) -> np.ndarray:
        """int64[n]: the numbers of a file's rows for which a user's condition is true, in order.

        Raises: ValueError for anything that is not one condition over the file's columns.
        """
        statement = f"SELECT {ROW} FROM {_table(file)} WHERE ({condition}) ORDER BY {ROW}"
        try:
            parsed = self._duckdb.extract_statements(statement)
            if len(parsed) != 1:
                raise ValueError(f"--where {condition!r}: more than one statement; write one condition")
            return self._duckdb.execute(parsed[0]).fetchnumpy()[ROW]
        except duckdb.Error as e:
            said = " ".join(str(e).split("LINE 1")[0].split())
            raise ValueError(
                f"--where {condition!r}: duckdb says: {said}; the columns are {', '.join(self.types(file))}, and {ROW}"
            ) from e


class Unanswered(ValueError):
    """duckdb could not answer; most likely a file is damaged."""

    def __init__(self, said: str, files: Iterable[Path]) -> None:
        super().__init__(
            f"{', '.join(map(str, files))}: cannot be read ({said}); if the file is damaged delete it and run the command "
            "that built it again"
        )


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def listed(values: Iterable[int | str]) -> str:
    """`(1, 2)` or `('a', 'b')`: literals, so that duckdb can skip what lies outside their range."""
    return "(" + ", ".join(str(v) if isinstance(v, int) else text(v) for v in values) + ")"


def _table(file: Path) -> str:
    path = text(str(Path(file).resolve()))
    if file.suffix == ".jsonl":
        return f"(SELECT row_number() OVER () - 1 AS {ROW}, * FROM read_json({path}, format='newline_delimited'))"
    return f"read_parquet({path}, {ROW}=true)"
