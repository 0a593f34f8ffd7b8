"""What one writes to turn tagged rows into columns: datasets map and filter in batches, a parquet file; our rules.

Command: python benchmarks/peers/datasets_standardize.py rows.parquet out.parquet cache processes

Loops are judged by our own detector, so that the same rows fall; tags are parsed and control tokens replaced by regular expressions.
"""

import sys

from datasets import disable_progress_bars, load_dataset
from standardize import harmless, tagged

from showwork.records.ids import question_id, record_id
from showwork.records.loops import find_loop

path, target, cache, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
disable_progress_bars()
NAMES = ("record_id", "question_id", "question", "trace", "answer")


def standardize(batch):
    out = {name: [] for name in NAMES}
    for prompt, response in zip(batch["prompt"], batch["response"], strict=True):
        found = tagged(response or "", "think")
        question = (prompt or "").strip()
        if found and question and not find_loop(found[0]) and not find_loop(found[1]):
            question, trace, answer = map(harmless, (question, *found))
        else:
            question = trace = answer = ""
        made = (record_id(question, trace, answer), question_id(question), question, trace, answer)
        for name, value in zip(NAMES, made, strict=True):
            out[name].append(value)
    return out


rows = load_dataset("parquet", data_files=path, split="train", cache_dir=cache)
several = {"num_proc": processes} if processes > 1 else {}
rows = rows.map(standardize, batched=True, remove_columns=["prompt", "response"], **several)
rows.filter(lambda row: row["question"] != "", **several).to_parquet(target)
