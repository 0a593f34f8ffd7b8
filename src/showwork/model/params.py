"""Weights between the Hugging Face folder and the stacked tree, tensor by tensor and checked one by one.

*Takes* a folder with config.json and model.safetensors (or shards with model.safetensors.index.json). *Leaves* the tree
of `model.gemma`, or writes one back as model.safetensors. Each tensor is read with pread into its place in a stacked
array, the largest stack first: the peak is little more than the tree. Nothing is transposed, neither torch nor pickle
is imported.

Source: the safetensors format (8 bytes of header length, a JSON header, raw little-endian tensors).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from showwork.model.config import GemmaConfig, dtype_named
from showwork.model.tensors import Tensor, index_tensors, read_into, same_bytes

HF_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "input_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "pre_feedforward_norm": "pre_feedforward_layernorm",
    "post_feedforward_norm": "post_feedforward_layernorm",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
}
_CODES = {np.dtype(np.float32): "F32", np.dtype(ml_dtypes.bfloat16): "BF16"}
_NOT_OURS = re.compile(r"(^|\.)(vision_tower|multi_modal_projector)\.|\.rotary_emb\.inv_freq$")


def read_config(folder: Path | str) -> dict[str, Any]:
    """config.json of a base folder as a dict; `GemmaConfig.from_hf` reads it.

    Raises:
        FileNotFoundError: no folder, or no config.json in it.
        ValueError: not JSON.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"base folder '{folder}' does not exist, wanted a folder with config.json and model.safetensors; "
            f"set model.path to one, or run the download."
        )
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"base folder '{folder}' has no config.json, wanted the model's configuration beside its weights; "
            f"copy config.json from where the weights came from."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got something else ({error}); fetch config.json again.") from None


def shapes(cfg: GemmaConfig, vocab: int) -> dict[str, tuple[int, ...]]:
    """Wanted shape of every tensor of the model by its Hugging Face name.

    >>> shapes(cfg, 256)["model.layers.0.self_attn.k_proj.weight"]   # D 24, K 2, H 6
    (12, 24)
    """
    wanted = {"model.embed_tokens.weight": (vocab, cfg.width), "model.norm.weight": (cfg.width,)}
    for index in range(cfg.num_layers):
        for name, shape in layer_shapes(cfg).items():
            wanted[f"model.layers.{index}.{HF_NAMES[name]}.weight"] = shape
    return wanted


def layer_shapes(cfg: GemmaConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of one layer by our name; linears are [out, in]."""
    queries, keys = cfg.heads * cfg.head_width, cfg.kv_heads * cfg.head_width
    found: dict[str, tuple[int, ...]] = {
        "q": (queries, cfg.width),
        "k": (keys, cfg.width),
        "v": (keys, cfg.width),
        "o": (cfg.width, queries),
        "gate": (cfg.ffw_width, cfg.width),
        "up": (cfg.ffw_width, cfg.width),
        "down": (cfg.width, cfg.ffw_width),
    }
    norms = ("input_norm", "post_attention_norm", "pre_feedforward_norm", "post_feedforward_norm")
    found.update({name: (cfg.width,) for name in norms})
    if cfg.qk_norm:
        found.update(q_norm=(cfg.head_width,), k_norm=(cfg.head_width,))
    return found


def load_params(folder: Path | str, cfg: GemmaConfig, dtype: str) -> dict:
    """Read a base, a folder or one safetensors file, into the tree of `model.gemma` as JAX arrays of `dtype`.

    Vocabulary rows are read from the embedding's shape: checkpoints of one model differ in them.

    Raises:
        FileNotFoundError: folder, weights or a shard that the index names is missing.
        ValueError: a tensor is missing, unexpected or of the wrong shape, a file is cut short, float16 is asked for.
    """
    target = np.dtype(dtype_named(dtype))
    found = index_tensors(Path(folder))
    check_tensors(found, cfg, Path(folder))
    parts = {
        name: [f"model.layers.{i}.{HF_NAMES[name]}.weight" for i in range(cfg.num_layers)] for name in layer_shapes(cfg)
    }
    parts |= {"embed": ["model.embed_tokens.weight"], "final_norm": ["model.norm.weight"]}
    read: dict[str, jax.Array] = {}
    # The largest first: while a stack is handed over it is there twice, and the largest should not be when all else is there.
    for name in sorted(parts, key=lambda part: -sum(found[t].num_bytes for t in parts[part])):
        stack = _stack([found[tensor] for tensor in parts[name]], target)
        # Waited for: handing over goes on in the background and would hold several stacks at once.
        read[name] = jax.block_until_ready(jnp.asarray(stack if name in HF_NAMES else stack[0]))
        del stack
    return {
        "embed": read["embed"],
        "final_norm": read["final_norm"],
        "layers": {name: read[name] for name in layer_shapes(cfg)},
    }


def params_shape(folder: Path | str, cfg: GemmaConfig, dtype: str) -> dict:
    """The tree of `load_params` as jax.ShapeDtypeStruct, from headers alone: what a plan compiles against."""
    target = dtype_named(dtype)
    found = index_tensors(Path(folder))
    check_tensors(found, cfg, Path(folder))
    return {
        "embed": jax.ShapeDtypeStruct(found["model.embed_tokens.weight"].shape, target),
        "final_norm": jax.ShapeDtypeStruct((cfg.width,), target),
        "layers": {
            name: jax.ShapeDtypeStruct((cfg.num_layers, *shape), target) for name, shape in layer_shapes(cfg).items()
        },
    }


def check_tensors(found: Mapping[str, Tensor], cfg: GemmaConfig, folder: Path) -> None:
    """Hold what a folder has against what the configuration wants.

    Raises:
        ValueError: naming tensor, shape wanted, shape got, file and way out.
    """
    embed = found.get("model.embed_tokens.weight")
    wanted = shapes(cfg, embed.shape[0] if embed and embed.shape else 0)
    for name, shape in wanted.items():
        if name not in found:
            listed = list(shape) if shape[0] else ["V", shape[1]]
            raise ValueError(
                f"base '{folder}': tensor {name} is missing, wanted shape {listed} by config.json; "
                f"fetch the weights again, or the config.json that belongs to them."
            )
        if found[name].shape != shape:
            raise ValueError(
                f"base '{folder}': tensor {name} in {found[name].file.name} has shape {list(found[name].shape)}, "
                f"wanted {list(shape)} by config.json; the two are of different models, fetch both from one."
            )
    for name, tensor in found.items():
        if name in wanted or _NOT_OURS.search(name):
            continue
        if embed and name.endswith("lm_head.weight") and same_bytes(tensor, embed):
            continue
        raise ValueError(
            f"base '{folder}': tensor {name} of shape {list(tensor.shape)} in {tensor.file.name} is unexpected, wanted "
            f"only the {len(wanted)} tensors of a {cfg.family} with {cfg.num_layers} layers and a tied head; "
            f"give the base that config.json describes."
        )


def _stack(tensors: list[Tensor], target: np.dtype) -> np.ndarray:
    """Tensors of one shape as one array [len, …]; a tensor of another dtype passes through a buffer of its own size."""
    out = np.empty((len(tensors), *tensors[0].shape), target)
    for place, tensor in zip(out, tensors, strict=True):
        if tensor.dtype == target:
            read_into(tensor, place)
        else:
            buffer = np.empty(tensor.shape, tensor.dtype)
            read_into(tensor, buffer)
            place[...] = buffer
    return out


def save_params(folder: Path | str, params: Mapping[str, Any], cfg: GemmaConfig) -> Path:
    """Write a tree as folder/model.safetensors in the Hugging Face names and layout; bytes depend on the tree alone.

    The head is tied, so the embedding is written once. The caller owns the folder and its atomicity.

    Returns:
        the path written.
    """
    path = Path(folder) / "model.safetensors"
    places: dict[str, tuple[jax.Array, int | None]] = {
        "model.embed_tokens.weight": (params["embed"], None),
        "model.norm.weight": (params["final_norm"], None),
    }
    for index in range(cfg.num_layers):
        for name in layer_shapes(cfg):
            places[f"model.layers.{index}.{HF_NAMES[name]}.weight"] = (params["layers"][name], index)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (array, at) in sorted(places.items()):
        shape = array.shape if at is None else array.shape[1:]
        dtype = np.dtype(array.dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for _, (array, at) in sorted(places.items()):
            file.write(np.ascontiguousarray(array if at is None else array[at]).tobytes())
    return path
