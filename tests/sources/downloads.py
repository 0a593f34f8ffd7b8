"""What the tests of downloads share: a hub in a folder of its own, small files, and the calls under test."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources.hub_server import HubServer

import showwork
from showwork.download import download
from showwork.sources.patience import Patience

BIG = bytes(range(256)) * 2000
SMALL = b'{"prompt": "a", "response": "b"}\n'


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


@dataclass
class Blobs:
    """A download's manifest and its files, in the order of their rows."""

    manifest: dict
    files: list
    by_name: dict


def read_blobs(path):
    manifest = json.loads(Path(path).read_text())
    by_name = {name: Path(manifest["files"][name]["path"]) for name in manifest["order"]}
    for name, file in by_name.items():
        assert sha256_of(file.read_bytes()) == manifest["files"][name]["sha256"]
    return Blobs(manifest, list(by_name.values()), by_name)


class Notes(list):
    """A voice that keeps what it hears."""

    def __call__(self, sentence):
        self.append(sentence)

    def progress(self, done, total, text=""):
        self.append(f"{done}/{total} {text}")


def shard(first: int, rows: int) -> bytes:
    table = pa.table({"prompt": [f"q{i} " + "x" * 50 for i in range(first, first + rows)], "response": ["r"] * rows})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=10, compression="none", use_dictionary=False)
    return out.getvalue()


SHARDS = {f"data/train-{i}.parquet": shard(100 * i, 100) for i in range(6)}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def quick(**limits) -> Patience:
    return Patience(**{"first_wait_s": 0.001, "longest_wait_s": 0.002, "stall_s": 5, **limits})


def wanted(commit, files=("a.jsonl",), name="s1", **more):
    base = {"kind": "dataset", "name": name, "source": "openo1", "hub": "org/data", "revision": commit}
    return {**base, "path": None, "files": list(files), "layout": "jsonl", "need": None, **more}


def sliced(commit, start, stop, name="s1"):
    return wanted(
        commit, ["data/train-*.parquet"], name, source="glaive", layout="parquet", need={"start": start, "stop": stop}
    )


def run(settings, patience=None, say=None):
    manifest = Path(f"results/download/{settings['name']}.json")
    download(settings, manifest, Path("work/download"), Notes() if say is None else say, patience or quick())
    return read_blobs(manifest)


def fails(settings, text, **limits):
    with pytest.raises((ValueError, OSError), match=text) as e:
        run(settings, quick(**limits))
    assert not Path(f"results/download/{settings['name']}.json").exists()
    assert "\n" not in str(e.value)
    assert "secret" not in str(e.value)


def base(commit, **more):
    files = ["*.safetensors", "config.json", "tokenizer*.json", "tokenizer.json", "chat_template.jinja"]
    return {
        "kind": "model",
        "name": "base",
        "hub": "org/base",
        "revision": commit,
        "path": None,
        "files": files,
        **more,
    }


def process(settings, folder):
    command = [sys.executable, "-m", "showwork.download", "--settings", json.dumps(settings)]
    command += ["--manifest", f"results/download/{settings['name']}.json", "--blobs", "work/download", "--log", "d.log"]
    environment = {**os.environ, "PYTHONPATH": str(Path(showwork.__file__).parents[1])}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
