"""Hashing beside the reader gives the digests that hashing in place gives, and names a file that is gone."""

from __future__ import annotations

import hashlib

import pytest

from showwork.sources import hashing


@pytest.mark.parametrize("large_bytes", [0, 1 << 40])
def test_hashes_come_in_the_order_of_the_files_however_they_are_made(large_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "LARGE_BYTES", large_bytes)
    files = [tmp_path / name for name in ("b", "a", "with space")]
    for file in files:
        file.write_bytes(file.name.encode() * 1000)
    found = hashing.hashing(files)
    assert found() == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]


def test_a_file_that_goes_away_meanwhile_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "LARGE_BYTES", 0)
    (tmp_path / "a").write_bytes(b"a")
    files = [tmp_path / "a", tmp_path / "a"]
    command = hashing._HASH
    monkeypatch.setattr(hashing, "_HASH", "import os, sys\nos.remove(sys.argv[1])\n" + command)
    with pytest.raises(OSError, match=r"a: cannot be read \(.*No such file"):
        hashing.hashing(files)()
