"""Which edit makes which job stale: the shipped recipe, one finished run, then dry-runs in process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dag import Job, copy_repo, finish, plan

SAMPLES = {
    "session1": ["raiden_deepseek_r1", "openo1_sft_english_20k", "cot_collection_10k", "glaiveai_30k"],
    "session2": ["glaiveai_continuation_100k"],
    "session3": ["glaiveai_further_100k"],
}
SESSIONS = list(SAMPLES)
TARGETS = tuple(SESSIONS)


def after(stage: str, *sessions: str) -> set[Job]:
    """The jobs of `sessions` from `stage` onward, the published dataset included."""
    order = ["mix", "pack", "plan_session", "train", "evaluate", "verdict", "export", "report"]
    published = {("publish", s) for s in sessions if s != "session3"} if stage == "mix" else set()
    return {(rule, s) for rule in order[order.index(stage) :] for s in sessions} - without_plan(stage) | published


def without_plan(stage: str) -> set[Job]:
    """A plan is made from packed rows and the base, never from what training leaves."""
    return {("plan_session", s) for s in SESSIONS} if stage == "train" else set()


def everyone(rule: str) -> set[Job]:
    return {(rule, sample) for samples in SAMPLES.values() for sample in samples}


ASKED = {("heldout",), ("evaluate", "base")}
VERDICTS = {("verdict", s) for s in SESSIONS}
ALL_ASKED = ASKED | {("evaluate", s) for s in SESSIONS} | {("export", s) for s in SESSIONS} | VERDICTS
REPORTS = {("report", s) for s in SESSIONS}
MIX_ONWARD = after("mix", *SESSIONS) | {("publish", "session1"), ("publish", "session2")}
STANDARDIZE_ONWARD = everyone("standardize") | MIX_ONWARD | ALL_ASKED
TRAIN_ONWARD = after("train", *SESSIONS)


def config(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        file = repo / "config.yaml"
        loaded = yaml.safe_load(file.read_text())
        edit(loaded)
        file.write_text(yaml.safe_dump(loaded, sort_keys=False))

    return change


def source(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        file = repo / "src/showwork" / name
        text = file.read_text()
        assert old in text, f"{old!r} is not in {name}"
        file.write_text(text.replace(old, new, 1))

    return change


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        file = repo / "src/showwork" / name
        file.write_text(file.read_text() + text)

    return change


def touch(*patterns: str) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        files = [f for pattern in patterns for f in repo.glob(pattern) if f.is_file()]
        assert files
        for file in files:
            os.utime(file)

    return change


def add_session(c: dict[str, Any]) -> None:
    c["samples"]["glaiveai_fourth"] = {"source": "glaive", "method": "first_n", "start": 230001, "stop": 240000}
    c["sessions"]["session4"] = {"samples": ["glaiveai_fourth"], "start_from": "session3"}


def reorder(c: dict[str, Any]) -> None:
    for block in ("sources", "samples", "train", "template", "evaluate"):
        c[block] = dict(reversed(c[block].items()))


LOCAL = {("download", "raiden_deepseek_r1"), ("sample", "raiden_deepseek_r1"), ("standardize", "raiden_deepseek_r1")}

CASES: dict[str, tuple[Callable[[Path], Any], set[Job]]] = {
    "nothing": (lambda repo: None, set()),
    "OpenO1's n": (
        config(lambda c: c["samples"]["openo1_sft_english_20k"].update(n=15000)),
        {("sample", "openo1_sft_english_20k"), ("standardize", "openo1_sft_english_20k")} | MIX_ONWARD | ALL_ASKED,
    ),
    "a cap on the tasks of CoT-Collection": (
        config(lambda c: c["samples"]["cot_collection_10k"].update(per_task={"column": "task", "at_most": 50})),
        {("sample", "cot_collection_10k"), ("standardize", "cot_collection_10k")} | MIX_ONWARD | ALL_ASKED,
    ),
    "session 2's slice": (
        config(lambda c: c["samples"]["glaiveai_continuation_100k"].update(stop=129000)),
        {(r, "glaiveai_continuation_100k") for r in ("download", "sample", "standardize")}
        | after("mix", "session2", "session3"),
    ),
    "learning rate of all but session 2 and 3": (
        config(lambda c: c["train"].update(learning_rate=1e-4)),
        TRAIN_ONWARD | {("plan_session", "session1")},
    ),
    "learning rate of session 2": (
        config(lambda c: c["sessions"]["session2"]["train"].update(learning_rate=1e-6)),
        after("train", "session2", "session3") | {("plan_session", "session2")},
    ),
    "values of two settings swapped": (
        config(lambda c: c["train"].update(beta1=c["train"]["beta2"], beta2=c["train"]["beta1"])),
        TRAIN_ONWARD | {("plan_session", s) for s in SESSIONS},
    ),
    "rollouts of a group, which no session reads": (config(lambda c: c["train"]["grpo"].update(group_size=16)), set()),
    "learning rate written as text": (config(lambda c: c["train"].update(learning_rate="2e-5")), set()),
    "system prompt": (
        config(lambda c: c["template"].update(system_prompt="Think.")),
        after("pack", *SESSIONS) | ALL_ASKED - {("heldout",)} | REPORTS,
    ),
    "one filter of raiden": (
        config(lambda c: c["sources"]["raiden"].update(filters={})),
        {("standardize", "raiden_deepseek_r1")} | MIX_ONWARD | ALL_ASKED,
    ),
    "revision of openo1": (
        config(lambda c: c["sources"]["openo1"].update(revision="a" * 40)),
        {(r, "openo1_sft_english_20k") for r in ("download", "sample", "standardize")} | MIX_ONWARD | ALL_ASKED,
    ),
    "new tokens of evaluation": (
        config(lambda c: c["evaluate"].update(max_new_tokens=512)),
        {("evaluate", "base")} | {("evaluate", s) for s in SESSIONS} | VERDICTS | REPORTS,
    ),
    "a threshold of the verdict": (config(lambda c: c["verdict"].update(looping=0.05)), VERDICTS | REPORTS),
    "the user's own questions edited": (
        lambda repo: (repo / "exam.jsonl").write_text('{"question": "Who?"}\n'),
        {("evaluate", "base")} | after("mix", *SESSIONS),
    ),
    "the user's own questions touched": (touch("exam.jsonl"), set()),
    "a judge": (
        config(lambda c: c.update(judge={"url": "http://localhost:8000/v1", "model": "m"})),
        {("judge", model) for model in ("base", *SESSIONS)} | REPORTS,
    ),
    "keys in another order": (config(reorder), set()),
    "comments of config.yaml": (
        lambda repo: (repo / "config.yaml").write_text("# new\n" + (repo / "config.yaml").read_text()),
        set(),
    ),
    "a session added": (
        config(add_session),
        {(r, "glaiveai_fourth") for r in ("download", "sample", "standardize")}
        | {
            (r, "session4") for r in ("mix", "pack", "plan_session", "train", "evaluate", "verdict", "export", "report")
        },
    ),
    "a slice of a source added to a session": (
        config(
            lambda c: (
                c["samples"].update(more={"source": "glaive", "method": "first_n", "start": 230001, "stop": 230100}),
                c["sessions"]["session3"]["samples"].append("more"),
            )
        ),
        {(r, "more") for r in ("download", "sample", "standardize")} | after("mix", "session3"),
    ),
    "standardize.py": (append("standardize.py", "\nEDITED = 1\n"), STANDARDIZE_ONWARD),
    "a comment in standardize.py": (append("standardize.py", "\n# a note\n"), set()),
    "a docstring in train.py": (source("train.py", '"""', '"""Edited. '), set()),
    "train.py": (append("train.py", "\nEDITED = 1\n"), TRAIN_ONWARD),
    "a module only train imports": (append("learn/loop.py", "\nEDITED = 1\n"), TRAIN_ONWARD),
    "a template of the report": (append("page/style.css", "\nbody { margin: 0 }\n"), REPORTS),
    "the checker": (append("foundation/config.py", "\nEDITED = 1\n"), set()),
    "an error text": (source("foundation/manifest.py", "damaged since it was made", "broken since"), set()),
    "how stages talk": (append("foundation/stage.py", "\nEDITED = 1\n"), set()),
    "a module every stage imports": (
        append("foundation/files.py", "\nEDITED = 1\n"),
        {("download_base",)} | everyone("download") | everyone("sample") | STANDARDIZE_ONWARD,
    ),
    "every file touched (a checkout)": (touch("src/**/*.py", "workflow/**/*", "Snakefile", "config.yaml"), set()),
    "manifests touched": (touch("results/**/*.json"), set()),
    "large data touched": (touch("results/**/*.parquet", "results/**/*.npy"), set()),
    "a local source touched": (touch("raiden/*.csv"), set()),
    "a local source edited": (
        lambda repo: (repo / "raiden/Raiden_DSR1_Part1.csv").write_text("prompt,response\nx,y\n"),
        LOCAL | MIX_ONWARD | ALL_ASKED,
    ),
    "an environment file": (lambda repo: (repo / "envs/data.yaml").write_text("dependencies: [python]\n"), set()),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = copy_repo(tmp_path_factory.mktemp("finished") / "repo")
    (repo / "raiden").mkdir()
    (repo / "raiden/Raiden_DSR1_Part1.csv").write_text("prompt,response\na,b\n")
    (repo / "exam.jsonl").write_text('{"question": "Why?"}\n')
    config(
        lambda c: (c["sources"]["raiden"].update(path="raiden"), c["evaluate"].update(questions={"exam": "exam.jsonl"}))
    )(repo)
    finish(repo, *TARGETS)
    return repo


@pytest.fixture
def repo(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that one test may edit, at the same times of change."""
    subprocess.run(["cp", "-a", str(finished), str(tmp_path / "repo")], check=True)
    return tmp_path / "repo"


@pytest.mark.parametrize("name", CASES)
def test_edit_makes_exactly_these_jobs_stale(name: str, repo: Path) -> None:
    edit, expected = CASES[name]
    edit(repo)
    assert set(plan(repo, *sorted(set(TARGETS) | ({"session4"} if name == "a session added" else set())))) == expected


def test_target_takes_only_what_it_needs(repo: Path) -> None:
    shutil.rmtree(repo / "results")
    jobs = set(plan(repo, "session1"))
    assert ("train", "session1") in jobs
    assert not {job for job in jobs if job[-1] in {"session2", "session3", "glaiveai_continuation_100k"}}


def test_session2_builds_exactly_what_is_missing(repo: Path) -> None:
    shutil.rmtree(repo / "results/train/session2")
    assert set(plan(repo, "session2")) == after("train", "session2")


def test_data_target_trains_nothing(repo: Path) -> None:
    shutil.rmtree(repo / "results")
    assert {job[0] for job in plan(repo, "data")} == {"download", "sample", "standardize", "heldout", "mix"}


def test_plan_target_trains_nothing(repo: Path) -> None:
    shutil.rmtree(repo / "results")
    rules = {job[0] for job in plan(repo, "plan")}
    assert rules == {"download", "download_base", "sample", "standardize", "heldout", "mix", "pack", "plan_session"}
