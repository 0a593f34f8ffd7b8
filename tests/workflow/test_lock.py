"""`snakemake lock` and what a later run makes of the lock, through real Snakemake and a hub of our own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dag import copy_repo, plan
from sources import downloads
from sources.downloads import SHARDS, SMALL, sha256_of
from sources.hub_server import HubServer

hub = downloads.hub

BASE = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"x" * 2000}
SAMPLE = "results/download/glaiveai_30k.json"
HUBS = {
    "sequelbox/Raiden-DeepSeek-R1": {"Raiden_DSR1_Part1.csv": b"prompt,response\na,b\n"},
    "O1-OPEN/OpenO1-SFT": {"OpenO1-SFT.jsonl": SMALL},
    "kaist-ai/CoT-Collection": {"data/CoT_collection_en.json": b'{"1": {"source": "a"}}'},
    "glaiveai/reasoning-v1-20m": SHARDS,
}


@pytest.fixture
def repo(tmp_path: Path, hub: HubServer) -> Path:
    """The shipped workflow with its revisions left open, and a hub that holds what it names."""
    repo = copy_repo(tmp_path / "repo")
    config = (repo / "config.yaml").read_text()
    config = re.sub(r"revision: [0-9a-f]{40}", "revision: null", config)
    (repo / "config.yaml").write_text(re.sub(r"start: 1, stop: 30000\b", "start: 1, stop: 150", config))
    for name, files in HUBS.items():
        hub.add("dataset", name, files)
    hub.add("model", "google/gemma-2-2b-it", BASE)
    return repo


def snakemake(repo: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_lock_that_cannot_be_renewed_stays_as_it_was_and_a_moved_branch_renews_it(repo: Path, hub: HubServer) -> None:
    assert snakemake(repo, "lock")[0] == 0
    lock = repo / "sources.lock"
    before = lock.read_bytes()
    moved = hub.add("dataset", "O1-OPEN/OpenO1-SFT", {"OpenO1-SFT.jsonl": SMALL * 2})
    model = hub.repos.pop(("model", "google/gemma-2-2b-it"))
    status, said = snakemake(repo, "lock")
    assert status == 1
    assert "has no model google/gemma-2-2b-it (401), or it is private and needs HF_TOKEN; check the hub id" in said
    assert lock.read_bytes() == before

    hub.repos["model", "google/gemma-2-2b-it"] = model
    assert set(plan(repo, "lock")) == {("lock",)}
    status, said = snakemake(repo, "lock")
    assert status == 0
    assert "source 'openo1': O1-OPEN/OpenO1-SFT moved from" in said
    assert f"to {moved}, 1 files differ" in said
    assert json.loads(lock.read_text())["sources"]["openo1"]["revision"] == moved
    assert not list(repo.glob(".sources.lock*"))
    assert ("lock",) not in plan(repo, SAMPLE)


def test_a_run_against_a_source_that_drifted_from_its_lock_fails_with_the_difference(
    repo: Path, hub: HubServer
) -> None:
    commit = hub.add("dataset", "glaiveai/reasoning-v1-20m", SHARDS)
    name, data = "data/train-0.parquet", SHARDS["data/train-0.parquet"]

    def lock(files: dict[str, bytes]) -> None:
        listed = {n: {"bytes": len(d), "sha256": sha256_of(d), "rows": 100} for n, d in files.items()}
        entry = {"hub": "glaiveai/reasoning-v1-20m", "revision": commit, "patterns": ["data/train-*.parquet"]}
        (repo / "sources.lock").write_text(
            json.dumps({"sources": {"glaive": {**entry, "files": listed}}, "base": None})
        )

    lock({**SHARDS, name: data + b"x"})
    status, said = snakemake(repo, SAMPLE)
    assert status == 1
    assert re.search(
        rf"source 'glaive': glaiveai/reasoning-v1-20m at {commit[:12]} has drifted from sources.lock: {name}: "
        rf"{len(data) + 1:,} bytes sha256 \w{{12}} in the lock, {len(data):,} bytes sha256 \w{{12}} on the hub; find out why",
        said,
    )
    assert not (repo / SAMPLE).exists()
    assert not hub.asked(name)

    lock(SHARDS)
    status, said = snakemake(repo, SAMPLE)
    assert status == 0, said
    assert json.loads((repo / SAMPLE).read_text())["revision"] == commit


def test_a_damaged_lock_is_one_sentence_before_any_job(repo: Path) -> None:
    (repo / "sources.lock").write_text('{"sources": {')
    status, said = snakemake(repo, "-n", SAMPLE)
    assert status == 1
    assert "sources.lock: expected JSON, got something else" in said
    assert "no job was started" in said
    assert "Traceback" not in said
