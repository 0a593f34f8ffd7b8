from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from showwork.foundation.running import no_time_to_come, register

REGISTER = "import sys; from showwork.foundation.running import register; print(register(sys.argv[1]), flush=True); "


def start(folder: Path, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", REGISTER + then, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2] / "src",
    )  # fmt: skip


def lock(folder: Path) -> Path:
    file = folder / ".snakemake/locks/0.output.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("results/a\n")
    return file


def test_the_lock_of_a_killed_snakemake_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    living = start(tmp_path, "sys.stdin.read()")
    assert living.stdout
    assert living.stdout.readline() == "False\n"
    file = lock(tmp_path)
    beside = start(tmp_path, "")
    assert beside.communicate()[0] == "False\n"
    assert file.exists()
    living.kill()
    living.communicate()
    assert start(tmp_path, "").communicate()[0] == "True\n"
    assert not file.exists()


def test_a_job_that_outlives_its_snakemake_does_not_hold_the_folder(tmp_path: Path) -> None:
    then = (
        "import subprocess; p = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL); print(p.pid, flush=True)"
    )
    said = start(tmp_path, then).communicate()[0].split()
    file = lock(tmp_path)
    try:
        assert Path(f"/proc/{said[1]}").exists()
        assert register(tmp_path)
        assert not file.exists()
    finally:
        os.kill(int(said[1]), signal.SIGKILL)


def test_products_of_a_time_to_come_are_set_back_in_their_order_and_others_stay(tmp_path: Path) -> None:
    now = time.time()
    times = {"results/a": now + 7_200, "results/b/c": now + 7_260, "sources/d": now - 60, "work/e": now + 7_200}
    for name, made in times.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (made, made))
    folders = [tmp_path / "results", tmp_path / "results/b", tmp_path / "sources"]
    assert no_time_to_come(tmp_path) == 2
    a, c, d, e = ((tmp_path / name).stat().st_mtime for name in times)
    assert c <= time.time() < c + 60
    assert c - a == pytest.approx(60, abs=0.01)
    assert (d, e) == pytest.approx((now - 60, now + 7_200), abs=0.01)
    assert all(folder.stat().st_mtime <= time.time() for folder in folders)
    assert no_time_to_come(tmp_path) == 0
