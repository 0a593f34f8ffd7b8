from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from look.shown import SRC, run
from small_results import STEPS, without

from showwork.look.running import RECENT, lines_of, running
from showwork.look.watch import sparkline

GONE = 2**22 + 1
"""More than the kernel ever gives a process."""


class Made:
    """The files of a session that is being trained: 10 packed rows, 2 a step, 3 epochs: 15 steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "work/train/session1/0123456789abcdef"
        train = {"method": "sft", "rows_per_step": 2, "epochs": 3, "max_steps": None}
        self.write(self.home / "identity.json", {"settings": {"train": train}})
        for stage in ("mix", "pack"):
            self.write(folder / f"results/{stage}/session1/manifest.json", {"counts": {"rows": 10}})

    def write(self, path: Path, content: object, age_s: float = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        os.utime(path, times=(time.time() - age_s,) * 2)
        return path

    def steps(self, num: int, *, seconds: float = 2.0, age_s: float = 0, **more: object) -> None:
        """`num` steps, the first of which took 100 s."""
        lines = [{"step": n, "loss": 5.0 - n / 10, "skipped": 0, **more} for n in range(1, num + 1)]
        clock = [
            {"step": n, "seconds": 100.0 if n == 1 else seconds, "tokens": 300, "peak_bytes": 3 << 29}
            for n in range(1, num + 1)
        ]
        for name, rows in (("history", lines), ("timing", clock)):
            self.write(self.home / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows), age_s)

    def trainer(self, pid: int, host: str = socket.gethostname()) -> None:
        self.write(self.folder / "work/train/session1/lock", f"process {pid} on {host}")

    def seen(self, capsys: pytest.CaptureFixture[str]) -> str:
        status, said, complaint = run(capsys, "watch", "session1", "--directory", self.folder)
        assert (status, complaint) == (0, "")
        return said


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_a_training_shows_steps_loss_speed_time_left_checkpoint_and_what_is_said(made, capsys):
    made.steps(5)
    made.trainer(os.getpid())
    for step in (2, 4):
        made.write(made.home / f"checkpoints/{step}/cursor/metadata", "")
        os.utime(made.home / f"checkpoints/{step}", times=(time.time() - 75,) * 2)
    (made.home / "checkpoints/5.orbax-checkpoint-tmp-7").mkdir()
    made.write(made.folder / "logs/train/session1.log", "first\n 33% 5/15 loss 4.5000\n", age_s=7)
    made.write(made.folder / "logs/evaluate/base.log", "30% 90/300 completions\x1b[2J\n", age_s=8)
    made.write(made.folder / "logs/mix/session2.log", "another session's\n", age_s=1)
    made.write(made.folder / "logs/sample/all_glaive.log", "100 rows\n", age_s=400)
    said = made.seen(capsys)
    until = re.search(r"until about (\w+ \d\d:\d\d)", said)
    assert until
    assert said.splitlines() == [
        "session1    mix ✓  pack ✓  plan ·  train …  evaluate ·  verdict ·  export ·  report ·",
        "step        5 of 15, 33%",
        "loss        4.9000 █▆▅▃▁ 4.7000 (first step, mean of the last 5)",
        "speed       150 tokens/s, 2 s a step, 1.5 GiB at most",
        f"left        20 s of training, until about {until[1]}",
        "checkpoint  step 4, 1 min 15 s ago",
        "now         train session1: 33% 5/15 loss 4.5000 (7 s ago)",
        "            evaluate base: 30% 90/300 completions␛[2J (8 s ago)",
    ]


def test_before_the_first_step_it_is_said_that_there_is_none(made, capsys):
    made.trainer(os.getpid())
    said = made.seen(capsys)
    assert "step        none yet; the base is loaded and the step compiled\n" in said
    assert "checkpoint  none yet" in said
    assert "look" not in said


def test_the_identity_that_was_started_last_is_the_one_that_is_watched(made):
    made.steps(5)
    other = made.folder / "work/train/session1/fedcba9876543210/identity.json"
    made.write(other, (made.home / "identity.json").read_text(), age_s=500)
    made.write(other.with_name("history.jsonl"), '{"step": 9, "loss": 1.0, "skipped": 0}\n')
    assert running(made.folder, "session1", time.time()).step == 5


def worries(made: Made) -> list[str]:
    return running(made.folder, "session1", time.time()).worries()


def test_a_healthy_training_gives_no_worry(made):
    made.steps(12)
    made.trainer(os.getpid())
    assert worries(made) == []


def test_a_trainer_that_is_gone_is_noticed_unless_an_earlier_stage_is_at_work_or_it_is_of_another_machine(made):
    made.steps(5)
    made.trainer(GONE)
    assert worries(made) == [
        f"process {GONE} on {socket.gethostname()} is gone and 5 of 15 steps are done; run the same snakemake command again: "
        "it goes on from the last checkpoint"
    ]
    made.write(made.folder / "logs/pack/session1.log", "10 of 100 records\n")
    assert worries(made) == []
    (made.folder / "logs/pack/session1.log").unlink()
    made.trainer(GONE, "another-machine")
    assert worries(made) == []


def test_silence_counts_by_the_usual_length_of_a_step(made):
    made.trainer(os.getpid())
    made.steps(5, seconds=2.0, age_s=59)
    assert worries(made) == []
    made.steps(5, seconds=2.0, age_s=61)
    assert worries(made)[0].startswith("no step has ended for 1 min 1 s, one usually takes 2 s; if process ")
    made.steps(5, seconds=7.0, age_s=61)
    assert worries(made) == []


def test_skipped_steps_a_loss_that_rises_an_adapter_that_stands_still_and_a_failed_job_are_said(made):
    made.trainer(os.getpid())
    made.steps(2 * RECENT, share_moved=0.0)
    lines = lines_of(made.home / "history.jsonl")
    for line in lines:
        line["loss"] = line["step"] / 10
        line["skipped"] = 0 if line["step"] < 30 else 1
    lines[29]["loss"] = None
    made.write(made.home / "history.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    made.write(made.folder / "logs/evaluate/base.log", "one\nerror: no room; delete something\n", age_s=3)
    assert worries(made) == [
        "evaluate base failed: no room; delete something",
        "1 step was skipped, the last at step 30: the loss or its gradient was not finite",
        "no entry of the adapter has moved from its start: the learning rate may be too small",
    ]
    lines[29]["loss"] = 3.0
    made.write(made.home / "history.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert worries(made)[-1] == f"the loss rises: 3.0500 over the last {RECENT} steps, 1.0500 over the first"


def test_of_a_policy_the_reward_is_shown_and_its_loss_gives_no_worry(made, capsys):
    made.trainer(os.getpid())
    made.steps(2 * RECENT, reward=0.5)
    said = made.seen(capsys)
    assert "reward      0.5000 ▁▁" in said
    assert "look" not in said


def test_a_line_that_is_being_written_is_not_there_yet_and_a_damaged_one_is_named(tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert lines_of(file) == [{"step": 1}, {"step": 2}]
    file.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=rf"{file}: line 2 is no JSON"):
        lines_of(file)


def test_a_sparkline_shows_means_of_equal_parts_and_marks_what_is_not_finite():
    assert sparkline([4.0, 3.0, 2.0, None, 1.0, 1.0], 3) == "█▄▁"
    assert sparkline([1.0, None, 1.0], 48) == "▁×▁"
    assert sparkline([], 48) == ""


def test_a_session_is_complete_once_its_report_is_younger_than_all_that_its_jobs_said(made, capsys):
    made.steps(15)
    made.write(made.folder / "results/train/session1/manifest.json", {})
    made.write(made.folder / "logs/train/session1.log", "15 steps done\n", age_s=60)
    made.write(made.folder / "results/report/session1.html", "", age_s=30)
    said = made.seen(capsys)
    assert said.endswith(" complete; its report is results/report/session1.html\n")
    assert "\nnow " not in said
    assert "checkpoint" not in said
    made.write(made.folder / "logs/train/session1.log", "goes on\n")
    assert "complete" not in made.seen(capsys)


def test_what_a_real_training_left_is_read(small, capsys):
    assert f"\nstep        {STEPS} of {STEPS}, 100%\nloss        " in run(
        capsys, "watch", "session1", "--directory", small
    )[1]  # fmt: skip
    assert "train ·" in run(capsys, "watch", "session2", "--directory", small)[1]


def test_without_work_the_stages_that_are_done_are_still_said(small, tmp_path, capsys):
    folder = without(small, tmp_path / "results-only")
    assert run(capsys, "watch", "session1", "--directory", folder)[1].startswith("session1  mix ✓  pack ✓")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("sesion1",), "did you mean session1?; there is session1"),
        (("session1", "--every", "0"), "--every is 0 but must be above 0 seconds"),
    ],
)
def test_what_cannot_be_watched_is_refused(made, capsys, argv, said):
    status, out, complaint = run(capsys, "watch", *argv, "--directory", made.folder)
    assert (status, out) == (1, "")
    assert said in complaint


def test_a_folder_without_a_run_is_refused_and_a_run_that_only_begins_is_waited_for(tmp_path, capsys):
    assert "start the run first" in run(capsys, "watch", "session1", "--directory", tmp_path)[2]
    (tmp_path / "logs").mkdir()
    assert run(capsys, "watch", "session1", "--directory", tmp_path)[1].endswith("nothing has been said yet\n")


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def test_ctrl_c_on_a_terminal_leaves_and_nothing_of_the_run_has_changed(made):
    made.steps(5)
    made.trainer(os.getpid())
    before = stamps(made.folder)
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "showwork.cli",
        "watch",
        "session1",
        "--directory",
        str(made.folder),
        "--every",
        "0.2",
    ]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONPATH": SRC}
    begun = signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # as at a terminal: a job in the background would hand on "ignored"
    try:
        process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment)
    finally:
        signal.signal(signal.SIGINT, begun)
    with process:
        os.close(theirs)
        said = b""
        while said.count(b"5 of 15") < 2:  # it has looked twice
            said += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()  # or leaving the block would wait for one that does not end
    os.close(ours)
    assert b"Traceback" not in said
    assert stamps(made.folder) == before


def test_on_a_terminal_it_ends_by_itself_when_the_session_is_complete(made):
    made.steps(5)
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "showwork.cli",
        "watch",
        "session1",
        "--directory",
        str(made.folder),
        "--every",
        "0.1",
    ]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONPATH": SRC}
    with subprocess.Popen(command, stdout=theirs, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        said = b""
        while b"5 of 15" not in said:
            said += os.read(ours, 65536)
        made.write(made.folder / "results/train/session1/manifest.json", {})
        made.write(made.folder / "results/report/session1.html", "")
        while b"complete" not in said:
            said += os.read(ours, 65536)
        assert process.wait(timeout=30) == 0
    os.close(ours)
