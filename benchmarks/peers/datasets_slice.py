"""What one writes to take rows a..b of a large sharded set: datasets in streaming mode, skip, take, a parquet
file (snappy: to_parquet takes no other compression; ours is zstd, two thirds of the bytes).

Command: python benchmarks/peers/datasets_slice.py folder out.parquet 30000 100000 (rows skipped, rows taken)
"""

import sys

from datasets import Dataset, disable_progress_bars, load_dataset

folder, target, skip, take = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
disable_progress_bars()
stream = load_dataset("parquet", data_files=f"{folder}/*.parquet", split="train", streaming=True)
rows = Dataset.from_list(list(stream.skip(skip).take(take)))
rows.to_parquet(target)
