"""An exported adapter, loaded by google-tunix into its own Gemma: the same logits as ours.

Takes:  nothing; models and adapters are random, small and made here. tunix in `.tunix-venv` (`make peers`).
Leaves: benchmarks/results/<date>-tunix-export.json; exit status 1 above the bar.

    python benchmarks/tunix_export.py

Each case is written by the export stage's own function and read by tunix's CheckpointManager into a model that qwix has prepared as the
folder's README says; both compute float32 logits of the same ids, beyond the window of the local layers. The bar is 5e-5, times the logits' standard deviation where that is above 1. `moved` is how far the adapter takes them from the base's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from race import HERE, REPO, write
from training_data import write_model

from showwork.export import Trained, write_tunix
from showwork.model.config import GemmaConfig
from showwork.model.gemma import MODULES, hidden, logits
from showwork.model.lora import init_lora
from showwork.model.params import load_params, read_config

TUNIX = REPO / ".tunix-venv/bin/python"
SMALL = {
    "num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 16, "vocab_size": 512, "sliding_window": 16,
}  # fmt: skip
GEMMA3 = {
    "model_type": "gemma3_text", "num_hidden_layers": 6, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
    "attn_logit_softcapping": None, "final_logit_softcapping": None, "layer_types": [*["sliding_attention"] * 5, "full_attention"],
}  # fmt: skip
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "Gemma 2, all linears": (SMALL, MODULES),
    "Gemma 2, values and feed-forward": (SMALL, ("v", "up", "down")),
    "Gemma 2, as many key heads as query heads": (SMALL | {"num_key_value_heads": 4}, MODULES),
    "Gemma 3, all linears": (SMALL | GEMMA3, MODULES),
}
RANK, SCALE, BAR = 4, 1.5, 5e-5


def adapter(cfg: GemmaConfig, modules: tuple[str, ...]) -> dict[str, Any]:
    """Random on both sides."""
    state = np.random.RandomState(0)
    fresh = init_lora(cfg, modules, rank=RANK, seed=0)
    return {
        name: {side: jnp.asarray(state.standard_normal(a.shape) * a.shape[-1] ** -0.5, jnp.float32) for side, a in part.items()}
        for name, part in fresh.items()
    }  # fmt: skip


def main() -> int:
    if not TUNIX.is_file():
        raise FileNotFoundError(f"{TUNIX}: tunix's environment is not there; make it with `make peers`")
    tokens = np.random.RandomState(1).randint(3, 512, (2, 48))
    positions, segments = np.tile(np.arange(48), (2, 1)), np.ones((2, 48), int)
    found, missed = {}, False
    for case, (changed, modules) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            base = write_model(Path(folder) / "base", "m16k", **changed)
            config = read_config(base)
            cfg = GemmaConfig.from_hf(config)
            params, lora = load_params(base, cfg, "float32"), adapter(cfg, modules)
            trained = Trained(params, cfg, lora, SCALE, {"rank": RANK}, config, base, (), None)
            (Path(folder) / "tunix").mkdir()
            write_tunix(Path(folder) / "tunix", trained, {}, {"name": case, "counts": {"steps": 7}})
            np.save(f"{folder}/tokens.npy", tokens)
            peer = [
                str(TUNIX),
                str(HERE / "peers/tunix_logits.py"),
                str(base),
                f"{folder}/tunix",
                f"{folder}/tokens.npy",
            ]
            subprocess.run([*peer, f"{folder}/logits.npy"], check=True, stdout=subprocess.DEVNULL)
            theirs = np.load(f"{folder}/logits.npy")
            ours, without = (
                np.asarray(logits(params, cfg, hidden(params, cfg, tokens, positions, segments, with_, SCALE, "none")))
                for with_ in (lora, None)
            )
        far, most = float(np.max(np.abs(ours - theirs))), BAR * max(1.0, float(np.std(ours)))
        found[case] = {"max_error": far, "bar": most, "moved": float(np.max(np.abs(ours - without)))}
        missed |= not far <= most
        print(case, json.dumps(found[case]), flush=True)
    write("tunix-export", found)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
