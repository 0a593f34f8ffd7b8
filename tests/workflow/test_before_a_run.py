"""What a person sees before anything runs: sentences, warnings, refusals; and that two runs do not touch each other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dag import copy_repo, finish, plan

REPO = Path(__file__).parents[2]


def snakemake(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments], cwd=repo, capture_output=True, text=True, check=False
    )


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return copy_repo(tmp_path / "repo")


def test_dry_run_reads_as_sentences_with_reasons(repo: Path) -> None:
    done = snakemake(repo, "-n", "session1")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    for sentence in (
        "Download what sample glaiveai_30k needs.",
        "Sample openo1_sft_english_20k.",
        "Standardize cot_collection_10k into question, trace and answer.",
        "Mix session1: join its samples, remove duplicates, shuffle.",
        "Pack session1 into rows of tokens.",
        "Train session1.",
        "Evaluate base on the held-out questions.",
        "Write the report of session1.",
    ):
        assert sentence in said
    assert said.count("Reason: ") >= 23
    assert "Traceback" not in said


def test_unknown_revision_plans_with_a_warning(repo: Path) -> None:
    done = snakemake(repo, "-n", "session2")
    assert done.returncode == 0
    said = done.stdout + done.stderr
    assert "sources.glaive.revision is null" in said
    assert "model.revision is null" in said
    assert "snakemake --cores 1 lock" in said


@pytest.mark.parametrize("session", ["session1", "session2", "session3"])
def test_every_session_of_the_shipped_config_plans(repo: Path, session: str) -> None:
    jobs = set(plan(repo, session))
    assert ("train", session) in jobs
    assert ("report", session) in jobs


def test_only_the_download_refuses_an_unknown_revision(repo: Path) -> None:
    done = snakemake(repo, "--cores", "1", "results/download/glaiveai_30k.json")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "revision" in said
    assert "snakemake --cores 1 lock" in (repo / "logs/download/glaiveai_30k.log").read_text()
    assert not (repo / "results/download/glaiveai_30k.json").exists()


def test_bad_config_starts_no_job(repo: Path) -> None:
    config = repo / "config.yaml"
    config.write_text(
        config.read_text().replace("batch_size: 2 ", "batch_sise: 2 ").replace("method: full", "method: ful")
    )
    for arguments in (("-n", "session1"), ("--cores", "1", "session1")):
        done = snakemake(repo, *arguments)
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert "no job was started" in said
        assert "did you mean 'batch_size'?" in said
        assert "did you mean 'full'?" in said
        assert "Traceback" not in said
    assert not (repo / "results").exists()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def parts_of_a_real_run(repo: Path) -> dict[str, bytes]:
    return {
        f"{part}/{name}": content
        for part in ("results", "work", "logs", ".snakemake/metadata")
        if (repo / part).is_dir()
        for name, content in files_of(repo / part).items()
    }


def test_demo_and_real_run_touch_nothing_of_each_other(repo: Path) -> None:
    recipe = repo / "workflow/recipes/demo.yaml"
    finish(repo, "session1")
    real = parts_of_a_real_run(repo)
    demo = ["--configfile", str(recipe), "--directory", "demo"]
    done = snakemake(repo, "--cores", "2", "results/standardize/raiden_deepseek_r1.json", *demo)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (repo / "demo/results/standardize/raiden_deepseek_r1.parquet").is_file()
    assert parts_of_a_real_run(repo) == real
    assert plan(repo, "session1") == {}

    made = files_of(repo / "demo")
    shutil.rmtree(repo / "results")
    finish(repo, "session1")
    assert files_of(repo / "demo") == made
    again = snakemake(repo, "--cores", "2", "results/standardize/raiden_deepseek_r1.json", *demo)
    assert "Nothing to be done" in again.stdout + again.stderr
