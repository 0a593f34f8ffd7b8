from __future__ import annotations

import json

import pytest
from tiny_run import prepare, settings

from showwork import plan
from showwork.foundation.stage import run_stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    prepare(folder)
    return folder


def run(chosen) -> int:
    argv = ["--settings", json.dumps(chosen), "--pack", "results/pack/s/manifest.json"]
    argv += ["--base", "results/download/base.json", "--json", "plan.json", "--text", "plan.txt"]
    return run_stage(plan.work, plan.arguments, plan.__doc__, argv)


def test_the_plan_counts_what_training_will_do(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run(settings()) == 0
    found = json.loads((folder / "plan.json").read_text())
    counts = json.loads((folder / "results/pack/s/manifest.json").read_text())["counts"]
    assert (found["rows"], found["examples"], found["tokens"]) == (counts["rows"], 26, counts["tokens"])
    assert found["steps"] == 2 * -(-counts["rows"] // 4)
    assert found["modules"] == {
        "self_attn.q_proj": 160, "self_attn.k_proj": 112, "self_attn.v_proj": 112, "self_attn.o_proj": 160,
        "mlp.gate_proj": 192, "mlp.up_proj": 192, "mlp.down_proj": 192,
    }  # fmt: skip
    assert found["trained_parameters"] == 1120
    assert found["memory"]["temporary_bytes"] > 0
    assert found["memory"]["micro_rows"] == 4
    assert found["time"]["seconds"] >= 0
    text = (folder / "plan.txt").read_text()
    assert "1,120 parameters trained beside" in text
    assert text.splitlines()[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"warmup_steps": 100}, "error: train.warmup_steps is 100 but the session has only 8 steps"),
        ({"schedule": "cosin"}, "error: train.schedule is 'cosin' but must be one of cosine, linear, constant, wsd"),
        ({"method": "dpo"}, "error: train 's': method is 'dpo' but this version trains sft"),
        ({"dtype": "float16"}, "error: dtype is 'float16', wanted bfloat16 or float32"),
        ({"remat": "some"}, "error: train.remat is 'some' but must be one of none, dots, block"),
        (
            {"adapter": {"rank": 2, "alpha": 2, "targets": ["query"], "dropout": 0.0, "rslora": False}},
            "error: adapter target 'query' matches nothing, wanted some of q_proj",
        ),
    ],
)
def test_what_training_would_refuse_is_refused_by_the_plan(folder, monkeypatch, capsys, changes, text):
    monkeypatch.chdir(folder)
    assert run(settings(**changes)) == 1
    assert text in capsys.readouterr().err


def test_a_time_budget_is_planned_by_the_predicted_pace(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(plan, "matmul_speed", lambda *_: 1e8)
    assert run(settings(time_budget="30 s", epochs=None)) == 0
    found = json.loads((folder / "plan.json").read_text())
    one = found["operations"]["useful_per_epoch"] * 4 / found["rows"] / (1e8 * plan.SHARE_OF_MATMUL)
    assert found["steps"] == int(30 / one) > 2
    assert found["time"]["seconds"] == pytest.approx(30, abs=one + 0.1)
    assert (
        f"for 30 s, which training measures exactly, about {found['steps']:,} steps of"
        in (folder / "plan.txt").read_text()
    )
