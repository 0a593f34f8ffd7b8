"""A session that learns from rewards, in real Snakemake: which rule trains it, and which edits make it stale."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dag import copy_repo, finish, plan

OVERLAY = """
sessions:
  session3: {start_from: %s, train: {method: grpo, grpo: {reference: %s, rewards: {"mine.pay:short": 1.0}}}}
"""
AFTER = {(rule, "session3") for rule in ("grpo", "evaluate", "verdict", "export", "report")}


def overlay(repo: Path, start: str = "session1", reference: str = "start") -> Path:
    file = repo / "overlay.yaml"
    file.write_text(OVERLAY % (start, reference))
    return file


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = copy_repo(tmp_path_factory.mktemp("finished") / "repo")
    (repo / "mine").mkdir()
    (repo / "mine/pay.py").write_text("from mine import much\n\ndef short(attempt):\n    return -attempt.num_tokens\n")
    (repo / "mine/much.py").write_text("MUCH = 1\n")
    finish(repo, "session3", overlays=(overlay(repo),))
    return repo


@pytest.fixture
def repo(finished: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", str(finished), str(tmp_path / "repo")], check=True)
    return tmp_path / "repo"


def test_it_is_trained_by_its_own_rule_from_the_session_named_and_never_by_the_other(repo: Path) -> None:
    subprocess.run(["rm", "-r", str(repo / "results")], check=True)
    jobs = set(plan(repo, "session3", overlays=(repo / "overlay.yaml",)))
    assert {("grpo", "session3"), ("train", "session1"), ("mix", "session3")} <= jobs
    assert not {("train", "session3"), ("grpo", "session1"), ("train", "session2"), ("plan_session", "session3")} & jobs


def test_nothing_changed_reruns_nothing(repo: Path) -> None:
    assert plan(repo, "session3", overlays=(repo / "overlay.yaml",)) == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mine/pay.py", "def short(attempt):\n    return -2 * attempt.num_tokens\n"),
        ("mine/much.py", "MUCH = 2\n"),
    ],
)
def test_an_edit_of_the_users_reward_or_of_what_it_imports_trains_again(repo: Path, file: str, text: str) -> None:
    (repo / file).write_text(text)
    assert set(plan(repo, "session3", overlays=(repo / "overlay.yaml",))) == AFTER


def test_a_comment_in_the_users_reward_trains_nothing(repo: Path) -> None:
    (repo / "mine/pay.py").write_text("# why\n" + (repo / "mine/pay.py").read_text())
    assert plan(repo, "session3", overlays=(repo / "overlay.yaml",)) == {}


def test_code_of_rewards_alone_trains_no_supervised_session_again(repo: Path) -> None:
    asking = repo / "src/showwork/learn/asking.py"
    asking.write_text(asking.read_text() + "\nEDITED = 1\n")
    assert set(plan(repo, "session3", overlays=(repo / "overlay.yaml",))) == AFTER


def test_a_folder_to_start_from_is_read_by_content(repo: Path) -> None:
    (repo / "mine/adapter").mkdir()
    (repo / "mine/adapter/adapter_config.json").write_text("{}")
    (repo / "mine/adapter/adapter_model.safetensors").write_bytes(b"1")
    layers = (overlay(repo, "./mine/adapter", "./mine/adapter"),)
    finish(repo, "session3", overlays=layers)
    assert plan(repo, "session3", overlays=layers) == {}
    (repo / "mine/adapter/adapter_model.safetensors").touch()
    assert plan(repo, "session3", overlays=layers) == {}
    (repo / "mine/adapter/adapter_model.safetensors").write_bytes(b"2")
    assert set(plan(repo, "session3", overlays=layers)) == AFTER


def test_what_the_verdict_chooses_is_planned_once_whatever_it_will_be(tmp_path: Path) -> None:
    repo = copy_repo(tmp_path / "repo")
    file = repo / "auto.yaml"
    file.write_text("sessions: {session3: {train: {method: auto}}}\n")
    jobs = set(plan(repo, "session3", overlays=(file,)))
    assert {("auto", "session3"), ("verdict", "session2"), ("pack", "session2"), ("mix", "session3")} <= jobs
    assert not {("train", "session3"), ("grpo", "session3"), ("verdict", "session1")} & jobs
    finish(repo, "session3", overlays=(file,))
    assert plan(repo, "session3", overlays=(file,)) == {}
    grpo = repo / "src/showwork/grpo.py"
    grpo.write_text(grpo.read_text() + "\nEDITED = 1\n")
    after = {(rule, "session3") for rule in ("auto", "evaluate", "verdict", "export", "report")}
    assert set(plan(repo, "session3", overlays=(file,))) == after
