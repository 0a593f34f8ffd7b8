"""How far a session has got, from the files that its run leaves while it goes. Nothing is locked, written or signalled.

Takes:  results/ (what is finished), work/train/<session>/ (each step as it ends, checkpoints), logs/ (what each job says).
Leaves: a Running: stages, steps, speed, time left, the newest checkpoint, what a person should worry about.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from showwork.foundation.files import read_json
from showwork.learn.data import num_steps

STAGES = {
    "mix": "results/mix/{}/manifest.json",
    "pack": "results/pack/{}/manifest.json",
    "plan": "results/plan/{}.json",
    "train": "results/train/{}/manifest.json",
    "evaluate": "results/evaluate/{}/manifest.json",
    "verdict": "results/verdict/{}.json",
    "export": "results/export/{}/certificate.json",
    "report": "results/report/{}.html",
}
"""What a session's stage leaves last, in the order in which they run."""

RECENT = 20
"""Steps that make up a speed, or one end of the loss."""
SILENT_S = 60.0
SILENT_STEPS = 10
"""A trainer that has been silent for so long, and for so many steps of its usual length, is worth a look."""


@dataclass(frozen=True)
class Running:
    """`begun`: a trainer has started on what lies there now. Ages are in seconds."""

    session: str
    begun: bool = False
    done: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)
    steps: int | None = None
    step_age_s: float | None = None
    checkpoint: int | None = None
    checkpoint_age_s: float | None = None
    trainer: str = ""
    trainer_gone: bool = False
    said: list[tuple[str, str, float]] = field(default_factory=list)
    """(job, the last line of its log, its age in seconds), the newest first."""
    finished: bool = False

    @property
    def step(self) -> int:
        """Steps done."""
        return self.history[-1]["step"] if self.history else 0

    @property
    def training(self) -> bool:
        """Whether the trainer is at work, or has stopped before its end."""
        return self.begun and "train" not in self.done

    @property
    def step_s(self) -> float | None:
        """Seconds of a step: the median of the last ones. The first, which compiles, counts only while it is alone."""
        lines = [line["seconds"] for line in self.timing]
        return median(lines[1:][-RECENT:] or lines) if lines else None

    @property
    def tokens_per_s(self) -> float | None:
        """Over the last steps."""
        lines = (self.timing[1:] or self.timing)[-RECENT:]
        seconds = sum(line["seconds"] for line in lines)
        return sum(line["tokens"] for line in lines) / seconds if seconds else None

    @property
    def left_s(self) -> float | None:
        """Seconds of training that are left, at the speed of the last steps."""
        if not self.training or self.steps is None or self.step_s is None:
            return None
        return (self.steps - self.step) * self.step_s

    def worries(self) -> list[str]:
        """One sentence for each thing that a person should look at."""
        found = [
            f"{job} failed: {line.removeprefix('error: ')}" for job, line, _ in self.said if line.startswith("error:")
        ]
        if self.history:
            found += _of_history(self.history)
        if not self.training:
            return found
        again = "run the same snakemake command again: it goes on from the last checkpoint"
        busy = any(age < SILENT_S for job, _, age in self.said if job != f"train {self.session}")
        if self.trainer_gone and not busy:  # else what it is trained on is being made anew
            found.append(f"{self.trainer} is gone and {self.step:,} of {_number(self.steps)} steps are done; {again}")
        elif self.step_age_s is not None and self.step_age_s > max(SILENT_S, SILENT_STEPS * (self.step_s or SILENT_S)):
            usual = f", one usually takes {self.step_s:.3g} s" if self.step_s else ""
            found.append(
                f"no step has ended for {span(self.step_age_s)}{usual}; if {self.trainer or 'the trainer'} is no longer at "
                f"work {again}"
            )
        return found


def _of_history(history: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    if skipped := history[-1]["skipped"]:
        at = [
            b["step"] for a, b in zip([{"skipped": 0}, *history], history, strict=False) if b["skipped"] > a["skipped"]
        ]
        found.append(
            f"{skipped:,} {'step was' if skipped == 1 else 'steps were'} skipped, the last at step {at[-1]:,}: the loss or "
            "its gradient was not finite"
        )
    moved = [line["share_moved"] for line in history if "share_moved" in line]
    if moved and moved[-1] == 0:
        found.append("no entry of the adapter has moved from its start: the learning rate may be too small")
    # The loss of a policy gradient says nothing by its size; those lines have a reward.
    losses = [line["loss"] for line in history if line["loss"] is not None and "reward" not in line]
    if len(losses) >= 2 * RECENT:
        first, last = (sum(part) / RECENT for part in (losses[:RECENT], losses[-RECENT:]))
        if last > first:
            found.append(f"the loss rises: {last:.4f} over the last {RECENT} steps, {first:.4f} over the first")
    return found


def running(directory: Path, session: str, now: float) -> Running:
    """What the files say at `now` (s since the epoch). A session of which there is nothing yet has no stage done and no step.

    Raises: ValueError when a file there is damaged.
    """
    done = [stage for stage, file in STAGES.items() if (directory / file.format(session)).is_file()]
    said = _said(directory, session, now)
    home = _home(directory / "work/train" / session)
    report = directory / STAGES["report"].format(session)
    own = [directory / f"logs/{stage}/{session}.log" for stage in STAGES if stage != "report"]
    return Running(
        session,
        done=done,
        said=said,
        finished="report" in done and all(_age(p, report.stat().st_mtime) >= 0 for p in own if p.is_file()),
        **(_of_training(directory, session, home, now) if home else {}),
    )


def _of_training(directory: Path, session: str, home: Path, now: float) -> dict[str, Any]:
    trainer, gone = _trainer(home.parent / "lock")
    checkpoints = [p for p in home.glob("checkpoints/*") if p.name.isdecimal()]
    newest = max(checkpoints, key=lambda p: int(p.name), default=None)
    return {
        "begun": True,
        "history": lines_of(home / "history.jsonl"),
        "timing": lines_of(home / "timing.jsonl"),
        "steps": _steps(directory, session, home),
        "step_age_s": _age(home / "history.jsonl", now) if (home / "history.jsonl").is_file() else None,
        "checkpoint": int(newest.name) if newest else None,
        "checkpoint_age_s": _age(newest, now) if newest else None,
        "trainer": trainer,
        "trainer_gone": gone,
    }


def _home(folder: Path) -> Path | None:
    """The identity that a trainer started last; it notes its identity before all else."""
    started = list(folder.glob("*/identity.json"))
    return max(started, key=lambda p: p.stat().st_mtime).parent if started else None


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file that may be being written; a last line without its end is not there yet.

    Raises: ValueError naming the line that is no JSON.
    """
    data = path.read_bytes() if path.is_file() else b""
    whole = data[: data.rfind(b"\n") + 1]
    decoder = msgspec.json.Decoder()
    try:
        return decoder.decode_lines(whole)
    except msgspec.DecodeError:
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                decoder.decode(line)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path}: line {number} is no JSON ({error}); the file is damaged") from None
        raise


def _steps(directory: Path, session: str, home: Path) -> int | None:
    """Steps of the whole training: counted from the rows that lie there as the trainer counts them, else as planned."""
    train = read_json(home / "identity.json")["settings"]["train"]
    packed, plan = (directory / STAGES[stage].format(session) for stage in ("pack", "plan"))
    if train.get("time_budget") is not None:
        chosen = home / "budget.json"
        return read_json(chosen)["steps"] if chosen.is_file() else None
    if train["method"] == "sft" and packed.is_file():
        each = {"batch_size": train["rows_per_step"], "gradient_accumulation": 1}
        return num_steps({**train, **each}, read_json(packed)["counts"]["rows"])
    return read_json(plan)["steps"] if plan.is_file() else None


def _trainer(lock: Path) -> tuple[str, bool]:
    """(`process 12 on host`, whether it has ended for certain).

    The lock itself is never taken: a trainer that starts at that moment would be refused.
    """
    text = lock.read_text().strip() if lock.is_file() else ""
    match = re.fullmatch(r"process ([0-9]+) on (.+)", text)
    if not match or match[2] != socket.gethostname():
        return text, False
    try:
        os.kill(int(match[1]), 0)  # sends nothing, only asks whether it is there
    except ProcessLookupError:
        return text, True
    except PermissionError:  # it is there, of another user
        return text, False
    return text, False


def _said(directory: Path, session: str, now: float) -> list[tuple[str, str, float]]:
    """The last lines of the logs of this session's jobs, of the data's and of the base's, not of other sessions'."""
    logs = sorted(directory.glob("logs/*/*.log"))
    others = {log.stem for log in logs if log.parent.name in STAGES} - {session, "base"}
    found = [
        (f"{p.parent.name} {p.stem}", _tail(p)[-1], _age(p, now)) for p in logs if p.stem not in others and _tail(p)
    ]
    return sorted(found, key=lambda job: job[2])


def sessions_of(directory: Path) -> list[str]:
    """The sessions of which there is anything."""
    folders = ("results/mix/*/", "results/train/*/", "work/train/*/")
    return sorted({path.name for pattern in folders for path in directory.glob(pattern)})


def _tail(path: Path, size: int = 4096) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]


def _age(path: Path, now: float) -> float:
    return now - path.stat().st_mtime


def _number(steps: int | None) -> str:
    return "?" if steps is None else f"{steps:,}"


def span(seconds: float) -> str:
    """A length of time by its two largest units.

    >>> span(7), span(75), span(7_500), span(200_000)
    ('7 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    whole = int(seconds)
    for unit, size, below, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {below}"
    return f"{max(whole, 0)} s"
