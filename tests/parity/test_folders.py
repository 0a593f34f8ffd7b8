"""What the export stage leaves, in the hands of transformers and peft: logits, greedy tokens, prompt ids."""

import json
import shutil
from pathlib import Path

import hf
import jax
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from test_export import SYSTEM, prepare, run

from showwork.learn.rollout import Request, generate
from showwork.model.config import GemmaConfig
from showwork.model.decode import unstack
from showwork.model.folders import tokenizer_config
from showwork.model.gemma import hidden, logits
from showwork.model.lora import from_peft
from showwork.model.params import load_params, read_config
from showwork.tokens.template import chat_template, prompt_segments
from showwork.tokens.tokenizer import load_encoder

QUESTIONS = ("What is 17 + 25?", "  Spaces,\n\nlines {{ and }} braces, “quotes” ✓ ", "the the")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a whole export stage: base/ beside results/export/s/{peft,merged}."""
    folder = tmp_path_factory.mktemp("exported")
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run() == 0
    return folder


def ours(folder, tokens, lora=None, scale=1.0):
    cfg = GemmaConfig.from_hf(read_config(folder))
    at = np.arange(len(tokens))[None]
    params = load_params(folder, cfg, "float32")
    run = jax.jit(lambda p, lo: logits(p, cfg, hidden(p, cfg, tokens[None], at, np.ones_like(at), lo, scale)))
    return np.asarray(run(params, lora)[0])


def prompt_ids(folder):
    encoder = load_encoder(folder, read_config(folder))
    return [encoded.ids for encoded in encoder.encode_many([prompt_segments(SYSTEM, q) for q in QUESTIONS])]


def test_the_peft_folder_gives_our_logits(exported):
    model = peft.PeftModel.from_pretrained(hf.load(exported / "base"), exported / "results/export/s/peft").eval()
    cfg = GemmaConfig.from_hf(read_config(exported / "base"))
    lora = from_peft(load_file(exported / "results/train/s/adapter/adapter.safetensors"), cfg)
    for ids in prompt_ids(exported / "base"):
        wanted = hf.logits(model, ids)
        assert np.abs(wanted - hf.logits(hf.load(exported / "base"), ids)).max() > 0.1
        assert np.abs(ours(exported / "base", ids, lora, 3.0) - wanted).max() <= 5e-5 * max(1, wanted.std())


def test_the_merged_folder_gives_our_logits_and_greedy_tokens(exported):
    folder = exported / "results/export/s/merged"
    model = hf.load(folder)
    cfg = GemmaConfig.from_hf(read_config(folder))
    stops = tuple(json.loads((folder / "generation_config.json").read_text())["eos_token_id"])
    prompts = prompt_ids(folder)
    requests = [Request(ids.tolist(), stops, 40) for ids in prompts]
    written = generate(unstack(load_params(folder, cfg, "float32"), cfg), cfg, requests)
    for ids, rollout in zip(prompts, written, strict=True):
        wanted = hf.logits(model, ids)
        assert np.abs(ours(folder, ids) - wanted).max() <= 5e-5 * max(1, wanted.std())
        with torch.no_grad():
            theirs = model.generate(torch.from_numpy(ids.astype(np.int64))[None], max_new_tokens=40)
        np.testing.assert_array_equal(theirs[0, len(ids) :].numpy(), rollout.ids)


@pytest.mark.parametrize("form", ["peft", "merged"])
def test_the_chat_template_renders_the_ids_of_training(exported, form):
    folder = exported / "results/export/s" / form
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for question, ids in zip(QUESTIONS, prompt_ids(exported / "base"), strict=True):
        messages = [{"role": "user", "content": question}]
        got = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert got == ids.tolist()
        assert got.count(tokenizer.bos_token_id) == 1


DEMO = Path(__file__).resolve().parents[2] / "src/showwork/demo/base"


def test_the_demo_base_is_a_gemma_that_transformers_computes_alike():
    ids = prompt_ids(DEMO)[0]
    wanted = hf.logits(hf.load(DEMO), ids)
    assert np.abs(ours(DEMO, ids) - wanted).max() <= 5e-5 * max(1, wanted.std())


def test_the_demo_tokenizer_renders_the_ids_of_training_in_transformers(tmp_path):
    shutil.copyfile(DEMO / "tokenizer.json", tmp_path / "tokenizer.json")
    said = json.loads((DEMO / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(said, chat_template(SYSTEM))))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for question, ids in zip(QUESTIONS, prompt_ids(DEMO), strict=True):
        messages = [{"role": "user", "content": question}]
        got = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert got == ids.tolist()
