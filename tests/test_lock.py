"""The lock: what every hub source held when it was resolved, and what a later run makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sources import downloads
from sources.downloads import BIG, SHARDS, SMALL, Notes, quick, run, sha256_of, wanted
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
