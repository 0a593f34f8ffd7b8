"""grpo: a session learns from rewards for what it writes itself; a kill at any moment costs the steps since a checkpoint.

Takes   results/mix/<session>/manifest.json, results/download/base.json, the manifest (or folder) that it starts from.
Leaves  results/train/<session>/, as train does: adapter/adapter.safetensors, history.jsonl with a line for each batch of
        rollouts, timing.jsonl, manifest.json. Checkpoints stay in the work directory.
Command python -m showwork.grpo --settings JSON --mix M --base B [--start S] --work work/train --adapter A --history H
        --manifest M
Source  learn/: rollout (the sampler), reward, advantage, grpo (the loss and its variants), learner.

A batch: some prompts are asked `group_size` times each; every rollout is paid; it is compared with its group; the policy takes
`updates_per_batch` optimizer steps. Which prompts, and every random draw, are a function of the batch's number alone, so a run
that goes on after a kill writes the same rollouts again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from showwork.foundation.files import canonical, write_json
from showwork.foundation.manifest import read_manifest, write_manifest
from showwork.foundation.provenance import code_version, user_code
from showwork.foundation.stage import Say, StageExit, run_stage
from showwork.learn.asking import Batch, Prompts, Teacher, read_prompts
from showwork.learn.checkpoint import environment, only_trainer
from showwork.learn.device import compile_cache, keep_freed_memory
from showwork.learn.grpo import resolved
from showwork.learn.learner import Learner
from showwork.learn.leave import leave_trained
from showwork.learn.loop import Interrupted, listening, train
from showwork.learn.pace import clock, peak_bytes
from showwork.learn.resume import Resumable
from showwork.learn.session import Session, policy_session
from showwork.learn.start import adapter_facts, digest_of, inputs_of, reference_point, starting_point
from showwork.model.params import read_config
from showwork.tokens.base import base_digest, base_folder
from showwork.tokens.tokenizer import load_encoder, tokenizer_digest

INTERRUPTED = 75  # EX_TEMPFAIL: run it again

Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command line beside --settings and --log."""
    parser.add_argument("--mix", type=Path, required=True, help="manifest of the session's records")
    parser.add_argument("--base", type=Path, required=True, help="manifest of the base")
    parser.add_argument("--start", type=Path, help="manifest of a session, or a folder; none: the base itself")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; not an output")
    for name in ("adapter", "history", "manifest"):
        parser.add_argument(f"--{name}", type=Path, required=True)


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Trains, or goes on training, or finds everything done and writes the outputs.

    Raises:
      ValueError: inputs that do not belong together, settings that cannot be, a reward that fails, steps that are not finite.
    """
    name, how = settings["name"], resolved(settings["train"]["grpo"])
    with only_trainer(args.work / name / "lock", name), listening() as interrupted:
        folder = base_folder(args.base, weights=True)
        config = read_config(folder)
        encoder = load_encoder(folder, config)
        prompts = read_prompts(args.mix, encoder, settings, how)
        for reason, number in sorted(prompts.left_out.items()):
            say(f"{number:,} of {prompts.num_records:,} records make no prompt: {reason}")
        made = policy_session(settings, config, len(prompts), how)
        teacher = Teacher(made.cfg, encoder, prompts, settings, how)
        compile_cache(args.work.parent / "jax-cache")
        parts = identity_parts(args, settings, folder, how)
        home = args.work / name / hashlib.sha256(canonical(parts).encode()).hexdigest()[:16]
        home.mkdir(parents=True, exist_ok=True)
        write_json(home / "identity.json", parts)

        frozen, trainable = starting_point(args.start, made, folder)
        reference = None
        if how["reference"] is not None:
            reference = reference_point(how["reference"], made, folder, frozen, trainable)
        state = run(made, how, teacher, frozen, trainable, reference, home, interrupted, say)
        leave(args, settings, made, prompts, state, home, parts)
        say(f"{made.steps:,} steps done; {int(state['skipped'])} skipped; adapter in {args.adapter}")


def identity_parts(args: argparse.Namespace, settings: Settings, folder: Path, how: Settings) -> Settings:
    """What makes two runs the same run; when checkpoints are taken and what is recomputed are not among it."""
    free = ("checkpoint_every_steps", "remat", "gradient_accumulation")
    chosen = {key: value for key, value in settings["train"].items() if key not in free}
    return {
        "settings": {**settings, "train": {**chosen, "grpo": how}},
        "rows": read_manifest(args.mix)["files"]["train"]["sha256"],
        "tokenizer": tokenizer_digest(folder),
        "base": base_digest(args.base),
        "start": digest_of(args.start),
        "reference": digest_of(Path(how["reference"])) if how["reference"] not in (None, "start", "base") else None,
        "code": code_version("showwork.grpo"),
        "rewards": {path: user_code(path) for path in sorted(how["rewards"]) if ":" in path},
    }


def run(
    made: Session,
    how: Settings,
    teacher: Teacher,
    frozen: Any,
    trainable: Any,
    reference: tuple[Any, Any] | None,
    home: Path,
    interrupted: Callable[[], bool],
    say: Say,
) -> dict[str, Any]:
    """From the newest valid checkpoint, or from the start, to the last batch.

    Raises: StageExit when a signal ended it after a checkpoint; run again, it goes on.
    """
    updates, batches = how["updates_per_batch"], made.steps // how["updates_per_batch"]
    here = environment(micro_rows=made.rows_per_step, remat=made.train["remat"], slots=how["slots"])
    place = Resumable(home, here, say)
    state, start = place.restore(made.initial_state(trainable), batches)
    say(
        f"{len(teacher.prompts):,} prompts; {batches:,} batches of {how['prompts_per_batch']} prompts x {how['group_size']} "
        f"rollouts, {updates} updates each; {how['variant']}; "
        f"{sum(leaf.size for leaf in jax.tree.leaves(trainable)):,} parameters trained on {here['threads']} threads, "
        f"{here['devices']} x {here['device']}"
    )
    state = jax.device_put(state)
    learner, begun = Learner(made, how), time.monotonic()

    def step(state: Any, frozen: Any, number: int) -> tuple[Any, dict[str, Any]]:
        started = time.monotonic()
        batch = teacher.batch(number, learner.weights(state["trainable"], frozen), made)
        written = time.monotonic()
        if reference:
            learner.judge(batch.micros, *reference)
        told: list[dict[str, Any]] = []
        for update in range(updates):
            state, numbers = learner.update(state, frozen, batch.micros, first=update == 0)
            told.append(numbers)
        found = told_of(told, batch, with_reference=reference is not None)
        seconds = {"rollout": np.float32(written - started), "update": np.float32(time.monotonic() - written)}
        return state, found | {"seconds": seconds}

    def report(done: int, numbers: dict[str, Any]) -> None:
        seconds = numbers.pop("seconds")
        place.history.add({"step": done * updates, **numbers})
        place.timing.add(
            {
                "step": done * updates,
                "seconds": round(sum(seconds.values()), 4),
                "tokens": numbers["tokens"],
                "peak_bytes": peak_bytes(),
                **{f"{part}_seconds": round(value, 4) for part, value in seconds.items()},
                "rollout_tokens_per_s": round(numbers["rollout_tokens"] / seconds["rollout"], 1),
                "update_tokens_per_s": round(numbers["tokens"] / seconds["update"], 1),
            }
        )
        left = clock(int((time.monotonic() - begun) / (done - start) * (batches - done)))
        say.progress(done, batches, f"reward {numbers['reward']:.4f}  length {numbers['length']:.0f}  {left} left")

    try:
        return train(
            state,
            step,
            frozen,
            lambda number: number,
            start=start,
            stop=batches,
            look_every=max(1, made.train["checkpoint_every_steps"] // updates),
            look=lambda state: {},
            report=report,
            checkpoint=place.checkpoint,
            interrupted=interrupted,
        )
    except Interrupted as stopped:
        text = f"stopped by a signal after batch {stopped.step:,}, checkpointed; run the same command to go on"
        raise StageExit(INTERRUPTED, text) from None
    finally:
        place.close()


def told_of(told: Sequence[dict[str, Any]], batch: Batch, *, with_reference: bool) -> dict[str, Any]:
    """The numbers of a batch, as the history has them.

    Loss, gradient and clip share are those of its last update, tokens those of all its updates, entropy and distance
    from the reference as they were when the rollouts were written.
    """
    updates: list[dict[str, Any]] = jax.device_get(list(told))
    numbers = updates[-1] | {name: updates[0][name] for name in ("entropy", "kl")}
    if not with_reference:
        del numbers["kl"]
    summed = {name: np.int64(sum(int(u[name]) for u in updates)) for name in ("tokens", "loss_tokens")}
    return {**numbers, **summed, **batch.numbers}


def leave(
    args: argparse.Namespace,
    settings: Settings,
    made: Session,
    prompts: Prompts,
    state: dict[str, Any],
    home: Path,
    parts: Settings,
) -> None:
    """The declared outputs, the manifest last."""
    trained = jax.device_get(state["trainable"])
    lines = leave_trained(trained, made, home, adapter=args.adapter, history=args.history)
    write_manifest(
        args.manifest,
        stage="train",
        name=settings["name"],
        settings=settings,
        inputs={"mix": args.mix, "base": args.base} | inputs_of(args.start),
        files={"adapter": args.adapter, "history": args.history},
        counts={
            "steps": made.steps,
            "skipped": int(state["skipped"]),
            "tokens": sum(line["tokens"] for line in lines),
            "loss_tokens": sum(line["loss_tokens"] for line in lines),
            "rollout_tokens": sum(line["rollout_tokens"] for line in lines),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained)),
            "prompts": len(prompts),
            "left_out": prompts.left_out,
        },
        adapter=adapter_facts(made),
        identity=home.name,
        parts=parts,
    )


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run_stage(work, arguments, __doc__))
