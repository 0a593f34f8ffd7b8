"""The floor under a stage: read a parquet file and write it again, batch by batch, with the same compression.

Command: python benchmarks/peers/floor.py out.parquet a.parquet b.parquet …
"""

import sys

import pyarrow.parquet as pq

target, paths = sys.argv[1], sys.argv[2:]
schema = pq.read_schema(paths[0])
with pq.ParquetWriter(target, schema, compression="zstd", compression_level=1, use_dictionary=False) as out:
    for path in paths:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(2000):
            out.write_batch(batch.cast(schema), row_group_size=2000)
