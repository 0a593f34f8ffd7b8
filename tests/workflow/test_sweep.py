"""A sweep in the plan: shared stages once, one value one run; what its target and the sessions' ask for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from dag import copy_repo, finish, plan

SWEEP = {
    "rates": {"session": "session1", "over": {"learning_rate": [1e-5, 4e-5], "seed": [1, 2]}},
    "mixes": {
        "session": "session1",
        "over": {"samples": {"less": ["raiden_deepseek_r1", "glaiveai_30k"]}, "adapter.rank": [16, 64]},
    },
}


def configure(repo: Path, sweep: object) -> None:
    file = repo / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"sweep": sweep}, sort_keys=False))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = copy_repo(tmp_path / "repo")
    configure(repo, SWEEP)
    return repo


def test_shared_stages_run_once_and_each_run_once(repo: Path) -> None:
    assert Counter(job[0] for job in plan(repo, "sweep")) == {
        "download": 4, "download_base": 1, "sample": 4, "standardize": 4, "heldout": 1,
        "mix": 2, "pack": 2, "train": 6, "evaluate": 7, "verdict": 6, "sweep_table": 2,
    }  # fmt: skip


def test_a_value_that_changes_or_comes_reruns_only_its_own_runs(repo: Path) -> None:
    finish(repo, "sweep")
    assert set(plan(repo, "sweep")) == set()
    new = {"session": "session1", "over": {"learning_rate": [1e-5, 8e-5], "seed": [1, 2]}}
    configure(repo, SWEEP | {"rates": new})
    runs = [f"rates_learning_rate_8e_05_seed_{seed}" for seed in (1, 2)]
    own = {(rule, run) for rule in ("train", "evaluate", "verdict") for run in runs}
    assert set(plan(repo, "sweep")) == own | {("sweep_table", "rates")}


def test_no_session_depends_on_a_sweep_nor_on_a_later_session_and_the_index_needs_all(repo: Path) -> None:
    jobs = set(plan(repo, "session1"))
    assert {job[1] for job in jobs if job[0] == "train"} == {"session1"}
    assert ("index",) not in jobs
    assert sum(job[0] == "train" for job in plan(repo, "results/report/index.html")) == 9
    assert ("index",) in plan(repo)


def test_without_a_sweep_its_target_says_how_to_write_one(repo: Path) -> None:
    configure(repo, {})
    assert {job for job in plan(repo, "session1") if "rates" in job[-1]} == set()
