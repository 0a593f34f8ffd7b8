from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from tiny_base import write_base
from tiny_grpo import OWN, command, prepare, settings
from tiny_model import HF
from tiny_run import quick_jax

from showwork import grpo
from showwork.foundation.files import sha256_file
from showwork.foundation.stage import run_stage
from showwork.model.folders import adapter_config

OUTPUTS = ("adapter/adapter.safetensors", "adapter/adapter.json", "history.jsonl", "manifest.json")


def run(chosen: dict, *more: str, out: str = "results/train/s", work: str = "work/train") -> int:
    return run_stage(grpo.work, grpo.arguments, grpo.__doc__, command(chosen, out, work, *more))


def process(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "showwork.grpo", *arguments],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1] / "src"), "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def digests(out: str | Path) -> dict[str, str]:
    return {name: sha256_file(Path(out) / name) for name in OUTPUTS}


def history(out: str = "results/train/s") -> list[dict]:
    return [json.loads(line) for line in (Path(out) / "history.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _quick_jax():
    with quick_jax():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one finished session; tests add others under names of their own."""
    folder = tmp_path_factory.mktemp("grpo")
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch, quick_jax():
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "own_rewards", raising=False)  # another test's
        assert run(settings()) == 0
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.syspath_prepend(trained)
    monkeypatch.delitem(sys.modules, "own_rewards", raising=False)  # another test's
    return trained


def test_the_history_has_a_line_for_each_batch_and_says_what_was_paid(folder):
    lines = history()
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    for line in lines:
        assert set(line["rewards"]) == {"length", "own_rewards:vowels"}
        assert line["reward"] == pytest.approx(sum(line["rewards"].values()), rel=1e-5)
        assert -1 <= line["rewards"]["length"] <= -0.1
        assert line["rollout_tokens"] == pytest.approx(line["length"] * line["groups"] * 3, rel=1e-5)
        assert line["loss_tokens"] <= line["tokens"]
        assert line["entropy"] > 0
        assert {"kl", "clip_share", "same_reward_groups", "truncated", "well_formed", "grad_norm", "lr"} <= set(line)
    assert abs(lines[0]["kl"]) < 1e-6
    assert lines[-1]["kl"] > 1e-6
    timing = [json.loads(line) for line in Path("results/train/s/timing.jsonl").read_text().splitlines()]
    assert all(line["rollout_tokens_per_s"] > 0 and line["update_tokens_per_s"] > 0 for line in timing)


def test_records_that_make_no_prompt_are_counted_by_reason(folder):
    counts = json.loads(Path("results/train/s/manifest.json").read_text())["counts"]
    assert (counts["prompts"], counts["left_out"]) == (7, {"question_too_long": 1})
    assert run(settings(rewards={"answer": 1.0, "length": 1.0}, max_steps=2), out="results/a", work="work/a") == 0
    counts = json.loads(Path("results/a/manifest.json").read_text())["counts"]
    assert (counts["prompts"], counts["left_out"]) == (6, {"question_too_long": 1, "reference_too_long": 1})


def test_a_finished_training_is_not_trained_again_and_another_starts_from_it(folder, capsys):
    assert run(settings(), out="results/again") == 0
    assert "goes on after step 6 of 6" in capsys.readouterr().err
    assert digests("results/again") == digests("results/train/s")
    start = ("--start", "results/train/s/manifest.json")
    assert run(settings(reference="base", max_steps=2), *start, out="results/next", work="work/next") == 0
    assert history("results/next")[0]["kl"] > 1e-4, "the reference is the base, which the start has left"


def test_without_a_penalty_and_a_reference_nothing_is_said_of_them_and_equal_groups_cost_nothing(folder):
    chosen = settings(kl=0.0, reference=None, rewards={"answer": 1.0}, resample=0, max_steps=4)
    assert run(chosen, out="results/dull", work="work/dull") == 0
    for line in history("results/dull"):
        assert "kl" not in line
        assert (line["reward"], line["same_reward_groups"], line["tokens"]) == (0, 1, 0)
        assert (line["loss"], line["entropy"], line["clip_share"]) == (0, None, None)
    adapter = load_file("results/dull/adapter/adapter.safetensors")
    assert not any(array.any() for name, array in adapter.items() if "lora_B" in name)


def test_an_edit_of_the_users_reward_is_another_training(folder):
    before = json.loads(Path("results/train/s/manifest.json").read_text())
    own = Path("own_rewards.py")
    try:
        own.write_text(OWN.replace("aeiou", "aeio"))
        grpo.code_version.__globals__["_code_version"].cache_clear()
        assert run(settings(), out="results/edited", work="work/edited") == 0
    finally:
        own.write_text(OWN)
        grpo.code_version.__globals__["_code_version"].cache_clear()
    assert json.loads(Path("results/edited/manifest.json").read_text())["identity"] != before["identity"]


def test_all_weights_can_be_trained_on_rewards(folder):
    assert run(settings(adapter=None, max_steps=4), out="results/full", work="work/full") == 0
    weights, base = load_file("results/full/adapter/adapter.safetensors"), load_file("base/model.safetensors")
    assert weights.keys() == base.keys()
    assert (weights["model.embed_tokens.weight"] != base["model.embed_tokens.weight"]).any()
    lines = history("results/full")
    assert abs(lines[0]["kl"]) < 1e-6
    assert lines[-1]["kl"] > 0


def test_all_weights_start_from_the_folder_of_a_merged_model(folder):
    name, chosen = "adapter/adapter.safetensors", settings(adapter=None, max_steps=2)
    assert run(chosen, "--start", "base", out="results/merged", work="work/merged") == 0
    assert run(chosen, out="results/plain", work="work/plain") == 0
    assert sha256_file(Path("results/merged") / name) == sha256_file(Path("results/plain") / name)


def test_a_training_starts_from_a_peft_folder_as_from_the_session_itself(folder):
    peft = folder / "peft"
    peft.mkdir()
    facts = json.loads(Path("results/train/s/manifest.json").read_text())["adapter"]
    save_file(load_file("results/train/s/adapter/adapter.safetensors"), peft / "adapter_model.safetensors")
    said = adapter_config(facts, base="some/base", revision=None, dropout=0.0)
    (peft / "adapter_config.json").write_text(json.dumps(said))
    chosen = settings(max_steps=2)
    for name, start in (("session", "results/train/s/manifest.json"), ("folder", "peft")):
        assert run(chosen, "--start", start, out=f"results/from_{name}", work=f"work/from_{name}") == 0
    name = "adapter/adapter.safetensors"
    assert sha256_file(Path("results/from_session") / name) == sha256_file(Path("results/from_folder") / name)
    (peft / "adapter_config.json").write_text(json.dumps({**said, "use_dora": True}))
    assert run(chosen, "--start", "peft", out="results/dora", work="work/dora") == 1


OTHER = {**HF, "hidden_size": 24}


@pytest.mark.parametrize(
    ("changes", "more", "text"),
    [
        ({"rewards": {"own_rewards:wrong": 1.0}}, (), "reward 'own_rewards:wrong' raised AttributeError"),
        ({"rewards": {"own_rewards:nan": 1.0}}, (), "reward 'own_rewards:nan' gave nan on a rollout of record r"),
        ({"group_size": 1}, (), "train.grpo.group_size is 1, wanted at least 2"),
        (
            {"reference": "./other"},
            (),
            "other: a model of another kind than the base: width 24 there, 16 in the base; give",
        ),
        ({"reference": "./absent"}, (), "absent: holds no *.safetensors, wanted a folder with a PEFT adapter"),
        ({}, ("--start", "base"), "start_from is base, a whole model, but this session trains an adapter"),
        ({"max_steps": 5}, (), "train.max_steps is 5 but must be a multiple of train.grpo.updates_per_batch, 2"),
        (
            {"max_new_tokens": 60},
            (),
            "train.grpo: 0 of 8 records make a prompt (question_too_long 8), fewer than min_kept",
        ),
        (
            {"adapter": {"rank": 2, "alpha": 2, "targets": "all-linear", "dropout": 0.1, "rslora": False}},
            (),
            "train.adapter.dropout is 0.1, wanted 0 where method is grpo",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, capsys, changes, more, text):
    write_base(folder / "other", config=OTHER)
    (folder / "other/model.safetensors").write_bytes(b"")
    assert run(settings(**changes), *more, out="results/bad", work="work/bad") == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(said) == 1
    assert text in said[0]
    assert not Path("results/bad").exists()


def wait_for(pattern: str, lines: int, folder: Path, running: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end and running.poll() is None:
        if any(p.is_dir() or p.read_bytes().count(b"\n") >= lines for p in folder.glob(pattern)):
            return
        time.sleep(0.002)
    pytest.fail(f"the trainer ended ({running.poll()}) or stood still before it happened")


def test_killed_and_stopped_runs_go_on_to_the_same_bits(tmp_path):
    prepare(tmp_path)
    chosen = settings(max_steps=60, checkpoint_every_steps=4)
    home = tmp_path / "work/train/s"

    running = process(tmp_path, command(chosen))
    wait_for("work/train/s/*/checkpoints/[0-9]", 0, tmp_path, running)
    running.kill()
    assert running.wait() == -signal.SIGKILL

    running = process(tmp_path, command(chosen))
    wait_for("work/train/s/*/history.jsonl", 15, tmp_path, running)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate()
    assert running.returncode == 75, said
    assert re.search(r"goes on after step \d+ of 30", said)
    assert list(home.glob("*/checkpoints/*"))

    running = process(tmp_path, command(chosen))
    _, said = running.communicate()
    assert running.returncode == 0, said
    assert "goes on after step" in said

    running = process(tmp_path, command(chosen, "results/whole", "work/whole"))
    running.communicate()
    assert digests(tmp_path / "results/train/s") == digests(tmp_path / "results/whole")
