"""The results of a small run, made by the stages themselves from the demo's sources: every defect, every reason, two sessions.

Session 1 is mixed, packed and trained on, but its training ends before every packed row has had its turn; session 2 is mixed.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from data_stages import download, run, run_heldout, run_mix, run_sample, run_standardize
from tiny_base import write_base
from tiny_model import CFG, HF, random_params
from tiny_run import SETTINGS, quick_jax, write_base_manifest

from showwork import pack, train
from showwork.demo import sources
from showwork.foundation.manifest import write_manifest
from showwork.foundation.tables import write_table
from showwork.learn.measures import GENERATION
from showwork.model.params import save_params
from showwork.tokens.packing import DTYPES

ROWS = 100
STEPS = 12
DRAWN: dict[str, Any] = {"seed": 7, "min_kept": 0.1}
SOURCES: dict[str, dict[str, Any]] = {
    "raiden": {"layout": "csv", "format": "think", "columns": {"question": "prompt", "response": "response"},
               "filters": {"loops": True}},
    "openo1": {"layout": "jsonl", "format": "thought_output", "columns": {"question": "instruction", "response": "output"},
               "filters": {"language": "en"}},
    "cot_collection": {"layout": "json_object", "format": "columns",
                       "columns": {"question": "source", "trace": "rationale", "answer": "target"}, "filters": {}},
    "glaive": {"layout": "parquet", "format": "think", "columns": {"question": "prompt", "response": "response"}, "filters": {}},
}  # fmt: skip
SAMPLES: dict[str, dict[str, Any]] = {
    "all_raiden": {"source": "raiden", "method": "full"},
    "openo1_some": {"source": "openo1", "method": "random", "n": 30, **DRAWN},
    "cot_some": {"source": "cot_collection", "method": "reservoir", "n": 40, **DRAWN},
    "glaive_first": {"source": "glaive", "method": "first_n", "start": 1, "stop": 60},
    "glaive_next": {"source": "glaive", "method": "first_n", "start": 61, "stop": 90},
}
SESSIONS = {"session1": ["all_raiden", "openo1_some", "cot_some", "glaive_first"], "session2": ["glaive_next"]}
TEMPLATE = {
    "system_prompt": "Think.",
    "max_seq_length": 320,
    "overlong": "trim",
    "min_trace_tokens": 90,
    "min_kept": 0.1,
}


def make_results(folder: Path) -> None:
    """Fill `folder` with sources/, base/ and results/."""
    rows = {"seed": 42, "rows": dict.fromkeys(SOURCES, ROWS)}
    run(sources, rows, "--folder", folder / "world", "--manifest", folder / "world/manifest.json")
    records = {name: _through_standardize(folder, name) for name in SAMPLES}
    held = run_heldout(folder, [records[name] for name in SESSIONS["session1"]], share=0.2, prompts=12)
    licenses = {name: {"license": "apache-2.0", "note": None, "hub": None} for name in SOURCES}
    mixes: list[Path] = []
    for session, samples in SESSIONS.items():
        mine = [records[name] for name in samples]
        mixes.append(run_mix(folder, mine, held, mixes, session, share=0.2, samples=samples, licenses=licenses))
    write_base(folder / "base", config=HF)
    save_params(folder / "base", random_params(), CFG)
    write_base_manifest(folder)
    with contextlib.chdir(folder), quick_jax():
        _pack()
        _train()
    _evaluate(folder)


def _through_standardize(folder: Path, name: str) -> Path:
    sample = SAMPLES[name]
    source = SOURCES[sample["source"]]
    files = sorted(p for p in (folder / "world" / sample["source"]).rglob("*") if p.is_file())
    manifest = download(folder, files, name, settings={"source": sample["source"]})
    drawn = {} if sample.get("n") is None else {"format": source["format"], "filters": source["filters"]}
    sampled = run_sample(folder, manifest, name, layout=source["layout"], columns=source["columns"], **sample, **drawn)
    own = {key: source[key] for key in ("format", "columns", "filters")}
    return run_standardize(folder, sampled, name, source=sample["source"], **own)


def _pack() -> None:
    out = Path("results/pack/session1")
    files = [f"--{name.replace('_', '-')}={out / name}.npy" for name in DTYPES]
    run(
        pack, {"name": "session1", "seed": 7, "template": TEMPLATE}, "--mix", "results/mix/session1/manifest.json",
        "--base", "results/download/base.json", "--ledger", out / "ledger.parquet", "--manifest", out / "manifest.json", *files,
    )  # fmt: skip


def _train() -> None:
    out = Path("results/train/session1")
    chosen = {
        "batch_size": 4,
        "gradient_accumulation": 2,
        "epochs": None,
        "max_steps": STEPS,
        "checkpoint_every_steps": STEPS,
    }
    settings = {
        **SETTINGS,
        "name": "session1",
        "max_seq_length": TEMPLATE["max_seq_length"],
        "train": {**SETTINGS["train"], **chosen},
    }
    run(
        train, settings, "--pack", "results/pack/session1/manifest.json", "--base", "results/download/base.json", "--work",
        "work/train", "--adapter", out / "adapter/adapter.safetensors", "--history", out / "history.jsonl", "--manifest",
        out / "manifest.json",
    )  # fmt: skip


def _evaluate(folder: Path) -> None:
    """What the base said to the prompts: nothing but `4`, without tags. Written here, for a model would take long."""
    import pyarrow.parquet as pq

    out = folder / "results/evaluate/base"
    blank = dict.fromkeys(GENERATION.names)
    rows = [
        {**blank, "prompt_id": p["prompt_id"], "source": p["source"], "mode": "greedy", "question": p["question"],
         "gold_answer": p["answer"], "completion": "4", "trace": "", "answer": "4", "reason": "no_open",
         "well_formed": False, "correct": p["answer"] == "4", "looping": False, "truncated": True}
        for p in pq.read_table(folder / "results/heldout/prompts.parquet").to_pylist()
    ]  # fmt: skip
    write_table(out / "generations.parquet", GENERATION, [rows])
    write_manifest(
        out / "manifest.json", stage="evaluate", name="base", settings={"name": "base"}, inputs={},
        files={"generations": out / "generations.parquet"}, counts={"prompts": len(rows)},
    )  # fmt: skip


def manifest(folder: Path, stage: str, name: str) -> dict[str, Any]:
    """One of its manifests."""
    own = folder / f"results/{stage}/{name}.json"
    return json.loads((own if own.is_file() else folder / f"results/{stage}/{name}/manifest.json").read_text())


def without(folder: Path, copy: Path, *stages: str) -> Path:
    """A copy of the results that lacks some stages; files are linked, not copied."""
    for file in (folder / "results").rglob("*"):
        place = copy / file.relative_to(folder)
        if file.is_file() and place.relative_to(copy).parts[1] not in stages:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, place)
    return copy
