"""The lock: what every hub source held when it was resolved, and what a later run makes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from sources import downloads
from sources.downloads import (
    BIG,
    SHARDS,
    SMALL,
    Notes,
    fails,
    quick,
    run,
    sha256_of,
    sliced,
    wanted,
)
from sources.hub_server import oid as oid_of

from showwork.lock import resolve

hub = downloads.hub

LOCK = Path("sources.lock")


def sources(**more):
    return {"openo1": {"hub": "org/data", "revision": None, "files": ["*.jsonl"], "layout": "jsonl", **more}}


def resolved(settings, base=None, say=None):
    resolve({"name": "sources.lock", "sources": settings, "base": base}, LOCK, Notes() if say is None else say, quick())
    return json.loads(LOCK.read_text())


def test_the_lock_records_revision_files_sizes_digests_and_rows(hub):
    files = {"a.jsonl": BIG, "b.jsonl": SMALL, "other": b"x"}
    commit = hub.add("dataset", "org/data", files)
    shards = hub.add("dataset", "org/shards", SHARDS)
    model = hub.add("model", "org/base", {"config.json": b"{}", "tokenizer.json": b"{}", "m.safetensors": BIG})
    glaive = {"hub": "org/shards", "revision": None, "files": ["data/*.parquet"], "layout": "parquet"}
    base = {"hub": "org/base", "revision": None, "files": ["*.json", "*.safetensors"], "layout": "model"}
    lock = resolved({**sources(), "glaive": glaive}, base)
    assert lock["sources"]["openo1"] == {
        "hub": "org/data",
        "revision": commit,
        "patterns": ["*.jsonl"],
        "files": {
            "a.jsonl": {"bytes": len(BIG), "sha256": sha256_of(BIG), "rows": None},
            "b.jsonl": {"bytes": len(SMALL), "git_sha1": oid_of(SMALL), "rows": None},
        },
    }
    assert lock["sources"]["glaive"]["revision"] == shards
    assert {f["rows"] for f in lock["sources"]["glaive"]["files"].values()} == {100}
    assert lock["base"]["revision"] == model
    assert {r.path for r in hub.requests if r.host == "127.0.0.2"} == set(SHARDS)
    assert all(r.range for r in hub.requests if r.host == "127.0.0.2")
    assert not hub.asked("a.jsonl")


def test_a_lock_resolved_twice_is_the_same_bytes_and_a_moved_branch_is_said(hub):
    old = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    resolved(sources())
    first = LOCK.read_bytes()
    said = Notes()
    resolved(sources(), say=said)
    assert LOCK.read_bytes() == first
    assert said == [f"source 'openo1': org/data unchanged at {old}"]
    new = hub.add("dataset", "org/data", {"a.jsonl": BIG + b"x", "b.jsonl": SMALL})
    said = Notes()
    assert resolved(sources(), say=said)["sources"]["openo1"]["revision"] == new
    assert said == [f"source 'openo1': org/data moved from {old[:12]} to {new}, 2 files differ"]


def test_a_pinned_revision_stays_pinned_when_the_branch_has_moved(hub):
    old = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.add("dataset", "org/data", {"a.jsonl": SMALL})
    assert resolved(sources(revision=old))["sources"]["openo1"]["revision"] == old


def test_a_branch_is_resolved_to_its_commit(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": SMALL}, branch="refs/convert/parquet")
    hub.add("dataset", "org/data", {"a.jsonl": BIG})
    assert resolved(sources(revision="refs/convert/parquet"))["sources"]["openo1"]["revision"] == commit


def test_what_was_locked_is_downloaded(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    resolved(sources(files=["a.jsonl"]))
    hub.add("dataset", "org/data", {"a.jsonl": SMALL})
    assert run(wanted(None)).manifest["revision"] == commit


def test_a_source_that_cannot_be_resolved_leaves_the_lock_as_it_was(hub):
    hub.add("dataset", "org/data", {"a.jsonl": BIG})
    resolved(sources())
    before = LOCK.read_bytes()
    for more, text in [
        ({"hub": "org/gone"}, r"has no dataset org/gone \(401\)"),
        ({"revision": "0" * 40}, r"dataset org/data has no revision 000000000000 \(404\)"),
        ({"files": ["*.csv"]}, r"source 'openo1': no file in dataset org/data at .{12} matches '\*.csv'"),
    ]:
        with pytest.raises(ValueError, match=text):
            resolved(sources(**more))
        assert LOCK.read_bytes() == before
    hub.fault("500", "revision", times=99)
    with pytest.raises(ValueError, match=r"dataset org/data, revision: the server failed \(500\) \(6 times in a row\)"):
        resolved(sources())


# ---- drift from the lock ---------------------------------------------------------------------------------------------


def lock(**sources):
    Path("sources.lock").write_text(json.dumps({"sources": sources, "base": None}))


def entry(commit, files, patterns=("a.jsonl",)):
    listed = {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest(), "rows": None} for n, d in files.items()}
    return {"hub": "org/data", "revision": commit, "patterns": list(patterns), "files": listed}


def test_the_lock_fills_a_revision_that_is_open_even_when_the_branch_has_moved(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.add("dataset", "org/data", {"a.jsonl": BIG + b"moved"})
    lock(openo1=entry(commit, {"a.jsonl": BIG}))
    assert run(wanted(None)).manifest["revision"] == commit


def test_a_revision_in_the_configuration_wins_over_the_lock(hub):
    old = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG + b"new"})
    lock(openo1=entry(old, {"a.jsonl": BIG}))
    said = Notes()
    assert run(wanted(commit), say=said).manifest["revision"] == commit
    assert any("sources.lock records another revision of org/data" in s for s in said)


def test_a_source_that_drifted_from_the_lock_fails_with_the_difference(hub):
    files = {"a.jsonl": BIG, "b.jsonl": BIG}
    commit = hub.add("dataset", "org/data", files)
    lock(openo1=entry(commit, {"a.jsonl": BIG + b"x", "c.jsonl": BIG}, ["*.jsonl"]))
    fails(
        wanted(None, ["*.jsonl"]),
        rf"source 'openo1': org/data at {commit[:12]} has drifted from sources.lock: "
        rf"a.jsonl: 512,001 bytes sha256 .{{12}} in the lock, 512,000 bytes sha256 .{{12}} on the hub; "
        rf"b.jsonl: absent in the lock, 512,000 bytes sha256 .{{12}} on the hub; "
        rf"c.jsonl: 512,000 bytes sha256 .{{12}} in the lock, absent on the hub; find out why, then run `snakemake",
    )
    assert not hub.asked("a.jsonl")


def test_a_lock_younger_than_the_listing_that_was_kept_is_compared_with_what_the_hub_says_now(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    run(wanted(commit))
    hub.repos["dataset", "org/data"].commits[commit] = {"a.jsonl": BIG + b"x"}
    lock(openo1=entry(commit, {"a.jsonl": BIG + b"x"}))
    assert run(wanted(commit)).files[0].read_bytes() == BIG + b"x"


def test_a_damaged_lock_is_named(hub):
    Path("sources.lock").write_text("[]")
    fails(wanted(None), r"sources.lock: is no lock of sources; delete it and run `snakemake --cores 1 lock`")


def test_rows_that_the_lock_knows_need_no_footers(hub):
    commit = hub.add("dataset", "org/data", SHARDS)
    known = entry(commit, SHARDS, ["data/train-*.parquet"])
    for file in known["files"].values():
        file["rows"] = 100
    lock(glaive=known)
    run(sliced(None, 550, 560))
    assert {r.path for r in hub.requests if r.host == "127.0.0.2"} == {"data/train-5.parquet"}
