"""The weights of a model as it stands after its training: the base with a session's adapter merged in, or all of them.

*Takes* the base's folder and, for a session, the weights it left with what its manifest says of them. *Leaves* the tree of
`model.gemma`. Evaluation, `showwork ask` and the reference of a policy (`learn.start`) all start here, so that they mean the
same model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from showwork.model.config import GemmaConfig
from showwork.model.lora import from_peft, merge
from showwork.model.params import load_params


def trained_params(
    folder: Path, cfg: GemmaConfig, dtype: str, file: Path | None = None, about: Mapping[str, Any] | None = None
) -> dict:
    """The base's weights, a session's, or the base's with a session's adapter merged in.

    Args:
        folder: of the base.
        cfg, dtype: as in `load_params`.
        file: the weights a session left, checked by the caller; None is the base itself.
        about: the block `adapter` of the session's manifest: `kind` lora or full, `scale` of an adapter.

    Raises:
        ValueError: weights of another base.
    """
    if file is None or about is None:
        return load_params(folder, cfg, dtype)
    if about["kind"] == "full":
        return load_params(file, cfg, dtype)
    return with_adapter(load_params(folder, cfg, dtype), cfg, file, about)


def with_adapter(params: dict, cfg: GemmaConfig, file: Path, about: Mapping[str, Any]) -> dict:
    """A base in memory with the adapter in `file` merged in; `about` gives its `scale`.

    Raises:
        ValueError: an adapter of another base.
    """
    return merge(params, from_peft(load_file(file), cfg), about["scale"])
