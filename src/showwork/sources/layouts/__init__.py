"""One reader per layout: blobs in, rows out, in file order, in bounded memory, each bad row typed and kept.

    source = open_source("jsonl", [Path("a.jsonl")], columns=["instruction", "output"], name="openo1")

Layouts: ``csv`` (one or more parts), ``jsonl``, ``json_object`` (one object of objects), ``parquet`` and ``datasets`` (parquet
shards that the download stage made through the datasets library).

*Columns*: names to keep; ``None`` keeps all (a CSV's stray index column apart). A name that is not there is an error that
lists the names found. A row is ``dict[str, str | None]`` with exactly ``source.columns`` as its keys, in that order. A key
that is absent or null is ``None``. A value that is no text (number, list, object) is its one-line JSON with sorted keys.

*Bad rows*: ``Bad(reason, detail, raw)``; reasons: bad_utf8, lone_surrogate, bad_json, duplicate_key, not_an_object,
bad_csv, wrong_width, unknown_column. Nothing is repaired and nothing is skipped: a bad row keeps its place in the count.

What a source offers (every ``source_row`` is the 0-based index over the files in the order given; ``first_row`` is that of
the first file's first row, not 0 when a download left out the shards before a slice):

``source.columns``            tuple of names
``source.num_rows``           int, or None until one whole pass has been made (parquet knows it at once)
``source.estimated_rows()``   int within a few per cent, from a few looks into the files; None when the layout cannot tell
``source.glance()``           yields a few rows from each of a few places spread evenly over the files; nothing when the
                              layout has no such looks
``source.rows()``             yields ``(source_row, dict | Bad)``, all rows
``source.slice(start, stop)`` the same for rows start..stop, 1-based and inclusive; parquet reads only their row groups;
                              ValueError with the count if the source ends before ``stop``
``source.batches(start=None, stop=None)``
                              yields ``Batch(first_row, table, source_rows, digests, bad)``: ``table`` is a
                              pa.RecordBatch of the good rows (every column large_string, validated),
                              ``source_rows`` their indexes, ``digests`` their 16-byte row digests,
                              ``bad`` a list of ``(source_row, Bad)``. The fast way to write whole slices
``source.candidates(seed, below)``
                              the sampling fast path: yields ``Candidate(key, source_row, row)`` in file order for every
                              row whose 64-bit ``key`` is ``< below()``. ``below`` is asked again before each block of rows:
                              a bottom-n sampler lowers it as its heap fills. Rows above it are never decoded

``source.check()``            after reading: ValueError when a file is not the one its manifest entry describes

*Identity.* ``key`` mixes the seed with a 64-bit hash of the row's own content, so it does not depend on the file's name, its
place, the sharding, the thread or on n (samples nest). Equal rows have equal keys and are drawn together: only so is the
selected set order-independent and mergeable in memory bounded by the sample. For ``jsonl`` and ``json_object`` the content is the
row's JSON bytes (the key of the one big object is no part of it); for ``csv`` and ``parquet`` it is the columns.
``row_id`` comes from ``sources.identity.RowIds``: ``RowIds().of(row)`` -> 32 hex, over the columns' digest and
the occurrence number among equal rows seen by that RowIds; ``RowIds().of_digest(digest)`` for the digests of a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from showwork.sources.digests import check_size
from showwork.sources.layouts.csv_parts import CsvSource
from showwork.sources.layouts.json_object import JsonObjectSource
from showwork.sources.layouts.jsonl import JsonLinesSource
from showwork.sources.layouts.parquet import ParquetSource
from showwork.sources.layouts.rows import Bad, Batch, Candidate, Row, Source

__all__ = ["LAYOUTS", "Bad", "Batch", "Candidate", "Row", "Source", "open_source"]

LAYOUTS: dict[str, Callable[..., Source]] = {
    "csv": CsvSource,
    "jsonl": JsonLinesSource,
    "json_object": JsonObjectSource,
    "parquet": ParquetSource,
    "datasets": ParquetSource,
}


def open_source(
    layout: str,
    files: Sequence[Path],
    columns: Sequence[str] | None = None,
    *,
    name: str = "source",
    first_row: int = 0,
    entries: Sequence[Mapping[str, Any]] | None = None,
) -> Source:
    """The reader of `files` in `layout`.

    `name` is the source's, for the sentences; `entries` are what the manifest of the download says of each file, for
    `check`.

    Raises: FileNotFoundError for a file that is not there; ValueError for an unknown layout, files of another layout, an
    empty or cut-off file, a file of another size than its entry's, a column that is not there (the sentence lists those
    found).
    """
    if layout not in LAYOUTS:
        raise ValueError(f"source {name!r}: layout {layout!r} is unknown; known are {', '.join(LAYOUTS)}")
    if not files:
        raise ValueError(f"source {name!r}: no files are given; name at least one in the source's files")
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"source {name!r}: {file} is gone; delete the manifest of its download and run the same command again"
            )
    for file, entry in itertools.zip_longest(files, entries or ()):
        with file.open("rb") as f:
            start = f.read(4)
        if entry:
            check_size(file, entry)
        if not start:
            raise ValueError(f"source {name!r}: {file.name} is empty (0 bytes); fetch or replace it")
        held = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), layout)
        if held != layout and not (held == "parquet" and layout == "datasets"):
            raise ValueError(
                f"source {name!r}: {file.name} holds {held}, but its layout is {layout}; correct the layout or convert the file"
            )
    source = LAYOUTS[layout](name, files, columns)
    source.first_row = first_row
    source.entries = entries
    return source


_MAGIC = {
    b"PAR1": "parquet", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\xfd7zX": "xz", b"(\xb5/\xfd": "zstd",
    b"\xff\xfe": "UTF-16 text", b"\xfe\xff": "UTF-16 text",
}  # fmt: skip
