"""Training by several processes: what one process learns, stopped and lost together, gone on from in any number."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_run import command, prepare, process, settings

from showwork.foundation.launch import LOST, Place, log_of, place_of

TWO = ("--processes", "2")
ADAPTER = "adapter/adapter.safetensors"
WITHIN = 1e-5
LONG = settings(epochs=None, max_steps=120, checkpoint_every_steps=10)


def finish(running: subprocess.Popen[str], timeout_s: float = 90) -> tuple[int, str]:
    try:
        _, said = running.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        running.terminate()
        raise
    return running.returncode, said


def trained(folder: Path, name: str, *more: str, chosen: dict | None = None, work: str | None = None) -> str:
    code, said = finish(process(folder, command(chosen or settings(), name, work or f"work/{name}", *more)))
    assert code == 0, said
    return said


def apart(ours: Path, theirs: Path) -> tuple[float, float]:
    """Largest difference of the losses, and of the adapters' entries."""
    lines = [[json.loads(line) for line in (f / "history.jsonl").read_text().splitlines()] for f in (ours, theirs)]
    for one, other in zip(*lines, strict=True):
        assert [one[key] for key in ("step", "tokens", "loss_tokens")] == [
            other[key] for key in ("step", "tokens", "loss_tokens")
        ]
    loss = max(abs(one["loss"] - other["loss"]) for one, other in zip(*lines, strict=True))
    adapters = [load_file(f / ADAPTER) for f in (ours, theirs)]
    assert adapters[0].keys() == adapters[1].keys()
    return loss, max(float(np.abs(adapters[0][n] - adapters[1][n]).max()) for n in adapters[0])


def test_two_processes_learn_what_one_does(tmp_path):
    prepare(tmp_path)
    trained(tmp_path, "one")
    said = trained(tmp_path, "two", *TWO)
    assert "2 x cpu in 2 processes, of which this is number 2" in said
    assert max(apart(tmp_path / "two", tmp_path / "one")) <= WITHIN
    assert (tmp_path / "logs/train.process2.log").is_file()


def test_each_process_knows_its_place_and_its_log(monkeypatch):
    for name in ("SHOWWORK_PROCESS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert place_of(1) == Place(0, 1)
    assert place_of(2) is None
    with pytest.raises(ValueError, match="--processes is 0 but must be at least 1"):
        place_of(0)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert place_of(2) == Place(1, 2)
    with pytest.raises(ValueError, match="--processes is 3 but srun started 2 tasks"):
        place_of(3)
    assert log_of(Path("a.log"), Place(0, 2)) == Path("a.log")
    assert log_of(Path("a.log"), Place(1, 2)) == Path("a.process2.log")


@pytest.mark.campaign
@pytest.mark.parametrize("chosen", [settings(), settings(adapter=None, learning_rate=1e-3)], ids=["lora", "full"])
def test_weights_split_over_processes_learn_the_same(tmp_path, chosen):
    prepare(tmp_path)
    trained(tmp_path, "one", chosen=chosen)
    trained(tmp_path, "two", *TWO, "--mesh", "fsdp", chosen=chosen)
    assert max(apart(tmp_path / "two", tmp_path / "one")) <= WITHIN


@pytest.mark.campaign
@pytest.mark.parametrize(("before", "after"), [((), TWO), (TWO, ())], ids=["one to two", "two to one"])
def test_a_checkpoint_goes_on_in_another_number_of_processes(tmp_path, before, after):
    prepare(tmp_path)
    trained(tmp_path, "whole")
    trained(tmp_path, "begun", *before, work="work/moved")
    (last,) = (tmp_path / "work/moved/s").glob("*/checkpoints/8")
    shutil.rmtree(last)
    said = trained(tmp_path, "moved", *after, work="work/moved")
    assert "goes on after step 6 of 8" in said
    assert re.search(r"warning: processes was [12] when the checkpoint was written and is [12] now", said)
    assert max(apart(tmp_path / "moved", tmp_path / "whole")) <= WITHIN


def begun(folder: Path, name: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A long training by two processes with a checkpoint behind it, and the two."""
    running = process(folder, command(LONG, name, f"work/{name}", *TWO))
    end = time.monotonic() + 60
    while not any(p.name.isdigit() for p in (folder / f"work/{name}/s").glob("*/checkpoints/*")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return running, sorted(map(int, children))


@pytest.mark.campaign
def test_processes_that_are_told_to_stop_agree_on_the_step_and_go_on_to_the_same_bits(tmp_path):
    prepare(tmp_path)
    running, both = begun(tmp_path, "stopped")
    os.kill(both[1], signal.SIGTERM)  # one is enough
    code, said = finish(running)
    assert code == 75, said
    steps = re.findall(r"stopped by a signal after step (\d+), checkpointed", said)
    assert len(steps) == 2
    assert steps[0] == steps[1]
    assert not (tmp_path / "stopped").exists()
    said = trained(tmp_path, "stopped", *TWO, chosen=LONG)
    assert f"goes on after step {steps[0]} of 120" in said
    trained(tmp_path, "whole", *TWO, chosen=LONG)
    assert (tmp_path / "stopped" / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()
    assert (tmp_path / "stopped/history.jsonl").read_bytes() == (tmp_path / "whole/history.jsonl").read_bytes()


@pytest.mark.campaign
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_others_soon_and_the_same_command_goes_on(tmp_path, lost):
    prepare(tmp_path)
    running, both = begun(tmp_path, "lost")
    os.kill(both[lost], signal.SIGKILL)
    killed = time.monotonic()
    code, said = finish(running)
    assert time.monotonic() - killed < 15
    assert code == LOST, said
    text = (
        f"process {lost + 1} of 2 of this training was lost (SIGKILL), so the others were ended; run the same command"
    )
    assert text in said
    assert (tmp_path / "logs/train.log").read_text().splitlines()[-1].startswith(text)
    assert not any(Path(f"/proc/{one}").exists() for one in both)
    said = trained(tmp_path, "lost", *TWO, chosen=LONG)
    assert re.search(r"goes on after step \d+ of 120", said)
    trained(tmp_path, "whole", *TWO, chosen=LONG)
    assert (tmp_path / "lost" / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()


@pytest.mark.campaign
def test_a_training_that_another_holds_is_refused_by_all(tmp_path):
    prepare(tmp_path)
    running, _ = begun(tmp_path, "held")
    code, said = finish(process(tmp_path, command(LONG, "held", "work/held", *TWO)))
    running.terminate()
    assert code == 1, said
    assert "is training this session and holds" in said
    assert finish(running)[0] == 75
