"""Shuffles tables of any size: texts are dealt into buckets by their row's key, then each bucket is sorted.

Takes:  batches of rows with a 64-bit key each, a hash of seed and id.
Leaves: the same rows in the order of their keys. Memory is one bucket of texts, and the other columns of all rows: about 150
        bytes a record. Buckets are files in a folder that is removed.

A text is copied twice: from where it was read into its bucket, and from there to its place.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from showwork.foundation.files import named, scratch
from showwork.foundation.tables import text_views

BUCKET_BYTES = 32 << 20


class Shuffle:
    """`with Shuffle(folder, schema, expected_bytes) as s: s.add(batch, rows, keys) …; for table in s.tables(): …`

    Raises: OSError with the folder's name when its disk is full; ValueError when a text is null.
    """

    def __init__(self, folder: Path, schema: pa.Schema, expected_bytes: int) -> None:
        self._bits = max(0, (max(1, expected_bytes) // BUCKET_BYTES).bit_length())
        self._schema = schema
        self._texts = [field.name for field in schema if pa.types.is_large_string(field.type)]
        self._others = pa.schema([field for field in schema if field.name not in self._texts])
        self._parent = folder
        self.rows = 0
        self._stack = contextlib.ExitStack()
        self._files: dict[int, BinaryIO] = {}
        self._dealt: list[pa.RecordBatch] = []
        self._keys: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        """int64[n, texts] each: bytes of the texts of a row, which lie one after the other in its bucket."""

    def __enter__(self) -> Shuffle:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._folder = self._stack.enter_context(scratch(self._parent, "shuffle"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # a full disk refuses the rest; whoever wrote has been told
                    file.close()

    def add(self, batch: pa.RecordBatch, rows: np.ndarray, keys: np.ndarray) -> None:
        """Deal the rows of a batch that stand at `rows` (int64[n]); `keys` is uint64[n]."""
        self.rows += len(rows)
        buckets = self._buckets(keys)
        order = np.argsort(buckets, kind="stable")
        taken = rows[order]
        columns = [batch.column(field.name).take(pa.array(taken)).cast(field.type) for field in self._others]
        self._dealt.append(pa.RecordBatch.from_arrays(columns, schema=self._others))
        self._keys.append(keys[order])
        edges = np.searchsorted(buckets[order], np.arange((1 << self._bits) + 1)).tolist()
        found = [text_views(batch.column(name)) for name in self._texts]
        texts = [views[row] for row in taken.tolist() for views in found]
        self._lengths.append(np.fromiter(map(len, texts), np.int64, len(texts)).reshape(len(rows), len(self._texts)))
        for bucket, (start, stop) in enumerate(itertools.pairwise(edge * len(self._texts) for edge in edges)):
            if stop > start:
                with named(self._parent):
                    self._file(bucket).write(b"".join(texts[start:stop]))

    def tables(self) -> Iterator[pa.Table]:
        """All rows in the order of their keys, a bucket at a time; rows of equal key in the order in which they came."""
        with named(self._parent):
            for file in self._files.values():
                file.close()
        if not self.rows:
            return
        others = pa.Table.from_batches(self._dealt).combine_chunks()
        keys, lengths = np.concatenate(self._keys), np.concatenate(self._lengths)
        self._dealt, self._keys, self._lengths = [], [], []
        buckets = self._buckets(keys)
        arrived = np.argsort(buckets, kind="stable")
        edges = np.searchsorted(buckets[arrived], np.arange((1 << self._bits) + 1)).tolist()
        for bucket, (start, stop) in enumerate(itertools.pairwise(edges)):
            if stop > start:
                here = arrived[start:stop]
                order = np.argsort(keys[here], kind="stable")
                texts = self._sorted(bucket, lengths[here], order)
                rest = others.take(pa.array(here[order]))
                columns = [texts[f.name] if f.name in texts else rest.column(f.name) for f in self._schema]
                yield pa.table(columns, schema=self._schema)
                self._path(bucket).unlink()

    def _sorted(self, bucket: int, lengths: np.ndarray, order: np.ndarray) -> dict[str, pa.Array]:
        """The texts of a bucket, column by column, in an order; `lengths` is int64[n, texts] as they lie there."""
        ends = np.cumsum(lengths.reshape(-1)).reshape(lengths.shape)
        found = {}
        with pa.memory_map(str(self._path(bucket))) as file:
            data = memoryview(file.read_buffer()) if lengths.any() else memoryview(b"")
            for at, name in enumerate(self._texts):
                sizes, stops = lengths[order, at], ends[order, at]
                whole = b"".join([data[a:b] for a, b in zip((stops - sizes).tolist(), stops.tolist(), strict=True)])
                offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
                found[name] = pa.LargeStringArray.from_buffers(len(order), pa.py_buffer(offsets), pa.py_buffer(whole))
        return found

    def _buckets(self, keys: np.ndarray) -> np.ndarray:
        if not self._bits:
            return np.zeros(len(keys), np.int64)
        return (keys >> np.uint64(64 - self._bits)).astype(np.int64)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}.texts"

    def _file(self, bucket: int) -> BinaryIO:
        if bucket not in self._files:
            self._files[bucket] = self._path(bucket).open("wb")
        return self._files[bucket]
