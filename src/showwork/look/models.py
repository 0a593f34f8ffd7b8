"""Which models of a run can be asked, how each was worded to in its training, and its weights.

Takes:  the folder of a run: results/download/base.json, results/train/, results/pack/, results/evaluate/.
Leaves: for the base or a session a `Model`: system prompt, dtype, the limit its evaluation used, and a way to load it.
"""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from showwork.look.results import Manifest, Results

if TYPE_CHECKING:
    from showwork.model.config import GemmaConfig
    from showwork.tokens.tokenizer import Encoder

BASE = "base"


@dataclass(frozen=True)
class Model:
    """One model as it is asked. `session` is the manifest of its training, None for the base."""

    name: str
    system_prompt: str
    dtype: str
    max_new_tokens: int
    session: Manifest | None


class Asked:
    """The base of a run, and what was trained from it."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def latest(self) -> str:
        """The session whose training ended last.

        Raises: ValueError when none has.
        """
        trained = list(self.results.built("train"))
        if not trained:
            mixed = self.results.names("mix")
            raise ValueError(
                f"{self.results.directory / 'results/train'}: nothing is trained yet; train first: "
                f"{self.results.command(mixed[0] if mixed else 'session1')}, or ask the base: --session {BASE}"
            )
        return max(trained, key=lambda manifest: (manifest.path.stat().st_mtime_ns, manifest.name)).name

    def model(self, name: str) -> Model:
        """The base or one session.

        Raises: ValueError when it is not trained, or when nothing says how it is asked.
        """
        session = None if name == BASE else self.results.manifest("train", name)
        if name != BASE and session is None:
            known = [BASE, *self.results.names("train")]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            way = f"; train it: {self.results.command(name)}" if name in self.results.names("mix") else ""
            raise ValueError(
                f"session {name!r} is not trained; there are {', '.join(known)}"
                f"{f', did you mean {near[0]!r}?' if near else way}"
            )
        said = self._said(name)
        asked = self.results.manifest("evaluate", name) or self.results.manifest("evaluate", BASE)
        limit = asked.settings["evaluate"]["max_new_tokens"] if asked else said["max_seq_length"]
        return Model(name, said["system_prompt"], said["dtype"], limit, session)

    def _said(self, name: str) -> dict[str, Any]:
        """system_prompt, max_seq_length and dtype: of a session's own training, of the base's evaluation, of any session."""
        names = [name] if name != BASE else [BASE, *self.results.names("train")]
        found: dict[str, Any] = {}
        for other in names:
            for stage in ("train", "pack", "evaluate"):
                manifest = self.results.manifest(stage, other)
                if manifest:
                    settings = manifest.settings
                    found = {**settings.get("template", {}), **settings, **found}
        missing = [key for key in ("system_prompt", "max_seq_length", "dtype") if key not in found]
        if missing:
            raise ValueError(
                f"{name}: no manifest in {self.results.directory / 'results'} says its {', '.join(missing)}; build what it "
                f"was made from: {self.results.command('plan')}"
            )
        return found

    @cached_property
    def base(self) -> tuple[Path, dict[str, Any]]:
        """(folder of the base, once all its files are what the download recorded; its config.json).

        Raises: ValueError, FileNotFoundError when it is not there or damaged.
        """
        from showwork.model.params import read_config
        from showwork.tokens.base import base_folder

        manifest = Path("results/download/base.json")
        if not (self.results.directory / manifest).is_file():
            raise FileNotFoundError(
                f"{self.results.directory / manifest}: the base is not there yet: {self.results.command(str(manifest))}"
            )
        with contextlib.chdir(self.results.directory):  # the manifest's paths are relative to the folder of the run
            folder = base_folder(manifest, weights=True).resolve()
        return folder, read_config(folder)

    @cached_property
    def cfg(self) -> GemmaConfig:
        """The shape of the base."""
        from showwork.model.config import GemmaConfig

        return GemmaConfig.from_hf(self.base[1])

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer of the base."""
        from showwork.tokens.tokenizer import load_encoder

        return load_encoder(*self.base)

    @property
    def positions(self) -> int:
        """How many tokens the base was made for."""
        config = self.base[1]
        return config.get("text_config", config).get("max_position_embeddings", 8192)

    def shapes(self, model: Model) -> dict[str, Any]:
        """What `weights` will have, without reading them."""
        import jax

        from showwork.model.config import dtype_named
        from showwork.model.decode import unstack
        from showwork.model.params import layer_shapes
        from showwork.model.tensors import index_tensors

        def like(*shape: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype_named(model.dtype))

        rows = index_tensors(self.base[0])["model.embed_tokens.weight"].shape[0]
        layers = {name: like(self.cfg.num_layers, *shape) for name, shape in layer_shapes(self.cfg).items()}
        params = {"embed": like(rows, self.cfg.width), "final_norm": like(self.cfg.width), "layers": layers}
        return jax.eval_shape(lambda tree: unstack(tree, self.cfg), params)

    def weights(self, model: Model) -> dict[str, Any]:
        """What `learn.rollout` takes; one model at a time is held.

        Raises: ValueError, FileNotFoundError when the session's weights are damaged, gone, or of another base.
        """
        from showwork.learn.trained import trained_params
        from showwork.model.decode import unstack

        session = () if model.session is None else (model.session.intact("adapter"), model.session.body["adapter"])
        params = trained_params(self.base[0], self.cfg, model.dtype, *session)
        return unstack(params, self.cfg)
