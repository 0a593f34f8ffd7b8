"""Hands a session's weights on as a PEFT adapter and as merged Hugging Face weights, and proves that they are what was trained.

*Takes*  results/train/<session>/manifest.json, results/download/base.json, results/heldout/prompts.json.
*Leaves* results/export/<session>/: peft/ (adapter_model.safetensors, adapter_config.json), merged/ (model.safetensors,
         config.json, generation_config.json), if asked for tunix/ (checkpoint/, provider.json), each with tokenizer, chat
         template, card and NOTICE, and certificate.json, which is also the manifest. Every form is read back from disk and its logits on held-out questions compared with
         those of base and adapter in float32. Beyond the bound the stage fails and no folder stays under a final name.

    python -m showwork.export --settings JSON --adapter results/train/session1/manifest.json
        --base results/download/base.json --prompts results/heldout/prompts.json
        --certificate results/export/session1/certificate.json --folder results/export/session1

The bound is export.max_error. Weights that are cast to bfloat16 are rounded, so for them the bound is, where larger, twice
what computing base and adapter in bfloat16 changes: no user of such weights computes more exactly than that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jinja2.sandbox
import numpy as np
from safetensors.numpy import load_file, save_file

from showwork.foundation.files import read_json, write_json, write_text
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import read_rows
from showwork.model.card import card, notice
from showwork.model.compare import Outputs, agreement, outputs
from showwork.model.config import GemmaConfig, dtype_named
from showwork.model.folders import adapter_config, generation_config, merged_config, tokenizer_config
from showwork.model.lora import from_peft, merge, scale_of, to_peft
from showwork.model.params import load_params, read_config, save_params
from showwork.model.tunix import from_tunix, provider, to_tunix
from showwork.tokens.base import base_folder
from showwork.tokens.template import BOS, chat_template, completion_segments, prompt_segments
from showwork.tokens.tokenizer import Encoder, load_encoder

PROMPTS = 8  # held-out questions compared on
MAX_TOKENS = 256  # of each, gold completion included
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json")

Settings = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Trained:
    """One session's result beside its base: float32 params, the adapter and its scale, or no adapter after full training."""

    params: dict
    cfg: GemmaConfig
    lora: dict | None
    scale: float
    facts: dict[str, Any]
    config: dict[str, Any]
    folder: Path
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    reference: Outputs


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--adapter", type=Path, required=True, help="manifest of the trained session")
    parser.add_argument("--base", type=Path, required=True, help="manifest of the base")
    parser.add_argument("--prompts", type=Path, required=True, help="manifest of the held-out questions")
    parser.add_argument(
        "--certificate", type=Path, required=True, help="JSON to write: what was compared, and the files"
    )
    parser.add_argument("--folder", type=Path, required=True, help="folder to write peft/ and merged/ into")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Write each form under a temporary name, read it back, compare, and only then give it its name.

    Raises:
        ValueError: a form that differs beyond its bound, no questions, no form that this session has.
    """
    session = read_manifest(args.adapter)
    formats = wanted_formats(settings, session["adapter"]["kind"], say)
    with staging(args.folder, args.certificate) as staged:
        folder = base_folder(args.base, weights=True)
        encoder = load_encoder(folder, read_config(folder))
        prompts = fixed_prompts(args.prompts)
        trained = load_trained(args.adapter, folder, session["adapter"], fixed_rows(prompts, encoder, settings))
        base = read_manifest(args.base)
        about = {
            "name": settings["name"],
            "base": base.get("hub") or str(folder),
            "revision": base.get("revision"),
            "system_prompt": settings["system_prompt"],
            "train": session["settings"]["train"],
            "counts": session["counts"],
        }
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for form in formats:
            (staged / form).mkdir()
            write, check = FORMS[form]
            write(staged / form, trained, settings, about)
            found[form] = check(staged / form, trained, settings)
            refuse_beyond_bound(settings["name"], form, found[form])
            write_companions(staged / form, trained, settings, encoder, about, form, found[form])
            for what, row in found[form].items():
                say(
                    f"{what}: logits within {row['max_error']:.2e} of base and adapter in float32 (bound "
                    f"{row['bound']:.2e}), {row['top1_agreement']:.2%} of {row['positions']:,} most likely tokens the same"
                )
        template = check_template(staged / formats[-1], prompts, encoder, settings)
        for form in formats:
            (staged / form).rename(args.folder / form)
    files = {
        str(p.relative_to(args.folder)): p for f in formats for p in sorted((args.folder / f).rglob("*")) if p.is_file()
    }
    write_manifest(
        args.certificate,
        stage="export",
        name=settings["name"],
        settings=settings,
        inputs={"adapter": args.adapter, "base": args.base, "prompts": args.prompts},
        files=files,
        counts={"prompts": len(prompts), "positions": len(trained.reference.states)},
        prompt_ids=[prompt["prompt_id"] for prompt in prompts],
        compared_with="base + adapter, float32",
        formats=found,
        chat_template=template,
    )


def wanted_formats(settings: Settings, kind: str, say: Say) -> list[str]:
    """The forms to write: a session that trained all weights has no adapter to hand on.

    Raises:
        ValueError: nothing is left.
    """
    formats = [form for form in FORMS if form in settings["export"]["formats"]]
    for form in ("peft", "tunix"):
        if kind == "full" and form in formats:
            say(f"all weights were trained, so there is no adapter for a {form} folder; it is left out")
            formats.remove(form)
    if not formats:
        raise ValueError(
            f"{settings['name']}: export.formats is {settings['export']['formats']} but all weights were trained and there "
            f"is no adapter, wanted merged among them; set export.formats: [merged]"
        )
    return formats


@contextmanager
def staging(folder: Path, certificate: Path) -> Iterator[Path]:
    """A folder to write in that never outlives this run; what an earlier run left under final names goes first."""
    for old in (*(folder / form for form in FORMS), folder / ".staged"):
        shutil.rmtree(old, ignore_errors=True)
    certificate.unlink(missing_ok=True)
    staged = folder / ".staged"
    staged.mkdir(parents=True)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def fixed_prompts(manifest: Path) -> list[dict[str, Any]]:
    """The first few held-out questions.

    Raises:
        ValueError: there are none.
    """
    rows = [row for batch in read_rows(read_checked(manifest, "prompts")) for row in batch.to_pylist()][:PROMPTS]
    if not rows:
        raise ValueError(f"{manifest}: lists 0 held-out questions, at least 1 is needed; raise held_out.share")
    return rows


def fixed_rows(
    prompts: list[dict[str, Any]], encoder: Encoder, settings: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, positions, segment_ids [PROMPTS, L]: each question with its gold completion, cut at MAX_TOKENS."""
    texts = [
        prompt_segments(settings["system_prompt"], p["question"]) + completion_segments(p["trace"], p["answer"])
        for p in prompts
    ]
    ids = [encoded.ids[:MAX_TOKENS] for encoded in encoder.encode_many(texts)]
    length = max(map(len, ids))
    tokens = np.stack([np.pad(one, (0, length - len(one)), constant_values=encoder.pad_id) for one in ids])
    positions = np.tile(np.arange(length, dtype=np.int32), (len(ids), 1))
    return tokens, positions, (positions < np.array([[len(one)] for one in ids])).astype(np.int32)


def load_trained(manifest: Path, folder: Path, facts: dict[str, Any], rows: tuple) -> Trained:
    """Base and adapter, or the weights that took the base's place, in float32, and what they compute on the fixed rows."""
    config = read_config(folder)
    cfg = GemmaConfig.from_hf(config)
    weights = read_checked(manifest, "adapter")
    if facts["kind"] == "full":
        params, lora, scale = load_params(weights, cfg, "float32"), None, 1.0
    else:
        params, lora = load_params(folder, cfg, "float32"), from_peft(load_file(weights), cfg)
        scale = scale_of(rank=facts["rank"], alpha=facts["alpha"], rslora=facts["rslora"])
    reference = outputs(params, cfg, *rows, lora=lora, scale=scale)
    return Trained(params, cfg, lora, scale, facts, config, folder, rows, reference)


def write_peft(out: Path, trained: Trained, settings: Settings, about: dict[str, Any]) -> None:
    """adapter_model.safetensors and adapter_config.json, as `peft.PeftModel.from_pretrained` reads them.

    Raises: ValueError when all weights were trained, so that there is no adapter.
    """
    if trained.lora is None:
        raise ValueError(f"{about['name']}: it trained all weights and has no adapter; take peft out of export.formats")
    save_file(to_peft(trained.lora, trained.cfg), out / "adapter_model.safetensors", metadata={"format": "pt"})
    dropout = about["train"]["adapter"]["dropout"]
    config = adapter_config(trained.facts, base=about["base"], revision=about["revision"], dropout=dropout)
    write_json(out / "adapter_config.json", config)


def check_peft(out: Path, trained: Trained, settings: Settings) -> dict[str, dict[str, Any]]:
    """The adapter as read back, with the scale that its configuration says, on the base."""
    said = read_json(out / "adapter_config.json")
    scale = scale_of(rank=said["r"], alpha=said["lora_alpha"], rslora=said["use_rslora"])
    lora = from_peft(load_file(out / "adapter_model.safetensors"), trained.cfg)
    got = outputs(trained.params, trained.cfg, *trained.rows, lora=lora, scale=scale)
    return {"peft": judged(trained, got, settings["export"]["max_error"])}


def write_merged(out: Path, trained: Trained, settings: Settings, about: dict[str, Any]) -> None:
    """model.safetensors in the session's dtype, and config.json."""
    target = dtype_named(settings["dtype"])
    params = merged(trained)
    save_params(out, jax.tree.map(lambda x: x.astype(target), params), trained.cfg)
    vocab = params["embed"].shape[0]
    write_json(out / "config.json", merged_config(trained.config, dtype=settings["dtype"], vocab=vocab))


def merged(trained: Trained) -> dict:
    """float32 weights without an adapter."""
    return trained.params if trained.lora is None else merge(trained.params, trained.lora, trained.scale)


def check_merged(out: Path, trained: Trained, settings: Settings) -> dict[str, dict[str, Any]]:
    """The merge in float32 before any cast, and the file as read back."""
    bound = settings["export"]["max_error"]
    found = {}
    if settings["dtype"] != "float32":
        before = outputs(merged(trained), trained.cfg, *trained.rows)
        found["merged in float32"] = judged(trained, before, bound)
        narrow = outputs(
            trained.params,
            trained.cfg,
            *trained.rows,
            lora=trained.lora,
            scale=trained.scale,
            dtype=settings["dtype"],
        )
        bound = max(bound, 2 * agreement(trained.cfg, trained.reference, narrow).max_error)
    cfg = GemmaConfig.from_hf(read_config(out))
    got = outputs(load_params(out, cfg, "float32"), cfg, *trained.rows)
    found[f"merged, {settings['dtype']} file"] = judged(trained, got, bound)
    return found


def write_tunix(out: Path, trained: Trained, settings: Settings, about: dict[str, Any]) -> None:
    """checkpoint/<steps>/model_params, as `tunix.sft.checkpoint_manager.CheckpointManager` reads it, and provider.json.

    Raises:
        ValueError: a session that trained all weights.
    """
    if trained.lora is None:
        raise ValueError(
            f"{about['name']}: it trained all weights and has no adapter; take tunix out of export.formats"
        )
    import orbax.checkpoint as ocp  # a second of start-up that the other forms need not wait for

    tree = to_tunix(trained.lora, trained.cfg)
    with ocp.CheckpointManager((out / "checkpoint").resolve(), item_names=("model_params",)) as manager:
        manager.save(
            about["counts"]["steps"], args=ocp.args.Composite(model_params=ocp.args.PyTreeSave(tree)), force=True
        )
    write_json(out / "provider.json", provider(trained.lora, trained.cfg, trained.scale))


def check_tunix(out: Path, trained: Trained, settings: Settings) -> dict[str, dict[str, Any]]:
    """The adapter as read back and taken apart, with the scale that its provider has, on the base."""
    import orbax.checkpoint as ocp

    said, lora = read_json(out / "provider.json"), trained.lora or {}
    with ocp.CheckpointManager((out / "checkpoint").resolve(), item_names=("model_params",)) as manager:
        restore = ocp.args.Composite(model_params=ocp.args.PyTreeRestore())
        tree = manager.restore(manager.latest_step(), args=restore)["model_params"]
    back = from_tunix(tree, trained.cfg, tuple(lora), trained.facts["rank"])
    got = outputs(trained.params, trained.cfg, *trained.rows, lora=back, scale=said["alpha"] / said["rank"])
    return {"tunix": judged(trained, got, settings["export"]["max_error"])}


def judged(trained: Trained, got: Outputs, bound: float) -> dict[str, Any]:
    """Agreement with the reference, and the bound it is held to."""
    return {**dataclasses.asdict(agreement(trained.cfg, trained.reference, got)), "bound": bound}


def refuse_beyond_bound(name: str, form: str, found: dict[str, dict[str, Any]]) -> None:
    """Raises: ValueError when a form is not what was trained."""
    for what, row in found.items():
        if not row["max_error"] <= row["bound"]:
            raise ValueError(
                f"{name}: the {form} export ({what}) gives logits up to {row['max_error']:.3g} from those of base and "
                f"adapter, wanted at most {row['bound']:.3g} (export.max_error); nothing was exported, so raise "
                f"export.max_error only if that is near enough for you"
            )


def write_companions(
    out: Path,
    trained: Trained,
    settings: Settings,
    encoder: Encoder,
    about: dict[str, Any],
    form: str,
    found: dict[str, dict[str, Any]],
) -> None:
    """Tokenizer with the chat template of training, generation settings, card, NOTICE."""
    for name in TOKENIZER_FILES:
        if (trained.folder / name).is_file():
            shutil.copyfile(trained.folder / name, out / name)
    said = trained.folder / "tokenizer_config.json"
    template = chat_template(settings["system_prompt"])
    write_json(out / "tokenizer_config.json", tokenizer_config(read_json(said) if said.is_file() else None, template))
    if form == "merged":
        write_json(out / "generation_config.json", generation_config(encoder.control_ids))
    kind = "full" if trained.lora is None else form
    told = read_json(out / "provider.json") if form == "tunix" else None
    write_text(out / "NOTICE", notice(base=about["base"], kind=kind))
    write_text(out / "README.md", card(**about, kind=kind, dtype=settings["dtype"], certificate=found, provider=told))


def check_template(out: Path, prompts: list[dict[str, Any]], encoder: Encoder, settings: Settings) -> dict[str, int]:
    """Render the questions with the exported chat template, as transformers does, and compare ids with training's.

    Raises:
        ValueError: ids that differ.
    """
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(json.loads((out / "tokenizer_config.json").read_text("utf-8"))["chat_template"])
    wanted = encoder.encode_many([prompt_segments(settings["system_prompt"], p["question"]) for p in prompts])
    for prompt, encoded in zip(prompts, wanted, strict=True):
        messages = [{"role": "user", "content": prompt["question"]}]
        text = template.render(messages=messages, bos_token=BOS, add_generation_prompt=True)
        ids = encoder.tokenizer.encode(text, add_special_tokens=False).ids
        if not encoded.num_neutralized and ids != encoded.ids.tolist():
            raise ValueError(
                f"{settings['name']}: the exported chat template renders question {prompt['prompt_id']} as {len(ids)} ids "
                f"that are not the {len(encoded)} of training; change tokens/template.py so that both are one"
            )
    return {"questions": len(prompts), "same_ids": sum(not encoded.num_neutralized for encoded in wanted)}


FORMS = {"peft": (write_peft, check_peft), "merged": (write_merged, check_merged), "tunix": (write_tunix, check_tunix)}
"""{form: (writes it into a folder, reads it back and compares)}"""


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
