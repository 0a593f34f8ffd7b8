import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_gemma import GEMMA2, GEMMA3, random_weights, tensor_shapes, write_gemma

from showwork.model.config import GemmaConfig
from showwork.model.params import load_params, params_shape, read_config, save_params, shapes

CFG = GemmaConfig.from_hf(GEMMA2)
KEY = "model.layers.1.mlp.up_proj.weight"


def write_shards(folder, weights):
    folder.mkdir()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("config", [GEMMA2, GEMMA3], ids=["gemma2", "gemma3"])
def test_every_tensor_lands_in_its_layer_untransposed(config, tmp_path):
    cfg = GemmaConfig.from_hf(config)
    assert shapes(cfg, config["vocab_size"]) == tensor_shapes(config)
    weights = random_weights(config)
    tree = load_params(write_gemma(tmp_path / "base", config), cfg, "float32")
    np.testing.assert_array_equal(tree["layers"]["up"][1], weights[KEY])
    np.testing.assert_array_equal(tree["layers"]["o"][2], weights["model.layers.2.self_attn.o_proj.weight"])
    np.testing.assert_array_equal(tree["embed"], weights["model.embed_tokens.weight"])
    assert sum(x.size for x in jax.tree.leaves(tree)) == sum(x.size for x in weights.values())


def test_shards_load_as_one_file_does(tmp_path):
    whole = load_params(write_gemma(tmp_path / "whole", GEMMA2), CFG, "float32")
    same(load_params(write_shards(tmp_path / "shards", random_weights(GEMMA2)), CFG, "float32"), whole)


def test_weights_are_cast_to_the_dtype_asked_for(tmp_path):
    base = write_gemma(tmp_path / "base", GEMMA2)
    narrow = load_params(base, CFG, "bfloat16")
    wanted = jax.tree.map(lambda x: x.astype("bfloat16"), load_params(base, CFG, "float32"))
    same(narrow, wanted)
    shape = params_shape(base, CFG, "bfloat16")
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shape) == jax.tree.map(lambda x: (x.shape, x.dtype), narrow)
    with pytest.raises(ValueError, match="dtype is 'float16', wanted bfloat16 or float32: Gemma's activations exceed"):
        load_params(base, CFG, "float16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_weights_load_again_and_are_the_same_bytes_each_time(dtype, tmp_path):
    tree = load_params(write_gemma(tmp_path / "base", GEMMA2), CFG, dtype)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert save_params(one, tree, CFG).read_bytes() == save_params(two, tree, CFG).read_bytes()
    same(load_params(one, CFG, dtype), tree)
    if dtype == "float32":
        written = load_file(one / "model.safetensors")
        np.testing.assert_array_equal(written[KEY], random_weights(GEMMA2)[KEY])


def test_vocabulary_rows_are_read_from_the_shape(tmp_path):
    weights = random_weights(GEMMA2)
    weights["model.embed_tokens.weight"] = np.ones((64, 20), np.float32)
    base = write_gemma(tmp_path / "base", GEMMA2, weights=weights)
    assert load_params(base, CFG, "float32")["embed"].shape == (64, 20)


def test_a_tied_head_that_is_stored_twice_is_accepted_and_another_head_is_not(tmp_path):
    weights = random_weights(GEMMA2)
    embed = weights["model.embed_tokens.weight"]
    base = write_gemma(tmp_path / "base", GEMMA2, weights={**weights, "lm_head.weight": embed})
    load_params(base, CFG, "float32")
    other = write_gemma(tmp_path / "other", GEMMA2, weights={**weights, "lm_head.weight": embed + 1})
    with pytest.raises(ValueError, match=r"tensor lm_head\.weight of shape \[47, 20\] in model\.safetensors is unexp"):
        load_params(other, CFG, "float32")


def test_gemma_3_with_a_vision_tower_gives_its_text_weights(tmp_path):
    cfg = GemmaConfig.from_hf(GEMMA3)
    weights = random_weights(GEMMA3)
    nested = {f"language_model.{name}": array for name, array in weights.items()}
    nested["vision_tower.vision_model.embeddings.patch_embedding.weight"] = np.ones((2, 2), np.float32)
    nested["multi_modal_projector.mm_input_projection_weight"] = np.ones((2, 2), np.float32)
    base = write_gemma(tmp_path / "base", {"model_type": "gemma3", "text_config": GEMMA3}, weights=nested)
    assert GemmaConfig.from_hf(read_config(base)) == cfg
    same(load_params(base, cfg, "float32"), load_params(write_gemma(tmp_path / "text", GEMMA3), cfg, "float32"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda w: w.pop(KEY),
            f"tensor {KEY} is missing, wanted shape [35, 20] by config.json; fetch the weights again, or the config.json "
            f"that belongs to them.",
        ),
        (
            lambda w: w.pop("model.embed_tokens.weight"),
            "tensor model.embed_tokens.weight is missing, wanted shape ['V', 20] by config.json; fetch",
        ),
        (
            lambda w: w.update({KEY: np.ones((35, 21), np.float32)}),
            f"tensor {KEY} in model.safetensors has shape [35, 21], wanted [35, 20] by config.json; the two are of "
            f"different models, fetch both from one.",
        ),
        (
            lambda w: w.update({"model.layers.3.mlp.up_proj.weight": np.ones((35, 20), np.float32)}),
            "tensor model.layers.3.mlp.up_proj.weight of shape [35, 20] in model.safetensors is unexpected, wanted only "
            "the 35 tensors of a gemma2 with 3 layers and a tied head; give the base that config.json describes.",
        ),
        (
            lambda w: w.update({KEY: np.ones((35, 20), np.int8)}),
            f"tensor {KEY} has dtype I8, wanted one of F32, BF16, F16; give a base that is not quantized.",
        ),
    ],
)
def test_a_base_that_does_not_fit_is_one_sentence(change, text, tmp_path):
    weights = random_weights(GEMMA2)
    change(weights)
    base = write_gemma(tmp_path / "base", GEMMA2, weights=weights)
    with pytest.raises(ValueError, match="tensor") as error:
        load_params(base, CFG, "float32")
    assert text in str(error.value)
    assert str(base) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"base folder '.*/nowhere' does not exist, wanted a folder with config"
    ):
        read_config(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"base folder '.*/empty' has no config\.json, wanted the model's config"
    ):
        read_config(empty)
    with pytest.raises(FileNotFoundError, match=r"'.*/empty' has no model\.safetensors, wanted the weights as safeten"):
        load_params(empty, CFG, "float32")
    shards = write_shards(tmp_path / "shards", random_weights(GEMMA2))
    (shards / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no model-00002-of-00002\.safetensors, wanted every shard that its in"
    ):
        load_params(shards, CFG, "float32")
    (empty / "config.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"config\.json: expected JSON, got something else .* fetch config\.json again"
    ):
        read_config(empty)


def test_a_file_cut_short_is_named(tmp_path):
    base = write_gemma(tmp_path / "base", GEMMA2)
    path = base / "model.safetensors"
    whole = path.read_bytes()
    for cut, text in [
        (-1, "the file is cut short, fetch it again"),
        (40 - len(whole), "wanted a whole safetensors file"),
    ]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=text):
            load_params(base, CFG, "float32")


def test_loading_imports_neither_torch_nor_transformers(tmp_path):
    base = write_gemma(tmp_path / "base", GEMMA2)
    code = (
        "import sys; from showwork.model.params import load_params, read_config;"
        "from showwork.model.config import GemmaConfig;"
        f"load_params({str(base)!r}, GemmaConfig.from_hf(read_config({str(base)!r})), 'float32');"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"
