"""Downloads: what arrives, which shards of a slice, local folders, any dataset through the library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import xxhash
from sources import downloads
from sources.downloads import (
    BIG,
    SHARDS,
    SMALL,
    Notes,
    base,
    fails,
    process,
    read_blobs,
    run,
    sha256_of,
    sliced,
    wanted,
)

hub = downloads.hub


# ---- what arrives ----------------------------------------------------------------------------------------------------


def test_large_and_small_files_arrive_and_the_manifest_says_what_they_are(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": SMALL, "d/big file.jsonl": BIG, "other": b"x"})
    blobs = run(wanted(commit, ["d/*.jsonl", "a.jsonl"]))
    assert [f.read_bytes() for f in blobs.files] == [BIG, SMALL]
    assert blobs.files[1] == Path(f"work/download/openo1/{commit}/a.jsonl")
    manifest = json.loads(Path("results/download/s1.json").read_text())
    assert manifest["order"] == ["d/big file.jsonl", "a.jsonl"]
    assert manifest["revision"] == commit
    assert manifest["counts"] == {"bytes": len(BIG) + len(SMALL), "files": 2}
    assert manifest["files"]["a.jsonl"] == {
        "name": f"../../work/download/openo1/{commit}/a.jsonl",
        "path": f"work/download/openo1/{commit}/a.jsonl",
        "bytes": len(SMALL),
        "sha256": sha256_of(SMALL),
        "xxh3_128": xxhash.xxh3_128_hexdigest(SMALL),
        "rows": None,
    }
    assert not hub.asked("other")
    assert not list(Path("work").rglob("*.part*"))


def test_a_long_listing_is_read_over_all_its_pages(hub):
    hub.page_files = 2
    commit = hub.add("dataset", "org/data", {f"{i}.jsonl": SMALL for i in range(7)})
    assert len(run(wanted(commit, ["*.jsonl"])).files) == 7


def test_a_finished_blob_is_never_asked_for_again_by_this_or_another_sample(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    run(wanted(commit))
    before = len(hub.requests)
    hub.close()
    run(wanted(commit))
    run(wanted(commit, name="s2"))
    assert len(hub.requests) == before
    assert Path("results/download/s1.json").read_bytes() == Path("results/download/s2.json").read_bytes().replace(
        b'"s2"', b'"s1"'
    )


def test_a_blob_damaged_on_disk_is_moved_aside_and_fetched_again(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    (blob,) = run(wanted(commit)).files
    blob.write_bytes(b"x" + BIG[1:])
    said = Notes()
    run(wanted(commit), say=said)
    assert blob.read_bytes() == BIG
    assert Path(f"{blob}.damaged").exists()
    assert any("a.jsonl is damaged since its download" in s for s in said)


def test_an_empty_file_is_a_file(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": b"", "b.jsonl": SMALL})
    assert [f.read_bytes() for f in run(wanted(commit, ["*.jsonl"])).files] == [b"", SMALL]


def test_progress_names_bytes_rate_and_time_left(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.bytes_per_s = 1_000_000
    said = Notes()
    run(wanted(commit), say=said)
    assert any(" MB/s, 0:0" in s and s.endswith(" left") for s in said)
    assert any(s.startswith(f"{len(BIG)}/{len(BIG)} bytes") for s in said)


# ---- slices of parquet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop", "fetched", "footers"),
    [(1, 30, [0], 1), (1, 100, [0], 1), (101, 101, [1], 3), (150, 320, [1, 2, 3], 6), (600, 600, [5], 6)],
)
def test_a_slice_fetches_the_shards_that_hold_it_and_footers_of_few_others(hub, start, stop, fetched, footers):
    commit = hub.add("dataset", "org/data", SHARDS)
    blobs = run(sliced(commit, start, stop))
    assert list(blobs.by_name) == [f"data/train-{i}.parquet" for i in fetched]
    assert blobs.manifest["first_row"] == 100 * fetched[0]
    assert [e["rows"] for e in blobs.manifest["files"].values()] == [100] * len(fetched)
    assert {r.path for r in hub.requests if r.method == "GET" and r.status == 206} == set(list(SHARDS)[:footers])
    assert {r.path for r in hub.requests if r.status == 200 and r.host == "127.0.0.2"} == set(blobs.by_name)


def test_the_next_slice_fetches_only_what_the_first_did_not(hub):
    commit = hub.add("dataset", "org/data", SHARDS)
    run(sliced(commit, 1, 150))
    asked = len(hub.requests)
    run(sliced(commit, 120, 250, "s2"))
    assert [r.path for r in hub.requests[asked:] if r.host == "127.0.0.2" and r.status == 200] == [
        "data/train-2.parquet"
    ]
    first = Path("results/download/s1.json").read_bytes()
    run(sliced(commit, 1, 150))
    assert Path("results/download/s1.json").read_bytes() == first


def test_a_slice_past_the_end_is_refused_before_anything_is_fetched(hub):
    commit = hub.add("dataset", "org/data", SHARDS)
    fails(
        sliced(commit, 500, 700), r"source 'glaive': has 600 rows but the slice stops at 700; lower stop to 600 or less"
    )
    assert not [r for r in hub.requests if r.host == "127.0.0.2" and r.status == 200]


def test_footers_are_read_through_faults_and_from_a_server_without_range(hub):
    commit = hub.add("dataset", "org/data", SHARDS)
    name = "data/train-0.parquet"
    for fault in ("cut", "503", "c500", "ignore_range"):
        hub.fault(fault, name)
    assert list(run(sliced(commit, 1, 30)).by_name) == [name]


def test_a_footer_longer_than_the_first_read_is_read_again(hub, monkeypatch):
    monkeypatch.setattr("showwork.sources.shards.TAIL_BYTES", 100)
    commit = hub.add("dataset", "org/data", SHARDS)
    assert run(sliced(commit, 1, 30)).manifest["files"]["data/train-0.parquet"]["rows"] == 100


def test_a_shard_without_a_footer_is_named(hub):
    commit = hub.add("dataset", "org/data", {"data/train-0.parquet": BIG})
    fails(sliced(commit, 1, 30), r"dataset org/data: 'data/train-0.parquet' is no whole parquet file \(no footer\)")


# ---- local folders ---------------------------------------------------------------------------------------------------


def local(folder, files, **more):
    return {**wanted(None, files), "hub": None, "path": str(folder), **more}


def test_a_local_folder_is_hashed_in_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / "mine" / name).write_bytes(name.encode())
    blobs = run(local("mine", ["*.csv"]))
    assert blobs.files == [Path("mine/a.csv"), Path("mine/b.csv")]
    assert blobs.manifest["files"]["a.csv"]["sha256"] == hashlib.sha256(b"a.csv").hexdigest()
    assert not Path("work").exists()


def test_a_slice_of_local_shards_lists_only_those_that_hold_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in SHARDS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    need = {"start": 150, "stop": 320}
    blobs = run(local(".", ["data/*.parquet"], layout="parquet", need=need))
    assert list(blobs.by_name) == [f"data/train-{i}.parquet" for i in (1, 2, 3)]
    assert blobs.manifest["first_row"] == 100
    fails(
        local(".", ["data/*.parquet"], layout="parquet", need={"start": 1, "stop": 601}, name="s2"), "has 600 rows but"
    )
    (tmp_path / "data/train-0.parquet").write_bytes(SHARDS["data/train-0.parquet"][:-9])
    fails(
        local(".", ["data/*.parquet"], layout="parquet", name="s3"),
        r"source 'openo1': train-0.parquet is no whole parquet",
    )


def test_a_local_base_needs_config_tokenizer_and_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    assert sorted(run(base(None, hub=None, path=".")).by_name) == ["config.json", "model.safetensors", "tokenizer.json"]
    (tmp_path / "tokenizer.json").unlink()
    Path("results/download/base.json").unlink()
    fails(
        base(None, hub=None, path="."),
        r"base: no file in '.' matches 'tokenizer.json'; of its \d files the nearest are",
    )


def test_a_missing_folder_file_or_match_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    fails(
        local("gone", ["*.csv"]),
        r"source 'openo1': folder 'gone' does not exist .*; correct path or put the files there",
    )
    fails(
        local("mine", ["*.csv"]),
        r"source 'openo1': no file in 'mine' matches '\*.csv'; it holds no files; correct files",
    )
    fails(local("mine", ["/etc/passwd"]), r"file '/etc/passwd' leaves its folder")
    fails({**wanted(None), "hub": None}, r"source 'openo1': has neither hub nor path; give a hub id or a local folder")


# ---- through the datasets library ------------------------------------------------------------------------------------


def test_a_dataset_comes_through_the_datasets_library_as_parquet_and_is_kept(hub, tmp_path, monkeypatch):
    rows = "".join(json.dumps({"prompt": f"q{i}", "response": "r"}) + "\n" for i in range(40))
    card = b"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: a.jsonl\n---\n"
    commit = hub.add("dataset", "org/data", {"a.jsonl": rows.encode(), "README.md": card}, gated=True)
    settings = wanted(commit, ["train"], layout="datasets")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    job = process(settings, tmp_path)
    error = job.communicate()[1]
    assert job.returncode == 0, error
    assert {r.authorization for r in hub.requests if r.host == "127.0.0.2"} == {None}
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and hub.token.encode() in p.read_bytes()]
    (path,) = read_blobs("results/download/s1.json").files
    assert pq.read_table(path).column("prompt").to_pylist() == [f"q{i}" for i in range(40)]
    assert json.loads(Path("results/download/s1.json").read_text())["files"][f"default/{path.name}"]["rows"] == 40
    hub.close()
    run(settings)
    fails(
        {**settings, "files": ["test"], "name": "s2"},
        r"source 'openo1': org/data has no split 'test'; it has train; correct",
    )
    fails(
        {**settings, "files": ["data/*.parquet"], "name": "s2"},
        r"layout datasets takes splits .*, not 'data/\*.parquet'",
    )
