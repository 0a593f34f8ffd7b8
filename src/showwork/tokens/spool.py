"""Examples on their way into packed rows: their ids wait in a file, so that memory does not grow with their number.

Takes   encoded examples, later which of them share which row.
Leaves  four .npy files of rows, written from the first row to the last and hashed on the way.
Source  123,000 examples of 430 tokens are 265 MB in the file; in memory stay 12 bytes for each example and a block of rows.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from showwork.foundation.files import HashingFile, Written, atomic, named
from showwork.tokens.packing import DTYPES, Examples, PackedArrays, pack

BLOCK_TOKENS = 1 << 18
"""Places of the rows that are filled before they are written: 3.4 MB over the four files."""


@contextlib.contextmanager
def spooled(folder: Path) -> Iterator[Spool]:
    """An empty spool whose file lies in `folder`. It has no name, so that nothing is left of it however the process ends.

    Raises: OSError with the folder's name when its disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with named(folder), tempfile.TemporaryFile(dir=folder, buffering=1 << 20) as file:
        yield Spool(file)


class Spool:
    """Examples in a file: after `spool.append(ids, trained)` and `spool.flush()`, `spool[i]` is (ids, trained) of example i."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._starts = array("q")
        self.lengths = array("i")
        self._size = 0

    def append(self, ids: np.ndarray, trained: np.ndarray) -> None:
        """Add one example: [T] int32 and [T] uint8."""
        self._file.write(ids.tobytes() + trained.tobytes())
        self._starts.append(self._size)
        self.lengths.append(len(ids))
        self._size += 5 * len(ids)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, example: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, trained) of one example."""
        length = self.lengths[example]
        data = os.pread(self._file.fileno(), 5 * length, self._starts[example])
        return np.frombuffer(data, np.int32, length), np.frombuffer(data, np.uint8, length, 4 * length)

    def flush(self) -> None:
        """Hand what is buffered to the system: examples can be read after it."""
        self._file.flush()


def write_rows(
    examples_per_row: Sequence[Sequence[int]], examples: Examples, length: int, paths: dict[str, Path]
) -> dict[str, Written]:
    """Writes the packed rows [rows, length] of the four arrays to `paths`.

    The files take their names together, and only if nothing failed.

    Args:
      examples_per_row: for each row, the numbers of its examples.
      paths: one for each name of DTYPES.
    """
    at_once = max(1, BLOCK_TOKENS // length)
    with contextlib.ExitStack() as stack:
        parts = {name: stack.enter_context(atomic(path)) for name, path in paths.items()}
        files = {name: stack.enter_context(HashingFile(part)) for name, part in parts.items()}
        for name, file in files.items():
            file.write(_header(DTYPES[name], (len(examples_per_row), length)))
        for start in range(0, len(examples_per_row), at_once):
            rows = examples_per_row[start : start + at_once]
            block = PackedArrays(**{name: np.empty((len(rows), length), kind) for name, kind in DTYPES.items()})
            pack(rows, examples, block)
            for name, file in files.items():
                file.write(memoryview(getattr(block, name)).cast("B"))
    return {name: Written(path, files[name].bytes, files[name].sha256) for name, path in paths.items()}


def _header(kind: type, shape: tuple[int, int]) -> bytes:
    """What stands before the values in a .npy file."""
    bytes_of = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(bytes_of, about)
    return bytes_of.getvalue()
