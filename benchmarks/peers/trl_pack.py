"""TRL's packer on examples that have been tokenized.

Command: python benchmarks/peers/trl_pack.py examples.arrow packed.arrow length batch_size took.jsonl

SFTTrainer packs 1,000 examples at a time by default; batch_size 0 packs all of them at once.
"""

import json
import sys
import time
from pathlib import Path

from datasets import Dataset, disable_progress_bars
from trl.data_utils import pack_dataset

examples, target, length, batch_size, took = (
    sys.argv[1],
    sys.argv[2],
    int(sys.argv[3]),
    int(sys.argv[4]),
    Path(sys.argv[5]),
)
disable_progress_bars()
begin, used = time.perf_counter(), time.process_time()
dataset = Dataset.from_file(examples)
options = {"batch_size": batch_size or len(dataset), "cache_file_name": target, "load_from_cache_file": False}
packed = pack_dataset(dataset, length, strategy="bfd", map_kwargs=options)
end = time.perf_counter()
tokens = sum(sum(lengths) for lengths in packed["seq_lengths"])
name = f"trl, {batch_size:,} at a time" if batch_size else "trl, all at once"
with took.open("a") as file:
    about = {
        "packer": name,
        "rows": len(packed),
        "density": tokens / (len(packed) * length),
        "pack_s": end - begin,
        "pack_cpu_s": time.process_time() - used,
    }
    file.write(json.dumps(about) + "\n")
