"""An adapter as google-tunix has it: qwix's low-rank parameters of tunix's own Gemma 2 and Gemma 3.

*Takes* and *leaves* adapter trees; nothing is read or written here.

    ours     q, k, v, o, gate, up, down: {"a": [layers, R, in], "b": [layers, out, R]}
    tunix's  layers / 0 / attn / q_einsum / w_lora_a [in, R'], w_lora_b [R', heads, width]
                          attn / kv_einsum / w_lora_a [in, R'], w_lora_b [R', 2, kv_heads, width]    (keys, then values)
                          attn / qkv_einsum / …, w_lora_b [R', 3, heads, width]                      (where heads = kv_heads)
                          attn / attn_vec_einsum / w_lora_a [heads, width, R'], w_lora_b [R', out]
                          mlp / gate_proj, up_proj, down_proj / kernel_lora_a [in, R'], kernel_lora_b [R', out]

Keys and values (or all three) are one module there and share their A, so it holds ours one after the other, and B is zero where a
part is another's. R' is our rank times the parts of the widest such module; modules with fewer are filled up with zeros, because
tunix wants one rank. The factor alpha / R' is what ours was.

Source: google-tunix 0.1.7 (models/gemma, models/gemma3, sft/checkpoint_manager.py) and qwix 0.1.8 (providers/lora.py);
benchmarks/tunix_export.py holds the logits of tunix's model to ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from showwork.model.config import GemmaConfig

Part = tuple[str, tuple[str, ...]]


def modules_of(cfg: GemmaConfig) -> dict[str, Part]:
    """{tunix's module: (its parameter, our modules in the order of their places)}."""
    fused = cfg.heads == cfg.kv_heads
    projections: dict[str, Part] = (
        {"attn/qkv_einsum": ("w", ("q", "k", "v"))}
        if fused
        else {"attn/q_einsum": ("w", ("q",)), "attn/kv_einsum": ("w", ("k", "v"))}
    )
    feed_forward: dict[str, Part] = {f"mlp/{name}_proj": ("kernel", (name,)) for name in ("gate", "up", "down")}
    return {**projections, "attn/attn_vec_einsum": ("w", ("o",)), **feed_forward}


def provider(lora: Mapping[str, Any], cfg: GemmaConfig, scale: float) -> dict[str, Any]:
    """module_path, rank and alpha of the qwix.LoraProvider whose model takes the adapter.

    >>> # provider(lora, cfg, 2.0) == {"module_path": ".*kv_einsum|.*gate_proj", "rank": 32, "alpha": 64.0}
    """
    names = [name for name, (_, ours) in modules_of(cfg).items() if any(one in lora for one in ours)]
    rank = _rank(lora, cfg)
    return {"module_path": "|".join(f".*{name.split('/')[1]}" for name in names), "rank": rank, "alpha": scale * rank}


def to_tunix(lora: Mapping[str, Any], cfg: GemmaConfig) -> dict[str, Any]:
    """The tree that tunix's CheckpointManager keeps: nested dicts with "value" at the leaves, float32."""
    wide, layers = _rank(lora, cfg), {}
    for index in range(cfg.num_layers):
        layer: dict[str, dict[str, Any]] = {}
        for path, (parameter, ours) in modules_of(cfg).items():
            if not any(name in lora for name in ours):
                continue
            block, module = path.split("/")
            a, b = _joined([_of(lora, name, index) for name in ours], wide)
            a, b = _shaped(module, a, b, cfg)
            held = {f"{parameter}_lora_a": {"value": a}, f"{parameter}_lora_b": {"value": b}}
            layer.setdefault(block, {})[module] = held
        layers[str(index)] = layer
    return {"layers": layers}


def from_tunix(tree: Mapping[str, Any], cfg: GemmaConfig, modules: tuple[str, ...], rank: int) -> dict[str, Any]:
    """Our adapter of a tree as `to_tunix` leaves it; its inverse.

    Args:
        modules: those of ours that the adapter has.
        rank: of ours.

    Raises:
        ValueError: something stands where `to_tunix` leaves zeros, so it is not an adapter of separate projections.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {"a": [], "b": []} for name in modules}
    for index in range(cfg.num_layers):
        for path, (parameter, ours) in modules_of(cfg).items():
            if not any(name in modules for name in ours):
                continue
            block, module = path.split("/")
            held = tree["layers"][str(index)][block][module]
            a, b = (np.asarray(held[f"{parameter}_lora_{side}"]["value"]) for side in "ab")
            a = a.reshape(-1, a.shape[-1])  # [in, R']
            sizes = [_out(name, cfg) for name in ours]
            b = b.reshape(b.shape[0], -1)  # [R', all outs]
            rest = b.copy()
            for place, name in enumerate(ours):
                rows = slice(place * rank, (place + 1) * rank)
                columns = slice(sum(sizes[:place]), sum(sizes[: place + 1]))
                if name in modules:
                    found[name]["a"].append(a[:, rows].T)
                    found[name]["b"].append(b[rows, columns].T)
                    rest[rows, columns] = 0
            if rest.any():
                raise ValueError(
                    f"layers/{index}/{path}: {np.count_nonzero(rest)} entries of its B mix {' and '.join(ours)}, wanted zeros "
                    "there; only adapters that showwork exported can be taken apart"
                )
    return {name: {side: np.stack(part) for side, part in sides.items()} for name, sides in found.items()}


def _rank(lora: Mapping[str, Any], cfg: GemmaConfig) -> int:
    own = next(iter(lora.values()))["a"].shape[1]
    return int(own) * max(len(ours) for _, ours in modules_of(cfg).values() if any(name in lora for name in ours))


def _of(lora: Mapping[str, Any], name: str, index: int) -> tuple[np.ndarray, np.ndarray] | None:
    if name not in lora:
        return None
    return np.asarray(lora[name]["a"][index], np.float32), np.asarray(lora[name]["b"][index], np.float32)


def _out(name: str, cfg: GemmaConfig) -> int:
    kv = cfg.kv_heads * cfg.head_width
    sizes = {"q": cfg.heads * cfg.head_width, "k": kv, "v": kv, "gate": cfg.ffw_width, "up": cfg.ffw_width}
    return sizes.get(name, cfg.width)


def _joined(parts: list[tuple[np.ndarray, np.ndarray] | None], wide: int) -> tuple[np.ndarray, np.ndarray]:
    """A [in, R'] and B [R', parts, out]; a part that is not trained is zero."""
    a0, b0 = next(part for part in parts if part is not None)
    rank = a0.shape[0]
    a = np.zeros((a0.shape[1], wide), np.float32)
    b = np.zeros((wide, len(parts), b0.shape[0]), np.float32)
    for place, part in enumerate(parts):
        if part is not None:
            rows = slice(place * rank, (place + 1) * rank)
            a[:, rows], b[rows, place] = part[0].T, part[1].T
    return a, b


def _shaped(module: str, a: np.ndarray, b: np.ndarray, cfg: GemmaConfig) -> tuple[np.ndarray, np.ndarray]:
    wide, parts, _ = b.shape
    if module == "attn_vec_einsum":
        return a.reshape(cfg.heads, cfg.head_width, wide), b[:, 0]
    if module in ("q_einsum", "kv_einsum", "qkv_einsum"):
        heads = cfg.kv_heads if module == "kv_einsum" else cfg.heads
        b = b.reshape(wide, parts, heads, cfg.head_width)
        return a, b[:, 0] if parts == 1 else b
    return a, b[:, 0]
