from __future__ import annotations

import dataclasses
import fcntl
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_model import CFG, random_params
from tiny_run import command, prepare, process, quick_jax, settings, write_base_manifest

from showwork import train
from showwork.foundation.files import sha256_file
from showwork.foundation.stage import run_stage
from showwork.learn.budget import Costs
from showwork.model.params import save_params

OUTPUTS = ("adapter/adapter.safetensors", "adapter/adapter.json", "history.jsonl", "manifest.json")


@pytest.fixture(autouse=True)
def _quick_jax():
    with quick_jax():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one finished session; tests add others under names of their own."""
    folder = tmp_path_factory.mktemp("trained")
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch, quick_jax():
        patch.chdir(folder)
        assert run(settings()) == 0
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def run(chosen, *more: str, out: str = "results/train/s", work: str = "work/train") -> int:
    return run_stage(train.work, train.arguments, train.__doc__, command(chosen, out, work, *more))


def digests(out: str | Path, names=OUTPUTS) -> dict[str, str]:
    return {name: sha256_file(Path(out) / name) for name in names}


def history(out: str = "results/train/s") -> list[dict]:
    return [json.loads(line) for line in (Path(out) / "history.jsonl").read_text().splitlines()]


def test_the_history_has_every_step_once_and_counts_every_token(folder):
    lines = history()
    packed = json.loads(Path("results/pack/s/manifest.json").read_text())["counts"]
    steps = 2 * -(-packed["rows"] // 4)
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert sum(line["tokens"] for line in lines) == 2 * packed["tokens"]
    assert sum(line["loss_tokens"] for line in lines) == 2 * packed["loss_tokens"]
    assert lines[-1]["share_moved"] == 1.0
    assert set(lines[-1]["relative_change"]) >= {"self_attn.q_proj", "mlp.down_proj"}
    assert "share_moved" not in lines[0]
    assert all(line["skipped"] == 0 for line in lines)


def test_the_adapter_has_pefts_names_and_its_facts_beside_it(folder):
    tensors = load_file("results/train/s/adapter/adapter.safetensors")
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_"
    assert tensors[f"{name}A.weight"].shape == (2, 32)
    assert tensors[f"{name}B.weight"].shape == (16, 2)
    assert len(tensors) == 2 * 7 * 2
    assert {array.dtype for array in tensors.values()} == {np.dtype("float32")}
    assert all(array.any() for array in tensors.values())
    facts = json.loads(Path("results/train/s/adapter/adapter.json").read_text())
    assert facts == json.loads(Path("results/train/s/manifest.json").read_text())["adapter"]
    assert (facts["kind"], facts["rank"], facts["scale"]) == ("lora", 2, 1.0)


def test_two_runs_leave_the_same_bytes_and_a_finished_one_is_not_trained_again(folder, capsys):
    assert run(settings(), out="results/train/again", work="work/other") == 0
    assert digests("results/train/again") == digests("results/train/s")
    capsys.readouterr()
    assert run(settings(), out="results/train/third") == 0
    assert "goes on after step 8 of 8" in capsys.readouterr().err
    assert digests("results/train/third") == digests("results/train/s")


def test_how_a_step_is_cut_up_is_not_part_of_the_identity_but_is_warned_of(folder, capsys):
    cut = settings(batch_size=1, gradient_accumulation=4, checkpoint_every_steps=5)
    assert run(cut, "--micro-rows", "1", out="results/train/cut") == 0
    said = capsys.readouterr().err
    assert "goes on after step 8 of 8" in said
    assert "warning: micro_rows was 4 when the checkpoint was written and is 1 now" in said


def test_micro_batches_learn_the_same_as_the_whole_batch(folder):
    assert run(settings(), "--micro-rows", "2", out="results/train/halves", work="work/halves") == 0
    for ours, theirs in zip(history("results/train/halves"), history(), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


def test_another_learning_rate_starts_afresh_and_says_what_else_lies_there(folder, capsys):
    assert run(settings(learning_rate=2e-2), out="results/train/faster") == 0
    said = capsys.readouterr().err
    assert "goes on after" not in said
    assert "also holds checkpoints of other settings, data or code: " in said
    assert history("results/train/faster")[0]["loss"] == history()[0]["loss"]
    assert history("results/train/faster")[-1]["loss"] != history()[-1]["loss"]


def test_a_damaged_checkpoint_costs_steps_but_changes_nothing(folder, capsys):
    assert run(settings(), work="work/damaged", out="results/train/before") == 0
    (home,) = Path("work/damaged/s").glob("*/checkpoints")
    for path in home.glob("8/state/**/d/*"):
        path.write_bytes(path.read_bytes()[:-7])
    capsys.readouterr()
    assert run(settings(), work="work/damaged", out="results/train/after") == 0
    said = capsys.readouterr().err
    assert "checkpoint of step 8 in checkpoints is passed over: its files changed" in said
    assert "goes on after step 6 of 8" in said
    assert digests("results/train/after") == digests("results/train/before") == digests("results/train/s")


def test_a_second_trainer_is_refused_and_leaves_nothing(folder, capsys):
    lock = Path("work/train/s/lock")
    with lock.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(settings(), out="results/train/second") == 1
    assert re.search(r"error: train 's': process \d+ on .* is training this session and holds", capsys.readouterr().err)
    assert not Path("results/train/second").exists()


def test_a_session_goes_on_from_an_earlier_adapter(folder):
    start = ("--start", "results/train/s/manifest.json")
    later = settings(name="s2", learning_rate=2e-2)
    assert run(later, *start, out="results/train/s2") == 0
    assert history("results/train/s2")[0]["loss"] < history()[0]["loss"]
    manifest = json.loads(Path("results/train/s2/manifest.json").read_text())
    assert manifest["inputs"]["start"] == sha256_file("results/train/s/manifest.json")


def test_an_earlier_adapter_of_another_kind_is_refused(folder, capsys):
    other = settings(adapter={"rank": 4, "alpha": 2, "targets": "all-linear", "dropout": 0.0, "rslora": False})
    assert run(other, "--start", "results/train/s/manifest.json", out="results/train/odd") == 1
    said = (
        "whose adapter is of another kind: rank 2 there, 4 here, scale 1.0 there, 0.5 here; give both sessions the same"
    )
    assert said in capsys.readouterr().err


def test_all_weights_can_be_trained_and_gone_on_from(folder):
    full = settings(adapter=None, max_steps=3, epochs=None)
    assert run(full, out="results/train/full", work="work/full") == 0
    weights = load_file("results/train/full/adapter/adapter.safetensors")
    base = load_file("base/model.safetensors")
    assert weights.keys() == base.keys()
    assert all((weights[name] != base[name]).any() for name in base)
    start = ("--start", "results/train/full/manifest.json")
    assert run(full, *start, out="results/train/full2", work="work/full2") == 0
    assert history("results/train/full2")[0]["loss"] < history("results/train/full")[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"max_seq_length": 32}, "its rows have 24 tokens but template.max_seq_length is 32; run pack again"),
        ({"warmup_steps": 8}, "train.warmup_steps is 8 but the session has only 8 steps"),
        ({"dtype": "float16"}, "dtype is 'float16', wanted bfloat16 or float32"),
    ],
)
def test_bad_settings_are_one_sentence(folder, capsys, changes, text):
    assert run(settings(**changes), out="results/train/bad", work="work/bad") == 1
    assert f"error: {text}" in capsys.readouterr().err.replace("results/pack/s/manifest.json: ", "")
    assert not Path("results/train/bad").exists()


def test_rows_of_another_tokenizer_and_changed_weights_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    with Path("base/model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\0")
    assert run(settings()) == 1
    assert "base/model.safetensors: its bytes are not those that results/download/base.json" in capsys.readouterr().err
    save_params(tmp_path / "base", random_params(), CFG)
    with Path("base/tokenizer.json").open("a") as file:
        file.write("\n")
    write_base_manifest(tmp_path)
    assert run(settings()) == 1
    assert "its rows were packed with another tokenizer than base/tokenizer.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("model.norm.weight"), r"tensor model.norm.weight is missing, wanted shape \[16\]"),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(8, np.float32)}),
            r"tensor model.norm.weight in model.safetensors has shape \[8\], wanted \[16\]",
        ),
    ],
)
def test_a_base_that_does_not_fit_its_config_is_one_sentence(tmp_path, monkeypatch, capsys, change, text):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    tensors = load_file("base/model.safetensors")
    change(tensors)
    save_file(tensors, "base/model.safetensors")
    write_base_manifest(tmp_path)
    assert run(settings()) == 1
    assert re.search("error: base 'base': " + text, capsys.readouterr().err)
    assert not Path("results/train").exists()


BUDGET = {"time_budget": "60 s", "epochs": None, "warmup_steps": 1}
ASKED = {"prompts": 8, "max_new_tokens": 4, "slots": 8, "passes": 1}


def test_a_time_budget_chooses_its_steps_once_and_trains_as_if_they_had_been_given(folder, capsys, monkeypatch):
    given: list[Costs] = []
    real = train.measured_costs

    def slow(*args):
        """As measured, but a step is taken to be long, so that few fit."""
        given.append(real(*args))
        return dataclasses.replace(given[-1], start=1.0, step=4.0, checkpoint=0.1, end=0.1, evaluation=1.0)

    monkeypatch.setattr(train, "measured_costs", slow)
    chosen = settings(**BUDGET) | {"asked": ASKED}
    assert run(chosen, out="results/budget", work="work/budget") == 0
    assert all(cost > 0 for cost in dataclasses.astuple(given[0]))
    said = capsys.readouterr().err
    (noted,) = Path("work/budget/s").glob("*/budget.json")
    facts = json.loads(noted.read_text())
    assert facts["steps"] == 13  # 1.0 + 13 * 4.0 + 7 * 0.1 + 0.1 + 1.0 of 58.2 s
    assert "13 steps fit into 60 s: 4.000 s a step" in said
    lines = history("results/budget")
    assert [(line["step"], line["steps"]) for line in lines] == [(n, 13) for n in range(1, 14)]
    assert json.loads(Path("results/budget/manifest.json").read_text())["time_budget"] == facts

    assert run(settings(max_steps=13, epochs=None, warmup_steps=1), out="results/thirteen", work="work/thirteen") == 0
    assert sha256_file("results/budget/adapter/adapter.safetensors") == sha256_file(
        "results/thirteen/adapter/adapter.safetensors"
    )
    (last,) = Path("work/budget/s").glob("*/checkpoints/13")
    shutil.rmtree(last)
    capsys.readouterr()
    assert run(chosen, out="results/budget2", work="work/budget") == 0
    assert "goes on after step 12 of 13" in capsys.readouterr().err
    assert len(given) == 1
    assert digests("results/budget2") == digests("results/budget")


def test_a_time_budget_that_holds_no_step_is_refused_with_what_would(folder, capsys):
    tight = settings(**(BUDGET | {"time_budget": "0.01 s"})) | {"asked": ASKED}
    assert run(tight, out="results/tight", work="work/tight") == 1
    said = capsys.readouterr().err
    assert re.search(r"error: train.time_budget is 0.01 s, but one step takes \d+ s .*; raise it above \d+ s", said)
    assert not list(Path("work/tight/s").glob("*/budget.json"))


def wait_for(happened: Callable[[], bool], running: subprocess.Popen) -> None:
    """Until something has happened in the work directory of a trainer."""
    end = time.monotonic() + 300
    while time.monotonic() < end and running.poll() is None:
        if happened():
            return
        time.sleep(0.002)
    pytest.fail(f"the trainer ended ({running.poll()}) or stood still before it happened")


def test_killed_and_stopped_runs_go_on_to_the_same_bits(tmp_path):
    prepare(tmp_path)
    chosen = settings(epochs=None, max_steps=240, checkpoint_every_steps=30)

    home = tmp_path / "work/train/s"

    running = process(tmp_path, command(chosen))
    wait_for(lambda: any(p.name.isdigit() for p in home.glob("*/checkpoints/*")), running)
    running.kill()
    assert running.wait() == -signal.SIGKILL

    running = process(tmp_path, command(chosen))
    wait_for(lambda: any(p.read_bytes().count(b"\n") > 140 for p in home.glob("*/history.jsonl")), running)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate()
    assert running.returncode == 75, said
    assert re.search(r"goes on after step (30|60|90) of 240", said)
    stopped = int(re.search(r"stopped by a signal after step (\d+), checkpointed; run the same command", said)[1])
    assert not (tmp_path / "results/train").exists()

    running = process(tmp_path, command(chosen))
    _, said = running.communicate()
    assert running.returncode == 0, said
    assert f"goes on after step {stopped} of 240" in said

    running = process(tmp_path, command(chosen, "results/whole", "work/whole"))
    running.communicate()
    assert digests(tmp_path / "results/train/s") == digests(tmp_path / "results/whole")


def test_four_devices_learn_what_one_does_and_a_checkpoint_moves_between_them(folder, capsys):
    running = process(
        folder,
        command(settings(), "results/four", "work/four", "--mesh", "fsdp"),
        extra={"XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )
    _, said = running.communicate()
    assert running.returncode == 0, said
    assert "4 x cpu" in said
    agree(history("results/four"), history())

    (last,) = Path("work/four/s").glob("*/checkpoints/8")
    shutil.rmtree(last)
    capsys.readouterr()
    assert run(settings(), out="results/moved", work="work/four") == 0
    said = capsys.readouterr().err
    assert "goes on after step 6 of 8" in said
    assert "warning: mesh was 'fsdp' when the checkpoint was written and is 'single' now" in said
    agree(history("results/moved"), history())


def agree(ours: list[dict], theirs: list[dict]) -> None:
    """Equal counts, losses within 1e-5."""
    for one, other in zip(ours, theirs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert (one["step"], one["loss_tokens"]) == (other["step"], other["loss_tokens"])
