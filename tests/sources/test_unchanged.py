"""A reader finds a file that is not the one that was downloaded, and reads of a slice's shards no more than the slice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sources.written import EACH_LAYOUT, EVERYTHING, ROWS, split

from showwork.download import download
from showwork.sources import row_groups
from showwork.sources.layouts import open_source


def opened(layout, files, tmp_path, need=None):
    settings = {"kind": "dataset", "name": "s", "source": "s", "hub": None, "revision": None, "path": str(tmp_path)}
    settings |= {"files": [f.name for f in files], "layout": layout, "need": need}
    download(settings, tmp_path / "s.json", tmp_path, print_nothing)
    manifest = json.loads((tmp_path / "s.json").read_text())
    entries = [manifest["files"][n] for n in manifest["order"]]
    paths = [tmp_path / n for n in manifest["order"]]
    return lambda: open_source(layout, paths, first_row=manifest["first_row"], entries=entries)


def print_nothing(sentence):
    pass


READS = {
    "rows": lambda s: list(s.rows()),
    "slice": lambda s: list(s.slice(20, 30)),
    "batches": lambda s: list(s.batches()),
    "candidates": lambda s: list(s.candidates(0, lambda: EVERYTHING)),
    "few candidates": lambda s: list(s.candidates(0, lambda: 1 << 60)),
}


@EACH_LAYOUT
@pytest.mark.parametrize("read", READS)
def test_an_unchanged_file_passes_and_a_changed_one_does_not(layout, read, tmp_path):
    files = split(layout, tmp_path, ROWS, 2)
    source = opened(layout, files, tmp_path)
    before = source()
    READS[read](before)
    before.check()
    data = files[1].read_bytes()
    changed = data.replace(b"question 40", b"question 04")
    assert changed != data
    files[1].write_bytes(changed)
    after = source()
    READS[read](after)
    with pytest.raises(
        ValueError, match=r"part1: xxh3_128 is \w{32}, but \w{32} when it was downloaded; it has changed since, delete"
    ):
        after.check()


def test_without_entries_there_is_nothing_to_compare(tmp_path):
    open_source("jsonl", split("jsonl", tmp_path, ROWS, 1)).check()


@pytest.mark.parametrize("largest_bytes", [0, 1 << 20])
def test_damage_in_a_row_group_of_the_slice_is_found_while_it_is_read(largest_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "LARGEST_BYTES", largest_bytes)
    (file,) = split("parquet", tmp_path, ROWS, 1)
    source = opened("parquet", [file], tmp_path, {"start": 21, "stop": 40})
    assert list(source().slice(21, 40)) == list(enumerate(ROWS))[20:40]
    data = bytearray(file.read_bytes())
    at = data.index(b"question 35")
    data[at + 9] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"part0: row group 3 has xxh3_128 \w{32}, but \w{32} when it was downloaded"):
        list(source().slice(21, 40))
    unharmed = source()
    assert list(unharmed.slice(11, 30)) == list(enumerate(ROWS))[10:30]
    unharmed.check()


def test_a_slice_reads_its_row_groups_and_the_footers_and_nothing_else(tmp_path):
    rows = [{"prompt": f"{i} " + "x" * 3000, "response": str(i) * 500} for i in range(400)]
    files = split("parquet", tmp_path, rows, 2)
    source = opened("parquet", files, tmp_path, {"start": 150, "stop": 230})()
    groups = 9 * 10
    wanted = sum(
        row_groups.span(f, g)[1] for f, gs in zip(source._footers, [range(14, 20), range(3)], strict=True) for g in gs
    )
    before = bytes_read()
    taken = [row for batch in source.batches(150, 230) for row in batch.table.to_pylist()]
    source.check()
    assert taken == rows[149:230]
    assert len(taken) <= groups
    assert wanted <= bytes_read() - before < wanted * 1.02


def bytes_read() -> int:
    counters = Path("/proc/self/io").read_text().split()
    return int(counters[counters.index("rchar:") + 1])
