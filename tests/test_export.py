import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_run
from safetensors.numpy import load_file, save_file
from tiny_base import write_base
from tiny_gemma import random_weights, write_gemma
from tiny_model import CFG, HF

from showwork import export
from showwork.foundation.files import sha256_file, write_json
from showwork.foundation.manifest import write_manifest
from showwork.foundation.schema import PROMPT
from showwork.foundation.stage import run_stage
from showwork.foundation.tables import write_table
from showwork.model.config import GemmaConfig
from showwork.model.lora import init_lora, merge, to_peft
from showwork.model.params import HF_NAMES, load_params, read_config

SYSTEM = 'Think first,\nthen say "so".'
MODULES = ("q", "v", "down")


def moved_adapter(size=0.3):
    state = np.random.RandomState(0)
    fresh = init_lora(CFG, MODULES, rank=2, seed=0)
    return jax.tree.map(lambda x: x + size * state.standard_normal(x.shape).astype(np.float32), fresh)


def prepare(folder: Path, *, full: bool = False) -> None:
    """A base, a session's adapter (or all its weights), three held-out questions, and their manifests."""
    write_base(folder / "base", config=HF)
    write_gemma(folder / "base", HF)
    tiny_run.write_base_manifest(folder)
    out = folder / "results/train/s"
    (out / "adapter").mkdir(parents=True)
    adapter = out / "adapter/adapter.safetensors"
    facts = {"kind": "full"}
    if full:
        save_file(random_weights(HF, seed=5), adapter)
    else:
        save_file(to_peft(moved_adapter(), CFG), adapter)
        targets = [HF_NAMES[name] for name in MODULES]
        facts = {"kind": "lora", "rank": 2, "alpha": 6, "rslora": False, "scale": 3.0, "targets": targets}
    write_manifest(
        out / "manifest.json", stage="train", name="s", settings=tiny_run.settings(), inputs={},
        files={"adapter": adapter}, counts={"steps": 7, "tokens": 300}, adapter=facts,
    )  # fmt: skip
    rows = [
        {"prompt_id": f"{i}", "record_id": f"{i}", "source": "a", "source_row": i, "question": f"what is {i} and the {i}?",
         "trace": "the trace " * i, "answer": f"{i}"}
        for i in range(3)
    ]  # fmt: skip
    prompts = folder / "results/heldout/prompts.parquet"
    write_table(prompts, PROMPT, [rows])
    write_manifest(
        prompts.with_suffix(".json"),
        stage="heldout",
        name="",
        settings={},
        inputs={},
        files={"prompts": prompts},
        counts={},
    )


def run(dtype: str = "float32", formats=("peft", "merged"), max_error: float = 5e-4) -> int:
    settings = {
        "name": "s", "base": "google/gemma-2-2b-it", "dtype": dtype, "system_prompt": SYSTEM,
        "export": {"formats": list(formats), "max_error": max_error},
    }  # fmt: skip
    out = "results/export/s"
    return run_stage(
        export.work, export.arguments, export.__doc__,
        ["--settings", json.dumps(settings), "--log", "logs/export.log", "--adapter", "results/train/s/manifest.json",
         "--base", "results/download/base.json", "--prompts", "results/heldout/prompts.json",
         "--certificate", f"{out}/certificate.json", "--folder", out],
    )  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture
def here(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/export/s"


def last_line() -> str:
    return Path("logs/export.log").read_text().splitlines()[-1]


def test_export_leaves_certified_folders_with_everything_beside_the_weights(here):
    assert run() == 0
    found = sorted(str(p.relative_to(here)) for p in here.rglob("*") if p.is_file())
    assert found == [
        "certificate.json",
        *(f"merged/{n}" for n in ("NOTICE", "README.md", "config.json", "generation_config.json", "model.safetensors",
                                  "tokenizer.json", "tokenizer_config.json")),
        *(f"peft/{n}" for n in ("NOTICE", "README.md", "adapter_config.json", "adapter_model.safetensors",
                                "tokenizer.json", "tokenizer_config.json")),
    ]  # fmt: skip
    certificate = json.loads((here / "certificate.json").read_text())
    for entry in certificate["files"].values():
        assert sha256_file(here / entry["name"]) == entry["sha256"]
    rows = {what: row for form in certificate["formats"].values() for what, row in form.items()}
    assert sorted(rows) == ["merged, float32 file", "peft"]
    assert rows["peft"]["max_error"] < 1e-6
    assert 0 < rows["merged, float32 file"]["max_error"] < 1e-4
    assert {row["top1_agreement"] for row in rows.values()} == {1.0}
    assert certificate["counts"]["positions"] == rows["peft"]["positions"] > 200
    assert certificate["chat_template"] == {"questions": 3, "same_ids": 3}


def test_exported_files_say_what_was_trained(here):
    assert run() == 0
    config = json.loads((here / "peft/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (2, 6, False)
    assert config["target_modules"] == ["down_proj", "q_proj", "v_proj"]
    assert config["base_model_name_or_path"] == "base"
    trained = load_file("results/train/s/adapter/adapter.safetensors")
    exported = load_file(here / "peft/adapter_model.safetensors")
    assert trained.keys() == exported.keys()
    assert all(np.array_equal(trained[key], exported[key]) for key in trained)
    got = load_params(here / "merged", GemmaConfig.from_hf(read_config(here / "merged")), "float32")
    wanted = merge(load_params("base", CFG, "float32"), moved_adapter(), 3.0)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert json.loads((here / "merged/generation_config.json").read_text())["eos_token_id"] == [1, 107]
    for form in ("peft", "merged"):
        notice = (here / form / "NOTICE").read_text()
        assert (
            "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" in notice
        )
        card = (here / form / "README.md").read_text()
        assert SYSTEM in card
        assert "| learning_rate | `0.01` |" in card
        assert "| tokens | 300 |" in card


def test_a_cast_is_judged_apart_from_the_merge(here):
    assert run("bfloat16") == 0
    found = json.loads((here / "certificate.json").read_text())["formats"]["merged"]
    before, after = found["merged in float32"], found["merged, bfloat16 file"]
    assert before["max_error"] < 1e-4 < after["max_error"] <= after["bound"]
    assert before["bound"] == 5e-4 < after["bound"]
    assert json.loads((here / "merged/config.json").read_text())["dtype"] == "bfloat16"
    assert {array.dtype.name for array in load_file(here / "merged/model.safetensors").values()} == {"bfloat16"}


def test_beyond_the_bound_nothing_is_left_under_a_final_name(here):
    assert run() == 0
    assert run(max_error=1e-6) == 1
    assert list(here.iterdir()) == []
    assert last_line().startswith("error: s: the merged export (merged, float32 file) gives logits up to ")
    assert (
        "wanted at most 1e-06 (export.max_error); nothing was exported, so raise export.max_error only" in last_line()
    )


def test_a_wrong_scale_in_the_written_file_is_found(here, monkeypatch):
    right = export.adapter_config
    monkeypatch.setattr(export, "adapter_config", lambda *a, **k: {**right(*a, **k), "lora_alpha": 7})
    assert run(formats=["peft"]) == 1
    assert "the peft export (peft) gives logits up to" in last_line()
    assert list(here.iterdir()) == []


def test_a_chat_template_that_renders_other_ids_is_found(here, monkeypatch):
    monkeypatch.setattr(export, "chat_template", lambda system: "{{ bos_token }}{{ messages[0].content }}")
    assert run(formats=["peft"]) == 1
    assert "the exported chat template renders question 0 as" in last_line()
    assert list(here.iterdir()) == []


def test_a_session_that_trained_all_weights_has_no_adapter_to_export(tmp_path, monkeypatch):
    prepare(tmp_path, full=True)
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    out = tmp_path / "results/export/s"
    assert sorted(p.name for p in out.iterdir()) == ["certificate.json", "merged"]
    got = load_file(out / "merged/model.safetensors")
    assert all(np.array_equal(got[name], array) for name, array in random_weights(HF, seed=5).items())
    assert run(formats=["peft"]) == 1
    assert last_line() == (
        "error: s: export.formats is ['peft'] but all weights were trained and there is no adapter, wanted merged among "
        "them; set export.formats: [merged]"
    )


def test_an_adapter_of_another_base_is_one_sentence(here):
    config = json.loads(Path("base/config.json").read_text())
    write_json("base/config.json", {**config, "num_hidden_layers": 3})
    tiny_run.write_base_manifest(Path())
    assert run() == 1
    assert last_line().startswith(
        "error: base 'base': tensor model.layers.2.self_attn.q_proj.weight is missing, wanted"
    )
    assert list(here.iterdir()) == []


def test_an_adapter_for_tunix_is_read_back_as_it_was_trained(here):
    assert run(formats=["tunix"]) == 0
    said = json.loads((here / "tunix/provider.json").read_text())
    # q is a module of its own; v shares one with k, which was not trained, so the rank is twice ours
    assert said == {"module_path": ".*q_einsum|.*kv_einsum|.*down_proj", "rank": 4, "alpha": 12.0}
    certificate = json.loads((here / "certificate.json").read_text())
    assert certificate["formats"]["tunix"]["tunix"]["max_error"] < 1e-6
    assert "tunix/checkpoint/7/model_params/_METADATA" in certificate["files"]
    card = (here / "tunix/README.md").read_text()
    assert "qwix.LoraProvider(alpha=12.0, module_path='.*q_einsum|.*kv_einsum|.*down_proj', rank=4)" in card
    assert not (here / "peft").exists()
