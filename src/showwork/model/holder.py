"""A flax nnx Module that holds the stacked tree, for those who work with nnx: split, state, filters, optimizers.

*Takes* a tree of `model.params` and its configuration, an adapter if there is one. *Leaves* a Module whose call is
`model.gemma`'s forward pass. Training and decoding use the functions themselves; nothing is computed here.
"""

from __future__ import annotations

from pathlib import Path

import jax
from flax import nnx

from showwork.model import gemma
from showwork.model.config import GemmaConfig
from showwork.model.params import load_params, read_config


class Gemma(nnx.Module):
    """Base weights as nnx.Param, adapter weights as nnx.LoRAParam, in the trees of `model.gemma`."""

    def __init__(self, params: dict, cfg: GemmaConfig, lora: dict | None = None, scale: float = 1.0):
        self.cfg = cfg
        self.scale = scale
        self.base = nnx.data(jax.tree.map(nnx.Param, params))
        self.lora = nnx.data(None if lora is None else jax.tree.map(nnx.LoRAParam, lora))

    @classmethod
    def from_hf(cls, folder: Path | str, dtype: str = "float32") -> Gemma:
        """Load a Hugging Face folder; raises as `model.params.load_params` does."""
        cfg = GemmaConfig.from_hf(read_config(folder))
        return cls(load_params(folder, cfg, dtype), cfg)

    def trees(self) -> tuple[dict, dict | None]:
        """The plain trees of arrays: base and adapter."""
        return _plain(self.base), None if self.lora is None else _plain(self.lora)

    def __call__(self, tokens: jax.Array, positions: jax.Array, segment_ids: jax.Array) -> jax.Array:
        """Logits [B, L, V] float32 of packed rows, all int [B, L]."""
        params, lora = self.trees()
        states = gemma.hidden(params, self.cfg, tokens, positions, segment_ids, lora, self.scale, remat="none")
        return gemma.logits(params, self.cfg, states)


def _plain(tree: dict) -> dict:
    return jax.tree.map(lambda variable: variable[...], tree, is_leaf=lambda node: isinstance(node, nnx.Variable))
