"""The evaluate stage: what it counts by hand, what it repeats byte for byte, what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from tiny_base import write_base
from tiny_model import CFG, HF

from showwork import evaluate
from showwork.foundation.files import read_json, sha256_file
from showwork.foundation.manifest import write_manifest
from showwork.foundation.schema import PROMPT
from showwork.foundation.stage import run_stage
from showwork.foundation.tables import write_table
from showwork.learn.measures import TASKS, task_version
from showwork.learn.rollout import Rollout, generate
from showwork.learn.trained import trained_params
from showwork.model.gemma import hidden, logits
from showwork.model.lora import merge, to_peft
from showwork.model.params import layer_shapes, save_params
from showwork.tokens.tokenizer import load_encoder

GOOD = "<reasoning>Hal serves Bo.</reasoning>\n<answer>Bo</answer>"
LONG_ANSWER = "Because the leaves close their pores and stop making green when the nights grow long and cold."


def prompt(number: int, source: str = "a", answer: str = "Bo", trace: str = "Hal serves Bo.") -> dict:
    return {
        "prompt_id": f"{number:032x}", "record_id": f"{number:032x}", "source": source, "source_row": number,
        "question": f"Whom does Hal serve, number {number}?", "trace": trace, "answer": answer,
    }  # fmt: skip


PROMPTS = [prompt(0), prompt(1), prompt(2, "b", LONG_ANSWER), prompt(3, "b", "Ana"), prompt(4, "b", "Bo", "So. " * 200)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base with random weights, an adapter for it, and the prompts, each under a manifest."""
    folder = tmp_path_factory.mktemp("world")
    base = write_base(folder / "base", config=HF)
    draws = np.random.Generator(np.random.PCG64(0))
    shapes = layer_shapes(CFG)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(0.3 * draws.normal(size=shape), jnp.float32)

    layers = {name: normal(CFG.num_layers, *shape) for name, shape in shapes.items()}
    params = {"embed": normal(HF["vocab_size"], CFG.width), "final_norm": normal(CFG.width), "layers": layers}
    save_params(base, params, CFG)
    files = {
        f.name: {"path": str(f), "bytes": f.stat().st_size, "sha256": sha256_file(f), "rows": None}
        for f in base.iterdir()
    }
    manifest = {"stage": "download", "name": "base", "settings": {}, "files": files, "counts": {}, "revision": None}
    (folder / "base.json").write_text(json.dumps(manifest))
    lora = {
        name: {"a": normal(CFG.num_layers, 2, shapes[name][1]), "b": normal(CFG.num_layers, shapes[name][0], 2)}
        for name in ("q", "down")
    }
    (folder / "train").mkdir()
    save_file(to_peft(lora, CFG), folder / "train/adapter.safetensors")
    write_manifest(
        folder / "train/manifest.json", stage="train", name="s", inputs={}, counts={},
        settings={}, adapter={"kind": "lora", "rank": 2, "alpha": 4, "scale": 2.0},
        files={"adapter": folder / "train/adapter.safetensors"},
    )  # fmt: skip
    write_prompts(folder, PROMPTS)
    return folder, params, lora


def session(folder: Path) -> tuple[Path, dict]:
    """The weights that a training left, and what its manifest says of them."""
    manifest = read_json(folder / "manifest.json")
    return folder / manifest["files"]["adapter"]["name"], manifest["adapter"]


def write_prompts(folder: Path, prompts: list[dict]) -> None:
    write_table(folder / "prompts.parquet", PROMPT, [prompts])
    write_manifest(
        folder / "prompts.json", stage="heldout", name="prompts", settings={}, inputs={},
        files={"prompts": folder / "prompts.parquet"}, counts={"prompts": len(prompts)},
    )  # fmt: skip


def settings(**changes) -> dict:
    how = {
        "max_new_tokens": 6, "temperature": None, "batch": 8, "direct_prompt": "Question: {question}\nAnswer:",
        "answer_match_max_characters": 64, "questions": {},
    } | changes  # fmt: skip
    template = {"system_prompt": "Think.", "max_seq_length": 256, "min_trace_tokens": 4}
    return {"name": "s", "seed": 1, "dtype": "float32", "template": template, "evaluate": how}


def run(folder: Path, out: Path, *, adapter: bool = False, log: Path | None = None, **changes) -> int:
    argv = ["--settings", json.dumps(settings(**changes)), "--base", str(folder / "base.json")]
    argv += ["--prompts", str(folder / "prompts.json"), "--metrics", str(out / "metrics.json")]
    argv += ["--generations", str(out / "generations.parquet"), "--manifest", str(out / "manifest.json")]
    argv += ["--questions", str(out / "questions.parquet")]
    argv += ["--adapter", str(folder / "train/manifest.json")] * adapter + (["--log", str(log)] if log else [])
    return run_stage(evaluate.work, evaluate.arguments, evaluate.__doc__, argv)


@pytest.fixture(scope="module")
def base_run(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("base")
    assert run(world[0], out, log=out / "log") == 0
    return out


def test_every_prompt_has_a_greedy_row_and_short_golds_a_direct_one(base_run):
    rows = pq.read_table(base_run / "generations.parquet").to_pylist()
    assert [r["prompt_id"] for r in rows if r["mode"] == "greedy"] == [p["prompt_id"] for p in PROMPTS]
    assert [r["prompt_id"] for r in rows if r["mode"] == "direct"] == [
        p["prompt_id"] for p in PROMPTS if p["answer"] != LONG_ANSWER
    ]
    assert all(
        r["num_tokens"] == 6 and r["truncated"] for r in rows if r["mode"] == "greedy" and r["stop_reason"] == "length"
    )


def test_gold_loss_and_stop_probability_are_those_of_the_full_forward_pass(world, base_run):
    folder, params, _ = world
    encoder = load_encoder(folder / "base", HF)
    rows = pq.read_table(base_run / "generations.parquet").to_pylist()
    examples = evaluate.gold_examples(PROMPTS, encoder, settings()["template"])

    @jax.jit
    def log_probs_of(ids, inside):  # padded to one length, so that it compiles once
        states = hidden(params, CFG, ids[None], jnp.arange(256)[None], inside[None])
        return jax.nn.log_softmax(logits(params, CFG, states)[0])

    for row, example in zip(rows, examples, strict=False):
        ids, where = np.pad(example.ids, (0, 256 - len(example))), np.flatnonzero(example.trained)
        log_probs = log_probs_of(ids, (np.arange(256) < len(example)).astype(np.int32))[where - 1, ids[where]]
        assert row["gold_tokens"] == len(where)
        assert row["gold_loss"] == pytest.approx(-float(log_probs.sum()), rel=1e-4)
        assert row["stop_probability"] == pytest.approx(float(jnp.exp(log_probs[-1])), abs=1e-6)
        assert ids[where[-1]] == encoder.end_of_turn_id
    assert len(examples[4]) <= 256 < len(encoder.encode_content([PROMPTS[4]["trace"]])[0][0])
    metrics = read_json(base_run / "metrics.json")
    golds = [r for r in rows if r["mode"] == "greedy"]
    loss = sum(r["gold_loss"] for r in golds) / sum(r["gold_tokens"] for r in golds)
    assert metrics["total"]["gold"]["loss"] == pytest.approx(loss, abs=1e-6)
    assert metrics["by_source"]["a"]["gold"]["num_scored"] == 2


def test_a_second_run_leaves_the_same_bytes_and_times_stand_in_the_log_alone(world, base_run, tmp_path):
    assert run(world[0], tmp_path) == 0
    for name in ("metrics.json", "generations.parquet", "manifest.json"):
        assert (tmp_path / name).read_bytes() == (base_run / name).read_bytes()
    assert "tokens/s" in (base_run / "log").read_text()
    assert "seconds" not in (base_run / "metrics.json").read_text()


def test_an_adapter_is_merged_and_moves_the_loss(world, base_run, tmp_path):
    folder, params, lora = world
    assert run(folder, tmp_path, adapter=True) == 0
    before, after = (read_json(out / "metrics.json")["total"]["gold"]["loss"] for out in (base_run, tmp_path))
    assert abs(before - after) > 0.01
    merged = trained_params(folder / "base", CFG, "float32", *session(folder / "train"))
    jax.tree.map(np.testing.assert_array_equal, merged, merge(params, lora, 2.0))


def test_a_session_that_trained_all_weights_is_read_whole(world, tmp_path):
    folder, params, _ = world
    doubled = jax.tree.map(lambda w: 2 * w, params)
    save_params(tmp_path, doubled, CFG)
    write_manifest(
        tmp_path / "manifest.json", stage="train", name="s", inputs={}, counts={}, settings={}, adapter={"kind": "full"},
        files={"adapter": tmp_path / "model.safetensors"},
    )  # fmt: skip
    found = trained_params(folder / "base", CFG, "float32", *session(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, found, doubled)


def test_a_temperature_adds_sampled_rows_and_leaves_the_greedy_ones(world, base_run, tmp_path, monkeypatch):
    asked, written = [], []

    def greedy(weights, cfg, requests, *, temperature, seed, **how):  # drawing is tested with the sampler itself
        asked.append((temperature, seed, len(requests)))
        written.extend(written or generate(weights, cfg, requests, seed=seed, **how))
        return written[: len(requests)]

    monkeypatch.setattr(evaluate, "generate", greedy)
    assert run(world[0], tmp_path, temperature=0.7) == 0
    rows = pq.read_table(tmp_path / "generations.parquet").to_pylist()
    sampled = [r for r in rows if r["mode"] == "sampled"]
    assert [r for r in rows if r["mode"] != "sampled"] == pq.read_table(base_run / "generations.parquet").to_pylist()
    assert asked == [(None, 1, 9), (0.7, 1, 5)]
    assert len(sampled) == len(PROMPTS)
    assert set(read_json(tmp_path / "metrics.json")["tasks"]) == {"greedy", "direct", "gold", "sampled"}


def test_the_measures_are_what_a_person_counts(world, tmp_path, monkeypatch):
    """Canned completions: two perfect (one wrong), one cut, one ended by <eos>, one going round in circles."""
    encoder = load_encoder(world[0] / "base", HF)
    said = [
        GOOD,
        GOOD.replace("Bo</a", "Ana</a"),
        "<reasoning>Hal",
        GOOD,
        "<reasoning>" + "и так далее снова и снова, " * 30,
    ]
    ends = [107, 107, None, 1, None]
    direct = ["Bo\n", " bo.\n\nQuestion", "Ana is", "Bo"]

    def canned(weights, cfg, requests, **how):
        texts = [*zip(said, ends, strict=True), *((text, None) for text in direct)]
        assert len(requests) == len(texts)
        found = []
        for text, end in texts:
            ids = [*encoder.encode_content([text])[0][0], *([] if end is None else [end])]
            found.append(Rollout(np.array(ids, np.int32), np.zeros(len(ids), np.float32), end is not None))
        return found

    monkeypatch.setattr(evaluate, "generate", canned)
    assert run(world[0], tmp_path) == 0
    total = read_json(tmp_path / "metrics.json")["total"]
    written = total["greedy"]
    assert {k: (v["count"], v["total"]) for k, v in written.items() if isinstance(v, dict) and "share" in v} == {
        "well_formed": (2, 5), "accuracy": (1, 4), "looping": (1, 5), "truncated": (2, 5), "answer_copied": (0, 2),
        "language_switched": (1, 5),
    }  # fmt: skip
    assert written["reasons"] == {"no_close": 2, "text_after": 1}
    assert written["graded"] == pytest.approx((1 + 1 + 0.2 + 0.8 + 0.2) / 5)
    assert (total["direct"]["accuracy"]["count"], total["direct"]["accuracy"]["total"]) == (3, 4)
    assert written["well_formed"]["low"] < 0.4 < written["well_formed"]["high"]
    answers = [
        r["answer"] for r in pq.read_table(tmp_path / "generations.parquet").to_pylist() if r["mode"] == "direct"
    ]
    assert answers == ["Bo", "bo.", "Ana is", "Bo"]


def test_a_task_has_another_version_whenever_its_number_could_be_another():
    def versions(prompts="p", code="c", **changes):
        own = {key: changes.pop(key) for key in ("seed", "dtype", "template") if key in changes}
        whole = {**settings(**changes), **own}
        return {task: task_version(task, whole, prompts, code) for task in TASKS}

    before = versions()
    answers = {"greedy", "sampled", "direct"}
    for changed, tasks in [
        ({"prompts": "q"}, set(TASKS)),
        ({"code": "d"}, set(TASKS)),
        ({"dtype": "bfloat16"}, set(TASKS)),
        ({"template": {"system_prompt": "Do.", "max_seq_length": 256, "min_trace_tokens": 4}}, set(TASKS)),
        ({"max_new_tokens": 7}, {"greedy", "sampled"}),
        ({"answer_match_max_characters": 65}, answers),
        ({"direct_prompt": "{question}"}, {"direct"}),
        ({"temperature": 0.5}, {"sampled"}),
        ({"seed": 2}, {"sampled"}),
        ({"batch": 9}, set()),
    ]:
        after = versions(**changed)
        assert {task for task in TASKS if after[task] != before[task]} == tasks, changed


def test_a_direct_answer_stops_at_any_piece_that_ends_a_line(world):
    encoder = load_encoder(world[0] / "base", HF)
    asked = [PROMPTS[0] | {"answers": ["Bo", LONG_ANSWER]}]
    (request,) = evaluate.direct_requests(asked, "Q: {question}\nA:", encoder, (107, 1), 64)
    assert set(encoder.encode_content(["\n"])[0][0]) <= set(request.stop_ids)
    assert {1, 107} <= set(request.stop_ids)
    assert not set(encoder.encode_content(["Bo"])[0][0]) & set(request.stop_ids)
    assert encoder.decode(request.prompt) == "<bos>Q: Whom does Hal serve, number 0?\nA:"
    assert request.max_new_tokens == 2 + evaluate.DIRECT_SPARE_TOKENS


def test_the_users_own_questions_are_answered_apart_with_any_reference_and_by_tag(world, base_run, tmp_path):
    lines = [
        {"id": "a", "question": "Whom<eos>?", "answer": ["Zoe", LONG_ANSWER], "tags": ["who", "hard"]},
        {"id": "b", "question": "Why?", "answer": LONG_ANSWER, "tags": ["why"]},
        {"id": "c", "question": "How?"},
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run(world[0], tmp_path, questions={"exam": str(tmp_path / "own.jsonl")}) == 0
    rows = pq.read_table(tmp_path / "questions.parquet").to_pylist()
    assert [(r["prompt_id"], r["mode"], r["source"]) for r in rows] == [
        ("a", "greedy", "exam"), ("b", "greedy", "exam"), ("c", "greedy", "exam"), ("a", "direct", "exam"),
    ]  # fmt: skip
    assert rows[0]["question"] == "Whom‹eos›?"
    assert [r["gold_answers"] for r in rows] == [["Zoe", LONG_ANSWER], [LONG_ANSWER], [], ["Zoe", LONG_ANSWER]]
    assert [r["correct"] for r in rows] == [False, None, None, False]
    before, metrics = (read_json(out / "metrics.json") for out in (base_run, tmp_path))
    exam = metrics.pop("questions")["exam"]
    assert before.pop("questions") == {}
    assert metrics == before
    assert (exam["num_prompts"], sorted(exam["by_source"]), sorted(exam["total"])) == (
        3, ["hard", "who", "why"], ["direct", "greedy", "num_prompts"],
    )  # fmt: skip
    assert exam["total"]["greedy"]["accuracy"]["total"] == 1
    assert exam["by_source"]["why"]["num_prompts"] == 1
    assert sorted(exam["tasks"]) == ["direct", "greedy"]
    assert exam["tasks"]["greedy"] != metrics["tasks"]["greedy"]
    assert read_json(tmp_path / "manifest.json")["counts"]["questions"] == 3


def test_no_prompts_are_refused_with_the_way_out(world, tmp_path, capsys):
    folder = world[0]
    write_prompts(tmp_path, [])
    (tmp_path / "base.json").write_text((folder / "base.json").read_text())
    assert run(tmp_path, tmp_path / "out") == 1
    assert "lists 0 held-out questions, at least 1 is needed; raise held_out.share" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
