"""Our adapters against peft's: gradients, the exported folder, the start of training."""

import json

import hf
import jax
import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_gemma import GEMMA2, GEMMA3, packed, random_tokens, write_gemma

from showwork.learn.step import supervised_loss
from showwork.model.config import GemmaConfig
from showwork.model.folders import adapter_config
from showwork.model.gemma import MODULES, hidden, logits
from showwork.model.lora import from_peft, init_lora, merge, scale_of, to_peft
from showwork.model.params import HF_NAMES, load_params

BOTH = pytest.mark.parametrize("config", [GEMMA2, GEMMA3], ids=["gemma2", "gemma3"])


def write_adapter(folder, cfg, *, modules=MODULES, rank=3, alpha=6, rslora=False):
    """A PEFT folder of an adapter that has moved, and the adapter."""
    folder.mkdir()
    state = np.random.RandomState(1)
    lora = init_lora(cfg, modules, rank=rank, seed=0)
    lora = jax.tree.map(lambda x: x + 0.1 * state.standard_normal(x.shape).astype(np.float32), lora)
    save_file(to_peft(lora, cfg), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    facts = {"rank": rank, "alpha": alpha, "rslora": rslora, "targets": [HF_NAMES[name] for name in modules]}
    config = adapter_config(facts, base=str(folder), revision=None, dropout=0.0)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return lora, scale_of(rank=rank, alpha=alpha, rslora=rslora)


def ours(params, cfg, tokens, lora=None, scale=1.0):
    """Our logits [L, V] of one sequence."""
    positions, segments = packed([tokens.shape[1]])
    run = jax.jit(lambda p, lo: logits(p, cfg, hidden(p, cfg, tokens, positions, segments, lo, scale)))
    return np.asarray(run(params, lora)[0])


@BOTH
@pytest.mark.parametrize(("modules", "rslora"), [(MODULES, False), (("k", "o", "down"), True)])
def test_peft_computes_our_logits_from_our_folder(config, modules, rslora, tmp_path):
    base = write_gemma(tmp_path / "base", config)
    cfg = GemmaConfig.from_hf(config)
    lora, scale = write_adapter(tmp_path / "adapter", cfg, modules=modules, rslora=rslora)
    model = peft.PeftModel.from_pretrained(hf.load(base), tmp_path / "adapter").eval()
    tokens = random_tokens(config, (1, 29))
    params = load_params(base, cfg, "float32")
    got = ours(params, cfg, tokens, lora, scale)
    wanted = hf.logits(model, tokens[0])
    assert np.abs(wanted - hf.logits(hf.load(base), tokens[0])).max() > 0.1
    assert np.abs(got - wanted).max() <= 5e-5 * max(1, wanted.std())

    got = ours(merge(params, lora, scale), cfg, tokens)
    theirs = hf.logits(model.merge_and_unload(), tokens[0])
    assert np.abs(got - theirs).max() <= 5e-5 * max(1, theirs.std())


@BOTH
def test_gradients_of_a_packed_row_are_those_of_its_sequences_apart(config, tmp_path):
    base = write_gemma(tmp_path / "base", config)
    cfg = GemmaConfig.from_hf(config)
    lora, scale = write_adapter(tmp_path / "adapter", cfg)
    model = peft.PeftModel.from_pretrained(hf.load(base), tmp_path / "adapter", is_trainable=True).eval()
    lengths = [14, 6, 11]
    tokens, (positions, segments) = random_tokens(config, (1, 35)), packed(lengths, padding=4)
    mask = np.zeros((1, 35), np.uint8)
    sequences, start = [], 0
    for length in lengths:  # the last two thirds of each sequence are trained
        mask[0, start + length // 3 : start + length] = 1
        sequences.append((tokens[0, start : start + length], mask[0, start : start + length]))
        start += length
    loss, wanted = hf.loss_and_gradients(model, sequences)

    micro = {"tokens": tokens, "positions": positions, "segment_ids": segments, "loss_mask": mask}
    params = load_params(base, cfg, "float32")
    loss_function = supervised_loss(cfg, full=False, scale=scale)
    (total, sums), gradient = jax.jit(jax.value_and_grad(loss_function, has_aux=True))(
        lora, params, micro, jax.random.key(0)
    )
    assert int(sums["loss_tokens"]) == mask.sum()
    np.testing.assert_allclose(total, loss, rtol=1e-5)
    found = to_peft(gradient, cfg)
    wanted = {name.replace(".default", ""): array for name, array in wanted.items()}
    assert found.keys() == wanted.keys()
    worst = max(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max() for name in wanted)
    assert worst <= 2e-5


@BOTH
def test_gradients_of_full_training_are_those_of_transformers(config, tmp_path):
    base = write_gemma(tmp_path / "base", config)
    cfg = GemmaConfig.from_hf(config)
    tokens, (positions, segments) = random_tokens(config, (1, 30)), packed([17, 13])
    mask = np.ones((1, 30), np.uint8)
    mask[0, [0, 17]] = 0
    loss, wanted = hf.loss_and_gradients(
        hf.load(base), [(tokens[0, :17], mask[0, :17]), (tokens[0, 17:], mask[0, 17:])]
    )
    micro = {"tokens": tokens, "positions": positions, "segment_ids": segments, "loss_mask": mask}
    loss_function = supervised_loss(cfg, full=True)
    (total, _), gradient = jax.jit(jax.value_and_grad(loss_function, has_aux=True))(
        load_params(base, cfg, "float32"), None, micro, jax.random.key(0)
    )
    np.testing.assert_allclose(total, loss, rtol=1e-5)
    found = {"model.embed_tokens.weight": gradient["embed"], "model.norm.weight": gradient["final_norm"]}
    for name, stacked in gradient["layers"].items():
        found |= {f"model.layers.{i}.{HF_NAMES[name]}.weight": part for i, part in enumerate(stacked)}
    assert found.keys() == wanted.keys()
    worst = max(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max() for name in wanted)
    assert worst <= 2e-5


def test_a_folder_that_peft_wrote_loads_here(tmp_path):
    base = write_gemma(tmp_path / "base", GEMMA2)
    cfg = GemmaConfig.from_hf(GEMMA2)
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", init_lora_weights=False)
    model = peft.get_peft_model(hf.load(base), config).eval()
    model.save_pretrained(tmp_path / "theirs")
    lora = from_peft(load_file(tmp_path / "theirs/adapter_model.safetensors"), cfg)
    tokens = random_tokens(GEMMA2, (1, 20))
    assert (
        np.abs(ours(load_params(base, cfg, "float32"), cfg, tokens, lora, 2.0) - hf.logits(model, tokens[0])).max()
        <= 5e-5
    )


def test_a_starts_as_peft_starts_it(tmp_path):
    base = write_gemma(tmp_path / "base", GEMMA2)
    config = peft.LoraConfig(r=64, target_modules=["q_proj"])
    torch.manual_seed(0)
    theirs = dict(peft.get_peft_model(hf.load(base), config).named_parameters())
    a = theirs["base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"].detach().numpy()
    ours = np.asarray(init_lora(GemmaConfig.from_hf(GEMMA2), ("q",), rank=64, seed=0)["q"]["a"][0])
    assert ours.shape == a.shape
    np.testing.assert_allclose([ours.std(), np.abs(ours).max()], [a.std(), np.abs(a).max()], rtol=0.05)
