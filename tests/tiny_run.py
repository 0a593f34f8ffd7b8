"""A whole training run in a folder, small enough for a second: base, packed rows, their manifests, the command line."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tiny_base import write_base
from tiny_model import CFG, HF, random_packed, random_params

from showwork.foundation.files import sha256_file, write_json
from showwork.foundation.manifest import write_manifest
from showwork.model.params import save_params
from showwork.tokens.packing import DTYPES, best_fit_decreasing

SETTINGS = {
    "name": "s", "seed": 3, "dtype": "float32", "max_seq_length": 24,
    "train": {
        "method": "sft",
        "adapter": {"rank": 2, "alpha": 2, "targets": "all-linear", "dropout": 0.0, "rslora": False},
        "learning_rate": 1e-2, "batch_size": 2, "gradient_accumulation": 2, "warmup_steps": 2, "schedule": "cosine",
        "epochs": 2, "max_steps": None, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8,
        "clip_norm": 1.0, "checkpoint_every_steps": 2, "remat": "block", "attention": "auto",
    },
}  # fmt: skip


def settings(**changes: Any) -> dict[str, Any]:
    """SETTINGS with keys of `train` changed, or of the whole where they stand there."""
    whole = {k: v for k, v in changes.items() if k in SETTINGS}
    return {**SETTINGS, **whole, "train": {**SETTINGS["train"], **{k: v for k, v in changes.items() if k not in whole}}}


def prepare(folder: Path, num_examples: int = 26, seed: int = 0) -> None:
    """Writes base/, results/download/base.json and results/pack/s/ (13 rows or so of 24 tokens)."""
    write_base(folder / "base", config=HF)
    save_params(folder / "base", random_params(), CFG)
    write_base_manifest(folder)
    lengths = np.random.Generator(np.random.PCG64(seed)).integers(5, 20, num_examples).tolist()
    packed = random_packed(best_fit_decreasing(lengths, 24), lengths, 24, seed)
    out = folder / "results/pack/s"
    out.mkdir(parents=True, exist_ok=True)
    for name in DTYPES:
        np.save(out / f"{name}.npy", getattr(packed, name))
    write_manifest(
        out / "manifest.json", stage="pack", name="s", settings={}, inputs={},
        files={name: out / f"{name}.npy" for name in DTYPES},
        counts={"rows": len(packed), "examples": num_examples, "tokens": sum(lengths),
                "loss_tokens": int(packed.loss_mask.sum()), "density": sum(lengths) / packed.tokens.size},
        digests={"tokenizer": sha256_file(folder / "base/tokenizer.json")},
    )  # fmt: skip


def write_base_manifest(folder: Path) -> None:
    """results/download/base.json of what lies in base/."""
    files = {
        f.name: {"path": f"base/{f.name}", "bytes": f.stat().st_size, "sha256": sha256_file(f), "rows": None}
        for f in sorted((folder / "base").iterdir())
    }
    manifest = {"stage": "download", "name": "base", "settings": {}, "files": files, "counts": {}, "revision": None}
    write_json(folder / "results/download/base.json", manifest)


def command(chosen: dict[str, Any], out: str = "results/train/s", work: str = "work/train", *more: str) -> list[str]:
    """The arguments of showwork.train."""
    return [
        "--settings", json.dumps(chosen), "--log", "logs/train.log", "--pack", "results/pack/s/manifest.json",
        "--base", "results/download/base.json", "--work", work, "--adapter", f"{out}/adapter/adapter.safetensors",
        "--history", f"{out}/history.jsonl", "--manifest", f"{out}/manifest.json", *more,
    ]  # fmt: skip


def process(
    folder: Path, arguments: list[str], extra: dict[str, str] | None = None, **more: Any
) -> subprocess.Popen[str]:
    """The trainer as a process of its own; `extra` goes into its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "showwork.train", *arguments],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            **(extra or {}),
        },
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@contextlib.contextmanager
def quick_jax() -> Iterator[None]:
    """Compiles with fewer optimizations inside the block, and leaves JAX's settings as they were."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
             "jax_persistent_cache_min_entry_size_bytes", "jax_disable_most_optimizations")  # fmt: skip
    before = {name: jax.config.values[name] for name in names}
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
