"""The whole path on a miniature of the demo, by real Snakemake: it ends, it repeats, it recovers."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from showwork.foundation.files import sha256_file
from showwork.look.fates import Fates
from showwork.look.results import Results
from showwork.look.told import told

REPO = Path(__file__).parents[2]
OVERLAYS = [str(REPO / "workflow/recipes/demo.yaml"), str(REPO / "tests/fixtures/miniature.yaml")]
SECRET = "hf_planted-in-the-environment-0123456789"
LOST = ("dropped", "rejected", "removed")
LEFT = [
    "results/report/session1.html",
    "results/train/session1/adapter/adapter.safetensors",
    "results/train/session1/history.jsonl",
    "results/evaluate/base/metrics.json",
    "results/evaluate/session1/metrics.json",
    "results/export/session1/certificate.json",
    "results/export/session1/peft/adapter_model.safetensors",
    "results/export/session1/merged/model.safetensors",
    "results/plan/session1.txt",
    "results/publish/session1.json",
]


def command(folder: Path, *arguments: str) -> list[str]:
    base = [sys.executable, "-m", "snakemake", "--cores", "2", "--snakefile", str(REPO / "Snakefile")]
    return [*base, *arguments, "--directory", str(folder), "--configfile", *OVERLAYS]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    secret = {name: SECRET for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")}
    return subprocess.run(
        command(folder, *arguments), cwd=REPO, capture_output=True, text=True, check=False, env={**os.environ, **secret}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "run"
    folder.mkdir()
    done = snakemake(folder, "session1")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    return folder


def test_every_product_of_a_session_is_left(finished: Path) -> None:
    assert [name for name in LEFT if not (finished / name).is_file()] == []
    certificate = json.loads((finished / "results/export/session1/certificate.json").read_text())
    assert certificate["stage"] == "export"
    history = (finished / "results/train/session1/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in history] == list(range(1, 13))


def test_a_secret_of_the_environment_is_in_nothing_that_a_run_writes_or_says(finished: Path) -> None:
    """Data, manifests, reports, logs, checkpoints, compiled programs, what Snakemake keeps: as text, or in base64 as headers have it."""
    files = [path for path in finished.rglob("*") if path.is_file()]
    assert {"said.txt", "session1.html", "session1.log", "adapter.safetensors"} <= {path.name for path in files}
    forms = [SECRET.encode(), base64.b64encode(SECRET.encode())[:-2], SECRET.encode("utf-16-le")]
    assert [path for path in files if any(form in path.read_bytes() for form in forms)] == []
    records = pq.read_table(
        finished / "results/mix/session1/train.parquet"
    )  # compressed on disk, so read it as it is used
    assert SECRET not in str(records.to_pylist())


def test_second_run_has_nothing_to_do(finished: Path) -> None:
    done = snakemake(finished, "session1")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_every_source_row_has_a_fate_that_is_its_truth_and_all_add_up_to_the_counts(finished: Path) -> None:
    fates = Fates(Results(finished))
    truth = json.loads((finished / "sources/truth.json").read_text())["sources"]
    lost: Counter[tuple[str, str, str]] = Counter()
    ended: Counter[str] = Counter()
    for source, (sample,) in fates.results.sources().items():
        for row, (story,) in fates.of(source, range(len(truth[source]))).items():
            expected, last = truth[source][row], story.steps[-1]
            assert all(told(step) for step in story.steps)
            if last.outcome in ("dropped", "rejected") and last.stage in ("sample", "standardize"):
                assert (last.outcome, last.facts["reason"]) == (expected["expected"], expected["reason"]), (source, row)
            elif story.of("mix"):
                assert expected["expected"] in ("kept", "duplicate"), (source, row)
            lost.update(
                (sample, step.stage, step.facts["reason"])
                for step in story.steps
                if step.outcome in LOST and step.stage != "pack"
            )
            ended.update(f"{step.stage} {step.outcome}" for step in story.steps)
    counted: Counter[tuple[str, str, str]] = Counter()
    for sample, branch in json.loads((finished / "results/mix/session1/manifest.json").read_text())["counts"][
        "samples"
    ].items():
        for stage, key in (("sample", "dropped"), ("standardize", "rejected"), ("mix", "removed")):
            counted.update({(sample, stage, reason): n for reason, n in branch[key].items()})
    assert lost == counted
    packed = json.loads((finished / "results/pack/session1/manifest.json").read_text())["counts"]
    assert ended["pack packed"] == packed["examples"] == ended["train trained"] + ended["train never_reached"]
    assert ended["heldout asked"] >= 40
    assert ended["evaluate answered"] == 2 * ended["heldout asked"]


def test_damaged_file_is_found_by_its_reader_and_built_again(finished: Path) -> None:
    mix = finished / "results/mix/session1/train.parquet"
    pack = finished / "results/pack/session1/manifest.json"
    before, packed = mix.read_bytes(), pack.read_bytes()
    mix.write_bytes(before[:1000] + bytes([before[1000] ^ 1]) + before[1001:])
    pack.unlink()
    done = snakemake(finished, "results/pack/session1/manifest.json")
    assert done.returncode != 0
    assert "train.parquet: damaged since it was made" in done.stdout + done.stderr
    assert "run the same command again to rebuild it" in done.stdout + done.stderr
    assert not pack.exists()
    done = snakemake(finished, "results/pack/session1/manifest.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (mix.read_bytes(), pack.read_bytes()) == (before, packed)


def test_trainer_killed_in_mid_run_ends_in_the_same_bits(finished: Path, tmp_path: Path) -> None:
    """A copy of the finished run without its training; the trainer is killed with SIGKILL once a checkpoint stands."""
    folder = tmp_path / "run"
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    adapter = "results/train/session1/adapter/adapter.safetensors"
    wanted = {name: sha256_file(finished / name) for name in (adapter, "results/train/session1/history.jsonl")}
    for stage in ("train", "evaluate", "export", "report"):
        subprocess.run(["rm", "-r", str(folder / f"results/{stage}")], check=True)
    subprocess.run(["rm", "-r", str(folder / "work/train")], check=True)

    running = subprocess.Popen(
        command(folder, adapter), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not list(folder.glob("work/train/session1/*/checkpoints/4")) and running.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint after 240 s"
        time.sleep(0.01)
    killed = running.poll() is None
    if killed:
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert killed, "the trainer ended before it could be killed"
    assert not (folder / adapter).exists()

    done = snakemake(folder, adapter)
    assert "its lock was removed" in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert "goes on after step" in (folder / "logs/train/session1.log").read_text()
    assert {name: sha256_file(folder / name) for name in wanted} == wanted
