"""What one writes to make the data of sessions 1 and 2 from local raw files with the datasets library: five samples, records,
two mixes, each a parquet file.

Command: python benchmarks/peers/datasets_end_to_end.py sources out cache processes

The same rules as ours: format, language filter, loop filter, exact duplicates, held-out questions, nothing of session 1 in
session 2; no search for near duplicates. Tags are parsed and control tokens replaced by regular expressions, as such scripts
do; language and loops are judged by our own functions, so that the same rows fall. OpenO1 is read from its twin without the
lines that are no UTF-8: the library stops at them. CoT-Collection is one JSON object, which the library reads as one row:
hence json.load. `to_parquet` compresses with snappy, ours with zstd.
"""

import json
import random
import sys

from datasets import Dataset, concatenate_datasets, disable_progress_bars, load_dataset
from standardize import harmless, tagged

from showwork.records.ids import question_id, record_id
from showwork.records.language import foreign
from showwork.records.loops import find_loop
from showwork.records.split import is_held_out

sources, out, cache, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
disable_progress_bars()
SHARE = 0.01
TEXTS = ("question", "trace", "answer")
several = {"num_proc": processes} if processes > 1 else {}


def load(kind, files, **options):
    return load_dataset(kind, data_files=f"{sources}/{files}", split="train", cache_dir=cache, **options)


def first(start, stop):
    rows = load("parquet", "glaive/*.parquet", streaming=True).skip(start - 1).take(stop - start + 1)
    return Dataset.from_list(list(rows))


def english(row):
    found = tagged(row["output"] or "", "Thought", "Output")
    return found is not None and foreign(row["instruction"] or "", *found) is None


def samples():
    """(name, rows in the source's own columns) of each sample, written as it goes."""
    yield "raiden_deepseek_r1", load("csv", "raiden/*.csv", keep_default_na=False)
    rows = load("json", "openo1/clean.jsonl").filter(english, **several)
    yield "openo1_sft_english_20k", rows.shuffle(seed=42).select(range(20_000))
    with open(f"{sources}/cot/CoT_collection_en.json", encoding="utf-8") as f:
        everything = json.load(f)
    drawn = random.Random(42).sample(list(everything), 10_000)
    yield "cot_collection_10k", Dataset.from_list([everything[key] for key in drawn])
    del everything
    yield "glaiveai_30k", first(1, 30_000)
    yield "glaiveai_continuation_100k", first(30_001, 130_000)


def texts(name, row):
    """Question, trace and answer of a row, or None."""
    if name == "cot_collection_10k":
        found = row["source"], row["rationale"], row["target"]
        return tuple(map(str.strip, found)) if all(t and t.strip() for t in found) else None
    if name == "openo1_sft_english_20k":
        question, found = row["instruction"], tagged(row["output"] or "", "Thought", "Output")
    else:
        question, found = row["prompt"], tagged(row["response"] or "", "think")
    if not found or not (question or "").strip():
        return None
    if name == "raiden_deepseek_r1" and (find_loop(found[0]) or find_loop(found[1])):
        return None
    return question.strip(), *found


def standardize(batch, name):
    made = {key: [] for key in ("record_id", "question_id", *TEXTS)}
    columns = list(batch)
    for values in zip(*batch.values(), strict=True):
        found = texts(name, dict(zip(columns, values, strict=True)))
        found = tuple(map(harmless, found)) if found else ("", "", "")
        for key, value in zip(made, (record_id(*found), question_id(found[0]), *found), strict=True):
            made[key].append(value)
    return made


records = {}
for name, rows in samples():
    rows.to_parquet(f"{out}/{name}.parquet")
    made = rows.map(
        standardize, batched=True, remove_columns=rows.column_names, fn_kwargs={"name": name}, **several
    ).filter(lambda row: row["question"] != "", **several)
    made.to_parquet(f"{out}/{name}.records.parquet")
    records[name] = made

said, seen = set(), set()


def new(row):
    key = (row["question_id"], row["answer"])
    if key in said or row["record_id"] in seen or row["question_id"] in seen or is_held_out(row["question_id"], SHARE):
        return False
    said.add(key)
    return True


first_four = [rows for name, rows in records.items() if name != "glaiveai_continuation_100k"]
session1 = concatenate_datasets(first_four).filter(new).shuffle(seed=42)
session1.to_parquet(f"{out}/session1.parquet")
said.clear()
seen.update(session1["record_id"], session1["question_id"])
session2 = records["glaiveai_continuation_100k"].filter(new).shuffle(seed=42)
session2.to_parquet(f"{out}/session2.parquet")
print(json.dumps({"session1": len(session1), "session2": len(session2)}))
