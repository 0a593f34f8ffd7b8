"""What one writes to draw rows from CoT-Collection: json.load of the whole file, random.sample, a parquet file.

Command: python benchmarks/peers/json_load.py CoT_collection_en.json out.parquet 10000
"""

import json
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

path, target, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, encoding="utf-8") as f:
    rows = json.load(f)
chosen = random.Random(42).sample(list(rows.values()), n)
pq.write_table(pa.Table.from_pylist(chosen), target, compression="zstd")
