"""A session on rewards in a folder, small enough for seconds: base, records as prompts, rewards of the user's, the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_base import write_base
from tiny_model import CFG, HF, random_params
from tiny_run import SETTINGS, write_base_manifest

from showwork.foundation.manifest import write_manifest
from showwork.foundation.schema import RECORD
from showwork.foundation.tables import write_table
from showwork.model.params import save_params

GRPO = {
    "variant": "dapo", "group_size": 3, "prompts_per_batch": 2, "updates_per_batch": 2, "max_new_tokens": 10,
    "temperature": 1.0, "slots": 8, "rewards": {"length": 1.0, "own_rewards:vowels": 1.0}, "soft_limit_tokens": 0,
    "reference": "start", "kl": 0.01, "clip_low": None, "clip_high": None, "aggregate": None, "scale_by_std": None,
    "mask_overlong": False, "resample": 1, "min_kept": 0.1,
}  # fmt: skip
OWN = """def vowels(attempt):
    return sum(c in "aeiou" for c in attempt.text)

def wrong(attempt):
    return attempt.txt

def nan(attempt):
    return float("nan")
"""


def settings(**changes) -> dict:
    train = {**SETTINGS["train"], "method": "grpo", "epochs": None, "max_steps": 12, "warmup_steps": 1}
    train = {**train, **{k: v for k, v in changes.items() if k in train}}
    how = {**GRPO, **{k: v for k, v in changes.items() if k in GRPO}}
    assert all(k in train or k in how for k in changes)
    return {
        **SETTINGS, "max_seq_length": 64, "system_prompt": "", "answer_match_max_characters": 16,
        "train": {**train, "grpo": how},
    }  # fmt: skip


def prepare(folder: Path) -> None:
    """base/, results/download/base.json, own_rewards.py and results/mix/s/ of eight records, one too long, one in prose."""
    write_base(folder / "base", config=HF)
    save_params(folder / "base", random_params(), CFG)
    write_base_manifest(folder)
    (folder / "own_rewards.py").write_text(OWN)
    texts = [(f"What is {i}?", str(i)) for i in range(6)] + [("Why? " * 30, "7"), ("Why?", "Because of this. " * 4)]
    rows = [
        {"record_id": f"r{i}", "question_id": f"q{i}", "source": "src", "source_row": i, "row_id": f"w{i}",
         "question": question, "trace": "So.", "answer": answer}
        for i, (question, answer) in enumerate(texts)
    ]  # fmt: skip
    out = folder / "results/mix/s"
    write_table(out / "train.parquet", RECORD, [rows])
    files = {"train": out / "train.parquet"}
    write_manifest(out / "manifest.json", stage="mix", name="s", settings={}, inputs={}, files=files, counts={})


def command(chosen: dict, out: str = "results/train/s", work: str = "work/train", *more: str) -> list[str]:
    return [
        "--settings", json.dumps(chosen), "--log", "logs/train.log", "--mix", "results/mix/s/manifest.json",
        "--base", "results/download/base.json", "--work", work, "--adapter", f"{out}/adapter/adapter.safetensors",
        "--history", f"{out}/history.jsonl", "--manifest", f"{out}/manifest.json", *more,
    ]  # fmt: skip
