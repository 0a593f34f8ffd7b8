"""Shuffles tables of any size: rows are dealt into buckets by their key, then each bucket is sorted.

Takes:  batches of rows with a 64-bit key each, a hash of seed and id.
Leaves: the same rows in the order of their keys, in memory bounded by one bucket. Buckets are files in a folder that is removed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from showwork.foundation.files import named, scratch

BUCKET_BYTES = 32 << 20


class Shuffle:
    """`with Shuffle(folder, schema, expected_bytes) as s: s.add(batch, rows, keys) …; for table in s.tables(): …`

    Raises: OSError with the folder's name when its disk is full.
    """

    def __init__(self, folder: Path, schema: pa.Schema, expected_bytes: int) -> None:
        self._bits = max(0, (max(1, expected_bytes) // BUCKET_BYTES).bit_length())
        self._schema = schema.append(pa.field("order_key", pa.uint64()))
        self._parent = folder
        self.rows = 0
        self._stack = contextlib.ExitStack()
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> Shuffle:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._folder = self._stack.enter_context(scratch(self._parent, "shuffle"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            for writer in self._writers.values() if kind is None else ():  # a full disk refuses the end marks, too
                writer.close()

    def add(self, batch: pa.RecordBatch, rows: np.ndarray, keys: np.ndarray) -> None:
        """Deal the rows of a batch that stand at `rows` (int64[n]); `keys` is uint64[n]."""
        self.rows += len(rows)
        buckets = (keys >> np.uint64(64 - self._bits)).astype(np.int64) if self._bits else np.zeros(len(rows), np.int64)
        order = np.argsort(buckets, kind="stable")
        dealt = batch.take(pa.array(rows[order]))
        keyed = pa.RecordBatch.from_arrays([*dealt.columns, pa.array(keys[order], pa.uint64())], schema=self._schema)
        edges = np.searchsorted(buckets[order], np.arange((1 << self._bits) + 1))
        for bucket, (start, stop) in enumerate(itertools.pairwise(edges.tolist())):
            if stop > start:
                with named(self._parent):
                    self._writer(bucket).write_batch(keyed.slice(start, stop - start))

    def tables(self) -> Iterator[pa.Table]:
        """All rows in the order of their keys, a bucket at a time; rows of equal key in the order in which they came."""
        with named(self._parent):
            for writer in self._writers.values():
                writer.close()
        for bucket in sorted(self._writers):
            with pa.memory_map(str(self._path(bucket))) as f:
                table = pa.ipc.open_stream(f).read_all()
                order = np.argsort(table.column("order_key").to_numpy(), kind="stable")
                # Taking from one chunk is several times as fast as from many.
                table = table.drop_columns(["order_key"]).combine_chunks().take(pa.array(order))
            yield table
            self._path(bucket).unlink()

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}.arrow"

    def _writer(self, bucket: int) -> pa.ipc.RecordBatchStreamWriter:
        if bucket not in self._writers:
            sink = self._stack.enter_context(pa.OSFile(str(self._path(bucket)), "wb"))
            self._writers[bucket] = pa.ipc.new_stream(sink, self._schema)
        return self._writers[bucket]
