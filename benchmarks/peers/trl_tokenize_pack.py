"""What one writes to tokenize and pack with datasets and TRL: map in processes, prompt and completion apart, pack_dataset.

Command: python benchmarks/peers/trl_tokenize_pack.py train.parquet tokenizer.json system_prompt packed.arrow cache length processes took.jsonl
"""

import json
import sys
from pathlib import Path

from datasets import disable_progress_bars, load_dataset
from transformers import PreTrainedTokenizerFast
from trl.data_utils import pack_dataset

train, tokenizer_file, system, target, cache, length, processes, took = sys.argv[1:]
disable_progress_bars()
tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizer_file)


def tokenize(rows):
    prompts = [
        f"<bos><start_of_turn>user\n{system}\n\n{q}<end_of_turn>\n<start_of_turn>model\n" for q in rows["question"]
    ]
    completions = [
        f"<reasoning>{t}</reasoning>\n<answer>{a}</answer><end_of_turn>"
        for t, a in zip(rows["trace"], rows["answer"], strict=True)
    ]
    asked = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    said = tokenizer(completions, add_special_tokens=False)["input_ids"]
    return {
        "input_ids": [a + b for a, b in zip(asked, said, strict=True)],
        "labels": [[-100] * len(a) + b for a, b in zip(asked, said, strict=True)],
    }


rows = load_dataset("parquet", data_files=train, split="train", cache_dir=cache)
tokens = rows.map(tokenize, batched=True, remove_columns=rows.column_names, num_proc=int(processes))
packed = pack_dataset(tokens, int(length), strategy="bfd", map_kwargs={"cache_file_name": target})
held = sum(sum(lengths) for lengths in packed["seq_lengths"])
with Path(took).open("a") as file:
    about = {"packer": "datasets + trl", "rows": len(packed), "density": held / (len(packed) * int(length))}
    file.write(json.dumps({**about, "tokens": held}) + "\n")
