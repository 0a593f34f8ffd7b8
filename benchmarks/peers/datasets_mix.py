"""What one writes to join samples: datasets concatenate, filter out repeats and held-out questions, shuffle, a parquet file.

Command: python benchmarks/peers/datasets_mix.py out.parquet cache share a.parquet b.parquet …
"""

import sys

from datasets import concatenate_datasets, disable_progress_bars, load_dataset

from showwork.records.split import is_held_out

target, cache, share, paths = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]
disable_progress_bars()
seen: set[tuple[str, str]] = set()


def new(q, a):
    key = (q, a)
    if key in seen or is_held_out(q, share):
        return False
    seen.add(key)
    return True


parts = [load_dataset("parquet", data_files=p, split="train", cache_dir=cache) for p in paths]
concatenate_datasets(parts).filter(new, input_columns=["question_id", "answer"]).shuffle(seed=42).to_parquet(target)
