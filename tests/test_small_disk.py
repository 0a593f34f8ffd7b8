"""A full disk at any moment of a data stage, and a read-only one: one sentence that names the file, nothing half-written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import showwork

MANIFESTS = {
    "download": "results/s.json",
    "sample": "s.json",
    "standardize": "s.json",
    "mix": "session1/manifest.json",
    "publish": "session1.json",
    "pack": "s/manifest.json",
}
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture(scope="module", autouse=True)
def _mounts_are_permitted() -> None:
    try:
        tried = subprocess.run(
            [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("a small disk cannot be mounted here: there is no unshare")
    if tried.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {tried.stderr.strip()}")


@pytest.mark.parametrize("stage", MANIFESTS)
def test_a_full_or_read_only_disk_is_one_sentence_and_leaves_no_half_of_a_file(stage: str, tmp_path: Path) -> None:
    here = Path(__file__).parent
    paths = [str(Path(showwork.__file__).parents[1]), str(here)]
    done = subprocess.run(
        [*OWN_MOUNTS, sys.executable, str(here / "small_disk.py"), stage, str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, *full, read_only = [json.loads(line) for line in done.stdout.splitlines()]
    assert whole["said"] == ""
    assert MANIFESTS[stage] in whole["left"]
    failed = [attempt for attempt in full if attempt["said"]]
    assert len(failed) >= 4
    for attempt, refusal, way_out in [
        *((attempt, "No space left on device", "free space there") for attempt in failed),
        (read_only, "Read-only file system", "make it writable or work in another folder"),
    ]:
        last = attempt["said"].splitlines()[-1]
        assert re.fullmatch(
            rf"{stage} \w+: error: \S*({'/work' if stage == 'download' else f'results/{stage}'})\S*: {refusal}( \([\d,]+ bytes to go\))?; the file system refused, "
            rf"{way_out} and run the same command again",
            last,
        )
        assert "Traceback" not in attempt["said"]
        assert MANIFESTS[stage] not in attempt["left"]
        left = {
            n: d for n, d in attempt["left"].items() if stage != "download" or not n.endswith((".part", ".part.json"))
        }
        assert left.items() <= whole["left"].items()
    assert not read_only["left"]
