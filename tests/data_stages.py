"""Runs the data stages as commands on files made by a test: nothing here is showwork's own code."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from showwork import heldout, mix, publish, sample, standardize
from showwork.foundation.files import sha256_file, write_json
from showwork.foundation.stage import run_stage


class Failed(Exception):
    """A stage ended with another exit status than 0; its text is what it said."""


def run(module: Any, settings: dict[str, Any], *argv: Any) -> str:
    """Run one stage; its log. Raises Failed."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = run_stage(
            module.work, module.arguments, module.__doc__, ["--settings", json.dumps(settings), *map(str, argv)]
        )
    if code:
        raise Failed(said.getvalue())
    return said.getvalue()


def download(folder: Path, files: list[Path], name: str = "s", **extra: Any) -> Path:
    """A manifest as the download stage leaves it, for files that lie where they are."""
    entries = {
        f.name: {"path": str(f), "bytes": f.stat().st_size, "sha256": sha256_file(f), "rows": None} for f in files
    }
    path = folder / f"results/download/{name}.json"
    body = {"stage": "download", "name": name, "files": entries, "hub": None, "revision": None, **extra}
    write_json(path, body)
    return path


def run_sample(folder: Path, manifest: Path, name: str = "s", **settings: Any) -> Path:
    """Run the sample stage; the path of its manifest."""
    given = {
        "name": name, "source": "src", "layout": "jsonl", "columns": None, "method": "full", "n": None, "start": None,
        "stop": None, "seed": None, "filters": None, "format": None, "min_kept": None, "weights": None,
        "per_task": None, **settings,
    }  # fmt: skip
    at = folder / "results/sample"
    run(
        sample, given, "--download", manifest, "--rows", at / f"{name}.parquet", "--dropped", at / f"{name}.dropped.parquet",
        "--manifest", at / f"{name}.json",
    )  # fmt: skip
    return at / f"{name}.json"


def run_standardize(folder: Path, manifest: Path, name: str = "s", threads: int = 1, **settings: Any) -> Path:
    """Run the standardize stage; the path of its manifest."""
    given = {
        "name": name, "source": "src", "format": "think", "columns": None, "filters": {}, "min_kept": 0.0, **settings,
    }  # fmt: skip
    at = folder / "results/standardize"
    run(
        standardize, given, "--sample", manifest, "--records", at / f"{name}.parquet", "--rejected",
        at / f"{name}.rejected.parquet", "--manifest", at / f"{name}.json", "--threads", threads,
    )  # fmt: skip
    return at / f"{name}.json"


def run_heldout(folder: Path, records: list[Path], **settings: Any) -> Path:
    """Run the heldout stage; the path of its manifest."""
    given = {"name": "prompts", "seed": 42, "share": 0.05, "prompts": 3, **settings}
    at = folder / "results/heldout"
    run(heldout, given, "--records", *records, "--prompts", at / "prompts.parquet", "--manifest", at / "prompts.json")
    return at / "prompts.json"


def run_mix(
    folder: Path,
    records: list[Path],
    held: Path,
    earlier: list[Path] | None = None,
    name: str = "session1",
    **settings: Any,
) -> Path:
    """Run the mix stage; the path of its manifest."""
    given = {
        "name": name, "seed": 42, "share": 0.05, "samples": [],
        "licenses": {"src": {"license": "apache-2.0", "note": None, "hub": None}}, "allowed": ["apache-2.0"],
        "duplicates": {"near": True, "threshold": 0.85, "decontamination": 0.5}, **settings,
    }  # fmt: skip
    at = folder / f"results/mix/{name}"
    run(
        mix, given, "--records", *records, *(["--earlier", *earlier] if earlier else []), "--heldout", held,
        "--train", at / "train.parquet", "--removed", at / "removed.parquet", "--disjoint", at / "disjoint.json",
        "--manifest", at / "manifest.json", "--log", folder / "logs/mix.log",
    )  # fmt: skip
    return at / "manifest.json"


def run_publish(folder: Path, mixed: Path, samples: list[Path], **settings: Any) -> Path:
    """Run the publish stage; the path of its manifest."""
    given = {
        "name": "session1", "publish": "tiny-data", "samples": [],
        "licenses": {"src": {"license": "apache-2.0", "note": None, "hub": None}}, **settings,
    }  # fmt: skip
    at = folder / "results/publish"
    run(publish, given, "--mix", mixed, "--samples", *samples, "--folder", at, "--manifest", at / "session1.json")
    return at / "session1.json"


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """All rows of a parquet file."""
    return pq.read_table(path).to_pylist()


def counts(manifest: Path) -> dict[str, Any]:
    """The counts of a manifest."""
    return json.loads(manifest.read_text())["counts"]
