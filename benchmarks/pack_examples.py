"""Ours in the race of packers: best fit of whole examples, rows shuffled, the four files of the pack stage written and hashed.

Command: python benchmarks/pack_examples.py examples.arrow folder length took.jsonl
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from showwork.tokens.packing import DTYPES, best_fit_decreasing, shuffle_bins
from showwork.tokens.spool import write_rows


class ArrowExamples:
    """The examples of an Arrow file, where they lie."""

    def __init__(self, file: str) -> None:
        table = pa.ipc.open_stream(pa.memory_map(file)).read_all()
        self._batches = [
            (
                batch["input_ids"].values.to_numpy(),
                batch["labels"].values.to_numpy() >= 0,
                batch["input_ids"].offsets.to_numpy(),
            )
            for batch in table.to_batches()
        ]
        self._places = [(b, i) for b, (_, _, ends) in enumerate(self._batches) for i in range(len(ends) - 1)]

    def lengths(self) -> Sequence[int]:
        """Tokens of each example."""
        return np.concatenate([np.diff(ends) for _, _, ends in self._batches]).tolist()

    def __getitem__(self, example: int) -> tuple[np.ndarray, np.ndarray]:
        batch, i = self._places[example]
        ids, trained, ends = self._batches[batch]
        mine = slice(ends[i], ends[i + 1])
        return ids[mine], trained[mine]


source, folder, length, took = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
begin, used = time.perf_counter(), time.process_time()
examples = ArrowExamples(source)
lengths = examples.lengths()
found = time.perf_counter()
bins = best_fit_decreasing(lengths, length)
rows = shuffle_bins(bins, 42)
placed = time.perf_counter()
write_rows(rows, examples, length, {name: folder / f"{name}.npy" for name in DTYPES})
end = time.perf_counter()
density = sum(lengths) / (len(rows) * length)
with took.open("a") as file:
    seconds = {"pack_s": end - begin, "pack_cpu_s": time.process_time() - used, "bins_s": placed - found}
    file.write(json.dumps({"packer": "showwork", "rows": len(rows), "density": density, **seconds}) + "\n")
