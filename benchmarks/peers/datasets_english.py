"""What one writes to take n English rows of OpenO1: datasets filter, shuffle, select, a parquet file; our language filter.

Command: python benchmarks/peers/datasets_english.py clean.jsonl out.parquet 20000 cache
"""

import sys

from datasets import disable_progress_bars, load_dataset
from standardize import tagged

from showwork.records.language import foreign

path, target, n, cache = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
disable_progress_bars()


def keep(row):
    found = tagged(row["output"] or "", "Thought", "Output")
    return found is not None and foreign(row["instruction"] or "", *found) is None


rows = load_dataset("json", data_files=path, split="train", cache_dir=cache).filter(keep)
rows.shuffle(seed=42).select(range(n)).to_parquet(target)
