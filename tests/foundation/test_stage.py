"""How a stage talks: one sentence when it fails, a trace only when the fault is ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from showwork.foundation.files import atomic, read_json
from showwork.foundation.stage import Say, run_stage


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """This stage takes nothing of its own."""


def run(work: Any, log: Path) -> int:
    return run_stage(work, no_arguments, "Doc.", ["--settings", '{"name": "x"}', "--log", str(log)])


def test_sentences_go_to_log_and_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        say(f"made {settings['name']}")

    assert run(work, tmp_path / "logs/x.log") == 0
    assert (tmp_path / "logs/x.log").read_text() == "made x\n"
    assert capsys.readouterr().err.endswith(" x: made x\n")


def test_our_own_errors_are_one_line(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        read_json(tmp_path / "absent.json")

    assert run(work, tmp_path / "x.log") == 1
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "absent.json: no such file" in lines[0]


def test_a_fault_of_ours_leaves_its_trace_in_the_log(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        {}["missing"]

    assert run(work, tmp_path / "x.log") == 1
    text = (tmp_path / "x.log").read_text()
    assert "Traceback" in text
    assert text.splitlines()[-1] == "error: KeyError: 'missing'; the log has the whole trace"


def test_refusal_of_the_file_system_names_the_file(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder").write_text("x")

    assert run(work, tmp_path / "x.log") == 1
    last = (tmp_path / "x.log").read_text().splitlines()[-1]
    assert last.endswith("folder: Is a directory; the file system refused, mend that and run the same command again")


def test_a_full_disk_names_the_file_that_was_written_and_the_way_out(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        with atomic(tmp_path / "rows.json"):
            Path("/dev/full").write_text("x")

    assert run(work, tmp_path / "x.log") == 1
    assert (tmp_path / "x.log").read_text() == (
        f"error: {tmp_path}/rows.json: No space left on device; the file system refused, free space there and run the same "
        "command again\n"
    )


def test_a_log_that_cannot_be_written_hides_nothing_of_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        say("one")
        say.progress(1, 1, "rows")
        {}["missing"]

    assert run(work, Path("/dev/full")) == 1
    said = [line.split(" x: ")[-1] for line in capsys.readouterr().err.splitlines()]
    assert said[:3] == ["one", "the log /dev/full ends here (No space left on device)", "100% 1/1 rows"]
    assert said[3] == "Traceback (most recent call last):"
    assert said[-1] == "error: KeyError: 'missing'; the log has the whole trace"


def test_a_log_that_cannot_be_made_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        say("never reached")

    (tmp_path / "logs").write_text("")
    assert run(work, tmp_path / "logs/x.log") == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("logs: File exists; the file system refused, mend that and run the same command again")


def test_a_stage_chooses_its_exit_status(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        say.exit(75, "interrupted at step 3; run the same command again")

    assert run(work, tmp_path / "x.log") == 75
    assert "step 3" in (tmp_path / "x.log").read_text()


def test_progress_always_says_the_end(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        for i in range(1, 101):
            say.progress(i, 100, "rows")

    assert run(work, tmp_path / "x.log") == 0
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert [line.strip() for line in lines] == ["1% 1/100 rows", "100% 100/100 rows"]


def test_progress_towards_an_unknown_or_estimated_end_claims_no_more_than_is_done(tmp_path: Path) -> None:
    def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
        say.progress(500, 0, "rows")
        say._next = 0.0
        say.progress(120, 100, "rows")

    assert run(work, tmp_path / "x.log") == 0
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert [line.strip() for line in lines] == ["500 rows", "100% 120/120 rows"]
