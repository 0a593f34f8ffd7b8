from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.foundation.files import sha256_file
from showwork.tokens import spool as spool_module
from showwork.tokens.packing import DTYPES, best_fit_decreasing
from showwork.tokens.spool import spooled, write_rows

LENGTH = 16


def example(number: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids that no other example has."""
    return np.arange(length, dtype=np.int32) + 1000 * (number + 1), (np.arange(length) >= length // 2).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, LENGTH), min_size=1, max_size=40), rows_at_once=st.integers(1, 5))
def test_rows_hold_every_example_once_and_apart_whatever_the_blocks(tmp_path_factory, sizes, rows_at_once):
    folder = tmp_path_factory.mktemp("rows")
    examples = [example(i, n) for i, n in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch, spooled(folder) as spool:
        patch.setattr(spool_module, "BLOCK_TOKENS", rows_at_once * LENGTH)
        for ids, trained in examples:
            spool.append(ids, trained)
        spool.flush()
        assert list(spool.lengths) == sizes
        rows = best_fit_decreasing(spool.lengths, LENGTH)
        written = write_rows(rows, spool, LENGTH, {name: folder / f"{name}.npy" for name in DTYPES})
    assert sorted(f.name for f in folder.iterdir()) == sorted(f"{name}.npy" for name in DTYPES)
    arrays = {name: np.load(folder / f"{name}.npy") for name in DTYPES}
    for name, kind in DTYPES.items():
        assert (arrays[name].dtype, arrays[name].shape) == (kind, (len(rows), LENGTH))
        assert written[name].sha256 == sha256_file(folder / f"{name}.npy")
        assert written[name].bytes == (folder / f"{name}.npy").stat().st_size
    found = {}
    for row in range(len(rows)):
        for segment in range(1, arrays["segment_ids"][row].max() + 1):
            inside = arrays["segment_ids"][row] == segment
            ids = arrays["tokens"][row][inside]
            assert arrays["positions"][row][inside].tolist() == list(range(len(ids)))
            found[ids[0] // 1000 - 1] = (ids.tolist(), arrays["loss_mask"][row][inside].tolist())
    assert found == {i: (ids.tolist(), trained.tolist()) for i, (ids, trained) in enumerate(examples)}
    padding = arrays["segment_ids"] == 0
    assert not any(arrays[name][padding].any() for name in DTYPES)


def test_rows_are_written_together_or_not_at_all(tmp_path):
    examples = [example(0, 4)]
    paths = {name: tmp_path / f"{name}.npy" for name in DTYPES}
    with pytest.raises(IndexError):
        write_rows([[0], [1]], examples, LENGTH, paths)
    assert list(tmp_path.iterdir()) == []
