"""Low-rank adapters: which modules, their start, merging them into the base, and PEFT's names for them.

*Takes* a configuration, targets, rank, alpha and seed. *Leaves* the adapter tree of `model.gemma`, float32 whatever the
base is: {module: {"a": [layers, R, in], "b": [layers, out, R]}}, in the orientation of PEFT's lora_A and lora_B.

Source: LoRA (arXiv 2106.09685), rsLoRA (arXiv 2312.03732), and PEFT's initialization and file layout.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from showwork.model.config import GemmaConfig
from showwork.model.gemma import MODULES
from showwork.model.params import HF_NAMES, layer_shapes

ALL_LINEAR = "all-linear"
PEFT_PREFIX = "base_model.model."
_EMBEDDINGS = ("embed_tokens", "lm_head", "embed")
_KEY = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(\w+\.\w+)\.lora_([AB])\.weight")


def match_targets(targets: str | Sequence[str], cfg: GemmaConfig) -> tuple[str, ...]:
    """The modules that get an adapter, in the order of MODULES.

        "all-linear"                 ("q", "k", "v", "o", "gate", "up", "down")
        ["q_proj", "v"]              ("q", "v")
        r".*\\.self_attn\\.[qv]_proj"  ("q", "v"): a regular expression over whole names, as in PEFT

    Args:
        targets: 'all-linear', a list of module names (Hugging Face's or ours), or one regular expression that is held
            against whole names such as model.layers.0.self_attn.q_proj.

    Raises:
        ValueError: a target that matches nothing, an expression that matches a module in some layers only, an
            embedding.
    """
    there = ", ".join(HF_NAMES[name].split(".")[1] for name in MODULES)
    if targets == ALL_LINEAR:
        return MODULES
    if isinstance(targets, str):
        return _match_expression(targets, cfg, there)
    if not targets:
        raise ValueError(f"adapter targets are an empty list, wanted some of {there}; or set targets: {ALL_LINEAR}.")
    by_name = {alias: name for name in MODULES for alias in (name, HF_NAMES[name], HF_NAMES[name].split(".")[1])}
    found = set()
    for target in targets:
        if target.removeprefix("model.") in _EMBEDDINGS:
            raise _embedding_refused(target, there)
        if target not in by_name:
            raise ValueError(
                f"adapter target '{target}' matches nothing, wanted some of {there}; "
                f"correct the name, or set targets: {ALL_LINEAR}."
            )
        found.add(by_name[target])
    return tuple(name for name in MODULES if name in found)


def _match_expression(expression: str, cfg: GemmaConfig, there: str) -> tuple[str, ...]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"adapter target '{expression}' is not a regular expression ({error}), wanted one over names such as "
            f"model.layers.0.self_attn.q_proj, or a list of names; correct it."
        ) from None
    for name in ("model.embed_tokens", "lm_head"):
        if pattern.fullmatch(name):
            raise _embedding_refused(name, there)
    found = []
    for name in MODULES:
        layers = [i for i in range(cfg.num_layers) if pattern.fullmatch(f"model.layers.{i}.{HF_NAMES[name]}")]
        if len(layers) not in (0, cfg.num_layers):
            raise ValueError(
                f"adapter target '{expression}' matches {HF_NAMES[name]} in {len(layers)} of {cfg.num_layers} layers, "
                f"wanted all or none, because layers are stacked and trained by one loop; widen or narrow it."
            )
        if layers:
            found.append(name)
    if not found:
        raise ValueError(
            f"adapter target '{expression}' matches nothing, wanted an expression over whole names such as "
            f"model.layers.0.self_attn.q_proj (modules: {there}); correct it, or set targets: {ALL_LINEAR}."
        )
    return tuple(found)


def _embedding_refused(target: str, there: str) -> ValueError:
    return ValueError(
        f"adapter target '{target}' is the embedding, wanted some of {there}: Gemma's embedding is also its output "
        f"head, and an adapter on one merges into both; leave it out, or train all weights with adapter: none."
    )


def scale_of(*, rank: int, alpha: float, rslora: bool = False) -> float:
    """Factor on the low-rank product: alpha / R, or alpha / sqrt(R) for rsLoRA."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def init_lora(cfg: GemmaConfig, modules: Sequence[str], *, rank: int, seed: int) -> dict:
    """A fresh adapter, identity at its start: A uniform in ±1/sqrt(in) as PEFT draws it, B zero.

    Each array's key is the seed and its own name, so that neither order nor choice of other modules changes it.

    Raises:
        ValueError: a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"adapter rank is {rank}, wanted at least 1; set rank, or adapter: none.")
    shapes = layer_shapes(cfg)
    tree = {}
    for name in modules:
        rows, columns = shapes[name]
        draw = _generator(seed, f"{HF_NAMES[name]}.lora_A").random((cfg.num_layers, rank, columns), np.float32)
        a = (2.0 * draw - 1.0) * np.float32(1.0 / math.sqrt(columns))
        tree[name] = {"a": jnp.asarray(a), "b": jnp.zeros((cfg.num_layers, rows, rank), jnp.float32)}
    return tree


def _generator(seed: int, name: str) -> np.random.Generator:
    """NumPy's, because JAX would compile one program per shape before the first step."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def count_params(cfg: GemmaConfig, modules: Sequence[str], *, rank: int) -> dict[str, int]:
    """Trainable parameters by module over all layers: {"self_attn.q_proj": 83,886, …}."""
    shapes = layer_shapes(cfg)
    return {HF_NAMES[name]: cfg.num_layers * rank * sum(shapes[name]) for name in modules}


def merge(params: dict, lora: dict, scale: float) -> dict:
    """params with W + scale * B A in place of W, summed in float32, one layer at a time, then in W's dtype."""
    return _shifted(params, lora, scale)


def unmerge(params: dict, lora: dict, scale: float) -> dict:
    """The inverse of `merge`, up to rounding of the sum in W's dtype."""
    return _shifted(params, lora, -scale)


def _shifted(params: dict, lora: dict, scale: float) -> dict:
    def shift(one: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        w, a, b = one
        delta = jnp.matmul(b, a, precision=jax.lax.Precision.HIGHEST)
        return (w.astype(jnp.float32) + scale * delta).astype(w.dtype)

    layers = dict(params["layers"])
    for name, part in lora.items():
        layers[name] = jax.lax.map(shift, (layers[name], part["a"], part["b"]))
    return {**params, "layers": layers}


def to_peft(lora: Mapping, cfg: GemmaConfig) -> dict[str, np.ndarray]:
    """{PEFT's tensor name: array}, sorted by name.

    'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight' is lora["q"]["a"][0], shape [R, in].
    """
    named = {}
    for name, part in lora.items():
        for letter, side in (("A", "a"), ("B", "b")):
            whole = np.asarray(part[side], np.float32)
            for index in range(cfg.num_layers):
                key = f"{PEFT_PREFIX}model.layers.{index}.{HF_NAMES[name]}.lora_{letter}.weight"
                named[key] = np.ascontiguousarray(whole[index])
    return dict(sorted(named.items()))


def from_peft(named: Mapping[str, np.ndarray], cfg: GemmaConfig) -> dict:
    """The adapter tree of PEFT's tensors; the inverse of `to_peft`.

    Raises:
        ValueError: a name that is not of this model, a module missing in some layer, a shape that does not fit.
    """
    ours = {hf: name for name, hf in HF_NAMES.items() if name in MODULES}
    shapes = layer_shapes(cfg)
    rows: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    for key, array in named.items():
        found = _KEY.fullmatch(key)
        if not found or found[2] not in ours or int(found[1]) >= cfg.num_layers:
            raise ValueError(
                f"adapter tensor {key} is unexpected, wanted names such as {PEFT_PREFIX}model.layers.0."
                f"self_attn.q_proj.lora_A.weight with layers below {cfg.num_layers}; give an adapter of this base."
            )
        rows.setdefault((ours[found[2]], found[3].lower()), {})[int(found[1])] = array
    if not rows:
        raise ValueError("the adapter has no tensors, wanted at least one lora_A and lora_B; give a trained adapter.")
    tree: dict[str, dict[str, jax.Array]] = {}
    (_, side), layers = next(iter(rows.items()))
    rank = next(iter(layers.values())).shape[0 if side == "a" else 1]
    for name in MODULES:
        if (name, "a") not in rows and (name, "b") not in rows:
            continue
        out, into = shapes[name]
        tree[name] = {}
        for side, wanted in (("a", (rank, into)), ("b", (out, rank))):
            layers = rows.get((name, side), {})
            for index in range(cfg.num_layers):
                key = f"model.layers.{index}.{HF_NAMES[name]}.lora_{side.upper()}"
                if index not in layers:
                    raise ValueError(
                        f"adapter tensor {key} is missing, wanted shape {list(wanted)}; the adapter file is "
                        f"incomplete, give a whole one."
                    )
                if layers[index].shape != wanted:
                    raise ValueError(
                        f"adapter tensor {key} has shape {list(layers[index].shape)}, wanted {list(wanted)}; "
                        f"give an adapter of this base and of one rank."
                    )
            tree[name][side] = jnp.asarray(np.stack([layers[i] for i in range(cfg.num_layers)]), jnp.float32)
    return tree
