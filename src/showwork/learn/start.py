"""Where a training starts, and what a policy is held against: the base, an earlier session, or a folder from elsewhere.

Takes   the base's folder and, if not the base itself is meant, the manifest of a session or a folder with a PEFT adapter
        (adapter_config.json) or a merged model (config.json).
Leaves  trees of arrays, once it is certain that they are of this base and of the kind that the session trains.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from safetensors.numpy import load_file

from showwork.foundation.files import canonical, sha256_file
from showwork.foundation.manifest import read_checked, read_manifest
from showwork.learn.session import Session
from showwork.learn.trained import trained_params, with_adapter
from showwork.model.config import GemmaConfig
from showwork.model.lora import from_peft, scale_of
from showwork.model.params import HF_NAMES, load_params, read_config

PLAIN = {
    "peft_type": "LORA",
    "use_dora": False,
    "bias": "none",
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": False,
    "layers_to_transform": None,
}
"""What a foreign adapter_config.json may say of features that ours do not have: nothing else than this."""


def digest_of(start: Path | None) -> str | None:
    """sha256 of what a session starts from; None for the base itself.

    Raises:
      FileNotFoundError: a folder that is not there, or holds no weights.
    """
    if start is None:
        return None
    if not start.is_dir() and start.suffix == ".json":
        return read_manifest(start)["files"]["adapter"]["sha256"]
    files = sorted([*start.glob("*.safetensors"), *start.glob("*config.json")])
    if not any(f.suffix == ".safetensors" for f in files):
        raise FileNotFoundError(
            f"{start}: holds no *.safetensors, wanted a folder with a PEFT adapter or a merged model; correct the path "
            "(start_from, or train.grpo.reference)"
        )
    return hashlib.sha256(canonical({f.name: sha256_file(f) for f in files}).encode()).hexdigest()


def inputs_of(start: Path | None) -> dict[str, Path]:
    """The start as an input of a manifest, which names files: a folder has its digest among the identity's parts."""
    return {} if start is None or start.is_dir() else {"start": start}


def adapter_facts(made: Session) -> dict[str, Any]:
    """What a reader of the adapter's tensors must know beside them."""
    if made.full:
        return {"kind": "full"}
    adapter = made.train["adapter"]
    return {
        "kind": "lora",
        "rank": adapter["rank"],
        "alpha": adapter["alpha"],
        "rslora": adapter["rslora"],
        "scale": made.scale,
        "targets": [HF_NAMES[module] for module in made.modules],
    }


def starting_point(start: Path | None, made: Session, base: Path) -> tuple[Any, Any]:
    """(frozen, trainable): the base and an adapter, or nothing and all weights.

    Raises:
      ValueError: an adapter of another base, shape or scale than this session trains, or weights where it trains an adapter.
    """
    if start is None:
        params = load_params(base, made.cfg, made.params_dtype)
        return (None, params) if made.full else (params, made.fresh_adapter())
    file, about = found_at(start, made.cfg)
    ours = adapter_facts(made)
    if about["kind"] == "full" and not made.full and start.is_dir():
        raise ValueError(
            f"train: start_from is {start}, a whole model, but this session trains an adapter, which is an adapter of "
            "model.base; set model.path to that folder, or train all weights with adapter: null"
        )
    if about != ours:
        differing = ", ".join(
            f"{key} {about.get(key)} there, {ours[key]} here" for key in ours if about.get(key) != ours[key]
        )
        raise ValueError(
            f"train: this session starts from {start}, whose adapter is of another kind: {differing}; give both "
            "sessions the same train.adapter"
        )
    if made.full:
        return None, load_params(file, made.cfg, made.params_dtype)
    return load_params(base, made.cfg, made.params_dtype), from_peft(load_file(file), made.cfg)


def reference_point(reference: str, made: Session, base: Path, frozen: Any, trainable: Any) -> tuple[Any, Any]:
    """(model, its adapter or None) that a policy is held against.

    Args:
      reference: `start` is where this session starts, `base` the base (the adapter switched off), else a folder.
      frozen, trainable: of `starting_point`.

    Raises:
      ValueError: a model of another family or size than the base.
    """
    if reference == "start":
        # A copy: an update is given the policy's own arrays to overwrite.
        kept = jax.tree.map(lambda leaf: leaf.copy(), trainable)
        return (kept, None) if made.full else (frozen, kept)
    if reference == "base":
        return (load_params(base, made.cfg, made.dtype) if made.full else frozen), None
    folder = Path(reference)
    digest_of(folder)
    file, about = found_at(folder, made.cfg)
    if about["kind"] == "full" or made.full:
        return trained_params(base, made.cfg, made.dtype, file, about), None
    return with_adapter(frozen, made.cfg, file, about), None


def found_at(start: Path, cfg: GemmaConfig) -> tuple[Path, dict[str, Any]]:
    """(weights, facts as `adapter_facts` has them) of a session's manifest or of a folder from elsewhere.

    Raises:
      ValueError: a model of another family or size, an adapter with features that ours do not have.
    """
    if not start.is_dir():
        return read_checked(start, "adapter"), read_manifest(start)["adapter"]
    if (start / "adapter_config.json").is_file():
        return start / "adapter_model.safetensors", peft_facts(start)
    theirs = GemmaConfig.from_hf(read_config(start))
    differing = [
        f"{key} {getattr(theirs, key)} there, {getattr(cfg, key)} in the base"
        for key in ("family", "num_layers", "width", "ffw_width", "heads", "kv_heads", "head_width")
        if getattr(theirs, key) != getattr(cfg, key)
    ]
    if differing or theirs != cfg:
        raise ValueError(
            f"{start}: a model of another kind than the base: {', '.join(differing) or 'its constants differ'}; give one "
            "that was made from the same base"
        )
    return start, {"kind": "full"}


def peft_facts(folder: Path) -> dict[str, Any]:
    """The facts of a PEFT adapter.

    Raises:
      ValueError: a feature that our adapters do not have.
    """
    said: Mapping[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    for key, value in PLAIN.items():
        if said.get(key, value) not in (value, None):
            raise ValueError(
                f"{folder}/adapter_config.json: {key} is {said[key]!r}, wanted {value!r}, the only one that this trainer "
                "can go on from; merge that adapter into its base and start from the merged model"
            )
    rank, alpha, rslora = said["r"], said["lora_alpha"], said.get("use_rslora", False)
    names = set(said["target_modules"])
    return {
        "kind": "lora",
        "rank": rank,
        "alpha": alpha,
        "rslora": rslora,
        "scale": scale_of(rank=rank, alpha=alpha, rslora=rslora),
        "targets": [name for name in HF_NAMES.values() if name.split(".")[-1] in names],
    }
