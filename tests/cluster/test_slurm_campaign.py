"""Jobs that are refused, cancelled, cut off and orphaned on a real Slurm: the same command ends in the same bits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from cluster.runs import QUICK, Finished, checkpoint, states, trained_in, trainer, until
from cluster.slurm import Slurm
from seconds import ADAPTER, run, start

from showwork.foundation.files import sha256_file

pytestmark = pytest.mark.campaign
WAIT_S = 400


def test_an_impossible_request_is_refused_with_slurms_reason(slurm: Slurm, finished: Finished, tmp_path: Path) -> None:
    folder, before = finished.untrained(tmp_path / "run"), len(slurm.jobs("train"))
    more = ("--retries", "0", "--set-resources", "train:mem_mb=999999")
    code, said = run(folder, ADAPTER, *QUICK, *more, given=slurm.environment)
    assert code != 0
    assert "Requested node configuration is not available" in said
    # Slurm keeps a refused job as one that failed without a node.
    assert {(job["JobState"], job["NodeList"]) for job in slurm.jobs("train")[before:]} <= {("FAILED", "(null)")}
    assert not (folder / ADAPTER).exists()


def test_a_cancelled_job_is_submitted_again_and_goes_on(slurm: Slurm, finished: Finished, tmp_path: Path) -> None:
    folder = finished.untrained(tmp_path / "run")
    running = start(folder, ADAPTER, *QUICK, given=slurm.environment)
    until(lambda: checkpoint(folder), "a checkpoint", running)
    os.kill(trainer(folder), signal.SIGSTOP)  # it shall not end before the cancellation reaches it
    slurm.client("scancel", slurm.jobs("train")[-1]["JobId"])
    said, _ = running.communicate(timeout=WAIT_S)
    assert running.returncode == 0, said
    assert states(slurm.jobs("train"))[-2:] == ["CANCELLED", "COMPLETED"]
    assert "goes on after step" in trained_in(folder)
    assert sha256_file(folder / ADAPTER) == finished.adapter


def test_a_limit_shorter_than_the_training_chains_jobs(slurm: Slurm, finished: Finished, tmp_path: Path) -> None:
    """The first job is made slow by stopping its trainer; Slurm wakes it to tell it that its minute is over."""
    folder, before = finished.untrained(tmp_path / "run"), len(slurm.jobs("train"))
    limit = ("--set-resources", "train:runtime=1", "train:slurm_extra='--signal=TERM@1'")
    running = start(folder, ADAPTER, *QUICK, *limit, given=slurm.environment)
    until(lambda: checkpoint(folder), "a checkpoint", running)
    os.kill(trainer(folder), signal.SIGSTOP)
    said, _ = running.communicate(timeout=WAIT_S)
    assert running.returncode == 0, said
    ended = states(slurm.jobs("train"))[before:]
    assert len(ended) >= 2
    assert set(ended[:-1]) <= {"TIMEOUT", "FAILED"}
    assert ended[-1] == "COMPLETED"
    assert "goes on after step" in trained_in(folder)
    assert sha256_file(folder / ADAPTER) == finished.adapter


def test_a_requeued_job_goes_on(slurm: Slurm, finished: Finished, tmp_path: Path) -> None:
    folder, before = finished.untrained(tmp_path / "run"), len(slurm.jobs("train"))
    running = start(folder, ADAPTER, *QUICK, given=slurm.environment)
    until(lambda: checkpoint(folder), "a checkpoint", running)
    os.kill(trainer(folder), signal.SIGSTOP)
    slurm.client("scontrol", "requeue", slurm.jobs("train")[-1]["JobId"])
    said, _ = running.communicate(timeout=WAIT_S)
    assert running.returncode == 0, said
    (job,) = slurm.jobs("train")[before:]
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert "goes on after step" in trained_in(folder)
    assert sha256_file(folder / ADAPTER) == finished.adapter


@pytest.mark.parametrize("daemon", ["slurmd of the job's node", "slurmctld"])
def test_a_daemon_that_dies_and_comes_back_costs_nothing(
    slurm: Slurm, finished: Finished, tmp_path: Path, daemon: str
) -> None:
    folder, before = finished.untrained(tmp_path / "run"), len(slurm.jobs("train"))
    running = start(folder, ADAPTER, *QUICK, given=slurm.environment)
    until(lambda: checkpoint(folder), "a checkpoint", running)
    os.kill(trainer(folder), signal.SIGSTOP)
    name = "slurmctld" if daemon == "slurmctld" else slurm.jobs("train")[-1]["NodeList"]
    slurm.kill(name)
    time.sleep(3)
    if name == "slurmctld":
        slurm.start_controller()
    else:
        slurm.start_node(name)
    os.kill(trainer(folder), signal.SIGCONT)
    said, _ = running.communicate(timeout=WAIT_S)
    assert running.returncode == 0, said
    assert states(slurm.jobs("train"))[before:] == ["COMPLETED"]
    assert "goes on after step" not in trained_in(folder)
    assert sha256_file(folder / ADAPTER) == finished.adapter


def test_a_trainer_that_outlives_snakemake_is_named_and_not_doubled(
    slurm: Slurm, finished: Finished, tmp_path: Path
) -> None:
    folder, before = finished.untrained(tmp_path / "run"), len(slurm.jobs("train"))
    running = start(folder, ADAPTER, *QUICK, given=slurm.environment)
    until(lambda: checkpoint(folder), "a checkpoint", running)
    alive = trainer(folder)
    os.kill(alive, signal.SIGSTOP)
    running.kill()
    running.communicate()
    code, said = run(folder, ADAPTER, *QUICK, "--retries", "0", given=slurm.environment)
    assert code != 0
    assert "its lock was removed" in said
    assert f"process {alive} on" in said
    assert "is training this session and holds" in said
    assert states(slurm.jobs("train"))[before:] == ["RUNNING", "FAILED"]
    os.kill(alive, signal.SIGKILL)
    code, said = run(folder, ADAPTER, *QUICK, given=slurm.environment)
    assert code == 0, said
    assert "goes on after step" in trained_in(folder)
    assert sha256_file(folder / ADAPTER) == finished.adapter
