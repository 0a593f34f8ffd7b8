"""Transfers: resumed, checked, patient; every refusal is one sentence that names the way out."""

from __future__ import annotations

import email.message
import email.utils
import io
import json
import signal
import threading
import time
from pathlib import Path

import pytest
from sources import downloads
from sources.downloads import (
    BIG,
    SMALL,
    Notes,
    fails,
    process,
    quick,
    read_blobs,
    run,
    sha256_of,
    until,
    wanted,
)

from showwork.sources.patience import retry_after_s

hub = downloads.hub


# ---- faults ----------------------------------------------------------------------------------------------------------


def test_a_cut_body_goes_on_where_it_ended(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("cut", "a.jsonl", times=3)
    (blob,) = run(wanted(commit)).files
    assert blob.read_bytes() == BIG
    assert hub.served("a.jsonl") == len(BIG)
    assert [r.range for r in hub.asked("a.jsonl")] == [None] + [f"bytes={len(BIG) * k // 8}-" for k in (4, 6, 7)]


@pytest.mark.parametrize("fault", ["flip", "short", "long", "html", "cut", "c500", "500", "503", "502", "429", "c429"])
@pytest.mark.parametrize("name", ["big.jsonl", "small.jsonl"])
def test_one_fault_is_mended_by_another_attempt(hub, fault, name):
    files = {"big.jsonl": BIG, "small.jsonl": SMALL}
    commit = hub.add("dataset", "org/data", files)
    hub.fault(fault, name, value="0" if "429" in fault else "")
    (blob,) = run(wanted(commit, [name])).files
    assert blob.read_bytes() == files[name]
    assert sum(f.times for f in hub.faults) == 0


def test_a_server_that_ignores_range_is_read_from_the_start(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("cut", "a.jsonl")
    hub.fault("ignore_range", "a.jsonl")
    said = Notes()
    (blob,) = run(wanted(commit), say=said).files
    assert blob.read_bytes() == BIG
    assert "a.jsonl: the server does not resume; starting over" in said


@pytest.mark.parametrize("fault", ["c416", "other_range"])
def test_a_server_that_cannot_go_on_at_an_offset_is_read_from_the_start(hub, fault):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("cut", "a.jsonl")
    fails(wanted(commit), "the body broke off at 256,000 of 512,000 bytes", attempts=1)
    hub.fault(fault, "a.jsonl")
    (blob,) = run(wanted(commit)).files
    assert blob.read_bytes() == BIG
    asked = [r.range for r in hub.requests if r.path == "a.jsonl" and r.host == "127.0.0.2"]
    assert asked == [None, "bytes=256000-", None]


def test_a_stalled_connection_is_left_and_resumed(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("stall", "a.jsonl", value="1.5")
    said = Notes()
    (blob,) = run(wanted(commit), quick(stall_s=0.3), say=said).files
    assert blob.read_bytes() == BIG
    assert hub.served("a.jsonl") == len(BIG)
    assert any("stopped sending; attempt 2 of 6" in s for s in said)


@pytest.mark.parametrize("status", ["429", "503"])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed_as_seconds_and_as_a_date(hub, status, as_date):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault(status, "a.jsonl", value=email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1")
    start = time.monotonic()
    run(wanted(commit))
    assert 1 <= time.monotonic() - start < 4


@pytest.mark.parametrize("header", [None, "", "soon", "Fri, 31 Nov 2026 10:00:00 GMT", f"Fri, 1 Jan {10**30} 1:00 GMT"])
def test_a_retry_after_that_says_nothing_leaves_the_wait_to_us(header):
    assert retry_after_s(header) is None


@pytest.mark.parametrize("header", ["-3", "nan", "Mon, 02 Jan 2006 15:04:05 GMT"])
def test_a_retry_after_in_the_past_is_now(header):
    assert retry_after_s(header) == 0


def test_listing_and_revision_survive_faults_too(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": SMALL})
    hub.fault("503", "tree", times=2)
    assert run(wanted(commit)).files[0].read_bytes() == SMALL


def test_progress_renews_patience_so_that_a_poor_line_ends(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("cut", "a.jsonl", times=10)
    (blob,) = run(wanted(commit), quick(attempts=2)).files
    assert blob.read_bytes() == BIG
    assert hub.served("a.jsonl") == len(BIG)


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_bytes_that_stay_wrong_are_refused_with_both_digests(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("flip", "a.jsonl", times=99)
    right = sha256_of(BIG)
    fails(
        wanted(commit),
        rf"dataset org/data, file 'a.jsonl': wrong bytes: sha256 is [0-9a-f]{{64}} where the hub records {right}",
    )
    assert not list(Path("work").rglob("a.jsonl"))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("short", r"the server offers 256,000 bytes where 512,000 are wanted \(3 times in a row\)"),
        ("html", r"the server offers 35 bytes where 512,000 are wanted"),
        ("429", r"the hub limits the rate \(429\) \(3 times in a row\); run the same command again later, it resumes"),
        ("503", r"the server failed \(503\) \(3 times in a row\)"),
        ("c500", r"the server failed \(500\) \(3 times in a row\)"),
    ],
)
def test_a_fault_that_stays_ends_in_one_sentence(hub, fault, text):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault(fault, "a.jsonl", times=99)
    fails(wanted(commit), r"dataset org/data, file 'a.jsonl': " + text, attempts=3)


def test_a_stall_that_stays_is_named(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": b"x" * 1000})
    hub.fault("stall", "a.jsonl", times=99, value="0.5")
    fails(wanted(commit), r"127.0.0.2:\d+ stopped sending \(\d times in a row\)", attempts=2, stall_s=0.1)


def test_a_rate_limit_of_hours_is_not_waited_for(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.fault("429", "a.jsonl", value="7200")
    fails(wanted(commit), r"the hub limits the rate \(429\), and asks for 7,200 s; run the same command after that")


def test_no_connection_is_named(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.close()
    fails(wanted(commit), r"dataset org/data, list of files: no connection to 127.0.0.1:\d+ \(.*refused\)", attempts=2)


def test_patterns_that_leave_the_folder_are_refused(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": SMALL})
    fails(
        wanted(commit, ["../a.jsonl"]),
        r"source 'openo1': file '../a.jsonl' leaves its folder; give names relative to it",
    )


def test_a_revision_that_is_open_or_moves_is_refused(hub):
    hub.add("dataset", "org/data", {"a.jsonl": SMALL})
    fails(wanted(None), r"source 'openo1': revision of org/data is null, .*; run `snakemake --cores 1 lock` to resolve")
    fails(
        wanted("main"), r"source 'openo1': revision 'main' of org/data is a name that can move; give the 40 hex digits"
    )
    assert not hub.requests


def test_offline_a_finished_download_is_listed_and_a_missing_one_is_refused(hub, monkeypatch):
    commit = hub.add("dataset", "org/data", {"a.jsonl": SMALL, "b.jsonl": SMALL})
    run(wanted(commit))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(hub.requests)
    run(wanted(commit))
    fails(
        wanted(commit, ["b.jsonl"], "s2"), r"dataset org/data is not complete on this machine and HF_HUB_OFFLINE is set"
    )
    assert len(hub.requests) == asked


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    original = Path.open

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() > 0:
                raise OSError(28, "No space left on device")
            return super().write(data)

    def full(self, mode="r", *args, **kwargs):
        return Full(self, mode) if mode == "ab" else original(self, mode, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", full)
        fails(wanted(commit), r"No space left on device \([\d,]+ bytes to go\): '?.*a.jsonl.part")
    arrived = next(Path("work").rglob("a.jsonl.part")).stat().st_size
    assert arrived > 0
    sent = hub.served("a.jsonl")
    assert run(wanted(commit)).files[0].read_bytes() == BIG
    assert hub.asked("a.jsonl")[-1].range == f"bytes={arrived}-"
    assert hub.served("a.jsonl") - sent == len(BIG) - arrived


def test_a_disk_that_takes_only_a_part_of_each_write_loses_nothing(hub, monkeypatch):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    original = Path.open

    class Short(io.FileIO):
        def write(self, data):
            return super().write(data[: -(-len(data) // 2)])

    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode="r", *a, **k: Short(self, mode) if mode == "ab" else original(self, mode, *a, **k),
    )
    assert run(wanted(commit)).files[0].read_bytes() == BIG


def test_a_refusal_stops_the_other_files_and_leaves_what_arrived_of_them(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG, "b.jsonl": BIG + b"b"})
    hub.bytes_per_s = 400_000
    hub.fault("503", "b.jsonl", times=2)
    hub.fault("404", "b.jsonl")
    start = time.monotonic()
    fails(wanted(commit, ["*.jsonl"]), r"dataset org/data: 127.0.0.1 has nothing at b.jsonl \(404\)", first_wait_s=0.1)
    assert time.monotonic() - start < 1.2
    hub.bytes_per_s = None
    run(wanted(commit, ["*.jsonl"]))
    assert hub.served("a.jsonl") < len(BIG) + 50_000


# ---- processes -------------------------------------------------------------------------------------------------------


def test_a_killed_process_is_resumed_by_the_next_one_to_the_byte(hub, tmp_path):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.bytes_per_s = 1_000_000
    first = process(wanted(commit), tmp_path)
    part = Path(f"work/download/openo1/{commit}/a.jsonl.part")
    until(lambda: part.exists() and part.stat().st_size > 100_000)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    arrived = part.stat().st_size
    assert not Path("results/download/s1.json").exists()
    hub.bytes_per_s = None
    second = process(wanted(commit), tmp_path)
    assert f"a.jsonl: going on at {arrived:,} of 512,000 bytes" in second.communicate()[1]
    assert second.returncode == 0
    assert read_blobs("results/download/s1.json").files[0].read_bytes() == BIG
    assert hub.asked("a.jsonl")[-1].range == f"bytes={arrived}-"
    assert hub.asked("a.jsonl")[-1].sent == len(BIG) - arrived


def test_several_files_come_at_the_same_time(hub):
    files = {f"{i}.jsonl": BIG + bytes([i]) for i in range(4)}
    commit = hub.add("dataset", "org/data", files)
    hub.bytes_per_s = 1_000_000
    start = time.monotonic()
    blobs = run(wanted(commit, ["*.jsonl"])).files
    assert time.monotonic() - start < 4 * len(BIG) / hub.bytes_per_s * 0.75
    assert [b.read_bytes() for b in blobs] == list(files.values())


def test_two_jobs_that_need_one_blob_fetch_it_once(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.bytes_per_s = 2_000_000
    said = Notes()
    jobs = [threading.Thread(target=run, args=(wanted(commit, name=n), quick(), said)) for n in ("s1", "s2", "s3")]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert hub.served("a.jsonl") == len(BIG)
    assert sum("being fetched by another process; waiting" in s for s in said) == 2
    assert all(read_blobs(f"results/download/{n}.json").files[0].read_bytes() == BIG for n in ("s1", "s2", "s3"))


def test_a_part_of_another_file_is_thrown_away(hub):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    folder = Path(f"work/download/openo1/{commit}")
    folder.mkdir(parents=True)
    (folder / "a.jsonl.part").write_bytes(b"old" * 100)
    (folder / "a.jsonl.part.json").write_text(json.dumps({"bytes": 900, "sha256": "0" * 64}))
    (blob,) = run(wanted(commit)).files
    assert blob.read_bytes() == BIG
    assert hub.asked("a.jsonl")[0].range is None


def test_the_stage_ends_with_its_sentence_and_status_1(hub, tmp_path):
    job = process(wanted(None), tmp_path)
    error = job.communicate()[1]
    assert job.returncode == 1
    assert error.splitlines()[-1].startswith("download s1: error: source 'openo1': revision of org/data is null")
    assert (tmp_path / "d.log").read_text().splitlines()[-1].startswith("error: source 'openo1': revision of")
