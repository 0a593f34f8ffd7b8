"""The shipped Slurm profile against a real Slurm: what works must be asked for rightly, what fails must say why."""

from __future__ import annotations

from pathlib import Path

from cluster.runs import QUICK, Finished, states
from cluster.slurm import Slurm
from seconds import ADAPTER, run


def test_a_session_is_built_through_jobs(slurm: Slurm, finished: Finished) -> None:
    for rule, count in (("train", 1), ("evaluate", 2), ("export", 1)):
        assert states(slurm.jobs(rule)) == ["COMPLETED"] * count
    for rule in ("download", "sample", "standardize", "mix", "pack", "plan_session", "report"):
        assert slurm.jobs(rule) == []
    assert (finished.folder / "results/report/session1.html").is_file()


def test_gpu_memory_cpus_and_time_of_the_profile_reach_slurm(slurm: Slurm, finished: Finished) -> None:
    (train,), (export,) = slurm.jobs("train"), slurm.jobs("export")
    assert train["TresPerJob"] == "gres:gpu:1"
    assert train["MinMemoryNode"] == "48000M"
    assert (train["NumNodes"], train["CPUs/Task"], train["TimeLimit"]) == ("1", "8", "12:00:00")
    assert train["Requeue"] == "1"
    assert "TresPerJob" not in export
    assert (export["MinMemoryNode"], export["CPUs/Task"], export["TimeLimit"]) == ("32000M", "4", "01:00:00")
    assert {job["MinMemoryNode"] for job in slurm.jobs("evaluate")} == {"32000M"}


def test_a_job_that_fails_shows_its_own_last_line(slurm: Slurm, finished: Finished, tmp_path: Path) -> None:
    folder = finished.untrained(tmp_path / "run")
    rows = folder / "results/pack/session1/tokens.npy"
    content = bytearray(rows.read_bytes())
    content[-1] ^= 1
    rows.write_bytes(content)
    code, said = run(folder, ADAPTER, *QUICK, "--retries", "0", given=slurm.environment)
    assert code != 0
    assert states(slurm.jobs("train"))[-1] == "FAILED"
    last = (folder / "logs/train/session1.log").read_text().splitlines()[-1]
    assert "tokens.npy: damaged since it was made" in last
    assert last in said
    assert not (folder / ADAPTER).exists()
