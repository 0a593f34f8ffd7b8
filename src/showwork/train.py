"""train: a session's packed rows teach an adapter (or all weights); a kill at any moment costs the steps since a checkpoint.

Takes   results/pack/<session>/manifest.json, results/download/base.json, the manifest of the session it starts from.
Leaves  results/train/<session>/: adapter/adapter.safetensors under PEFT's names, adapter/adapter.json, history.jsonl
        (the same bytes on every run), timing.jsonl (what the clock said), manifest.json. Checkpoints and compiled
        programs stay in the work directory.
Command python -m showwork.train --settings JSON --pack P --base B [--start M] --work work/train --adapter A
        --history H --manifest M
Source  learn/: step, loss, data order, checkpoints. SIGTERM checkpoints and exits 75; the same command goes on.
        With --processes N this process starts N and waits for them; the first of them writes, all of them train.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from showwork.foundation.durations import seconds_of
from showwork.foundation.files import canonical, read_json, write_json
from showwork.foundation.launch import Place, launch, log_of, place_of
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.provenance import code_version
from showwork.foundation.stage import Say, StageExit, run_stage
from showwork.learn.budget import fitting, measured_costs
from showwork.learn.checkpoint import environment, only_trainer
from showwork.learn.data import Order, batch
from showwork.learn.device import compile_cache, keep_freed_memory, matmul_speed, memory_for_activations
from showwork.learn.flops import useful, work_of
from showwork.learn.group import Group
from showwork.learn.health import relative_change, share_moved
from showwork.learn.leave import leave_trained
from showwork.learn.loop import Interrupted, listening, train
from showwork.learn.mesh import KINDS, Devices
from showwork.learn.pace import Pace
from showwork.learn.resume import Elsewhere, Resumable
from showwork.learn.session import Session, lasting, micro_rows, session
from showwork.learn.start import adapter_facts, digest_of, inputs_of, starting_point
from showwork.model.kernels import chosen as chosen_attention
from showwork.model.kernels import name_of
from showwork.model.params import HF_NAMES, read_config
from showwork.tokens.base import base_digest, base_folder
from showwork.tokens.packing import DTYPES, PackedArrays
from showwork.tokens.tokenizer import tokenizer_digest

INTERRUPTED = 75  # EX_TEMPFAIL: run it again


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command line beside --settings and --log."""
    parser.add_argument("--pack", type=Path, required=True, help="manifest of the packed rows")
    parser.add_argument("--base", type=Path, required=True, help="manifest of the base")
    parser.add_argument("--start", type=Path, help="manifest of a session, or a folder; none: the base itself")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; not an output")
    for name in ("adapter", "history", "manifest"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--micro-rows", type=int, help="packed rows at a time on each device; none: what memory takes")
    parser.add_argument(
        "--mesh", choices=("auto", *KINDS), default="auto", help="how several devices share the work; auto: rows split"
    )
    parser.add_argument("--processes", type=int, default=1, help="how many train together, here or as tasks of Slurm")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Trains, or goes on training, or finds everything done and writes the outputs.

    Raises:
      ValueError: inputs that do not belong together, another trainer at work, steps that are not finite.
    """
    name, begun = settings["name"], time.perf_counter()
    budget: dict[str, Any] | None = None
    group = Group(place_of(args.processes) or Place(0, 1))
    lock = only_trainer(args.work / name / "lock", name) if group.first else contextlib.nullcontext()
    with lock, listening() as heard, _lost_is_said(group):
        folder = base_folder(args.base, weights=True)
        packed = open_packed(args.pack, folder, settings)
        made = session(settings, read_config(folder), len(packed))
        compile_cache(args.work.parent / "jax-cache")
        parts = identity_parts(args, settings, made)
        home = args.work / name / hashlib.sha256(canonical(parts).encode()).hexdigest()[:16]
        if group.first:
            home.mkdir(parents=True, exist_ok=True)
            write_json(home / "identity.json", parts)
            others = sorted(p.name for p in home.parent.iterdir() if p.is_dir() and p != home)
            if others:
                say(f"{home.parent} also holds checkpoints of other settings, data or code: {', '.join(others)}")

        devices = Devices(None if args.mesh == "auto" else args.mesh)
        kernel = chosen_attention(settings["train"]["attention"], made.cfg, made.dtype, made.length, devices.count)
        made = replace(made, attend=kernel.attend)
        if jax.default_backend() != "cpu":
            why = "".join(f"; {name} was passed over: {reason}" for name, reason in kernel.passed_over.items())
            say(f"attention: {kernel.name}{why}")
        # Of the first process: machines of unlike memory must still cut a step in the same way.
        micro = int(group.from_first(np.int32(rows_at_a_time(made, devices, args.micro_rows))))
        if settings["train"].get("time_budget") is not None:
            if group.count > 1:
                raise ValueError(
                    f"train {name!r}: time_budget is {settings['train']['time_budget']!r} and there are {group.count} processes, "
                    "but the pace is measured in one; give max_steps, or one process"
                )
            budget = chosen(settings, made, args.start, folder, packed, parts["rows"], home, devices, micro, begun, say)
            made = lasting(made, budget["steps"])
        frozen, trainable = starting_point(args.start, made, folder)
        state = run(made, frozen, trainable, packed, parts["rows"], home, devices, micro, group, heard, say)
        if group.first:
            leave(args, settings, made, state, home, parts, budget)
            say(f"{made.steps:,} steps done; {int(state['skipped'])} skipped; adapter in {args.adapter}")


@contextlib.contextmanager
def _lost_is_said(group: Group) -> Iterator[None]:
    """A sum that a lost process does not answer becomes a sentence and exit status 75."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if group.count == 1:
            raise
        text = f"another of the {group.count} processes no longer answers; run the same command: it goes on from the last checkpoint"
        raise StageExit(INTERRUPTED, f"{text} ({str(error).splitlines()[0][:200]})") from error


def open_packed(manifest: Path, folder: Path, settings: dict[str, Any]) -> PackedArrays:
    """The packed rows, memory-mapped, once it is certain that they were made for this base and length.

    Raises:
      ValueError: rows of another tokenizer or another length.
    """
    said = read_manifest(manifest)
    if said["digests"]["tokenizer"] != tokenizer_digest(folder):
        raise ValueError(
            f"{manifest}: its rows were packed with another tokenizer than {folder}/tokenizer.json; run pack again"
        )
    packed = PackedArrays(**{n: np.load(read_checked(manifest, n), mmap_mode="r") for n in DTYPES})
    if packed.tokens.shape[1] != settings["max_seq_length"]:
        raise ValueError(
            f"{manifest}: its rows have {packed.tokens.shape[1]} tokens but template.max_seq_length is "
            f"{settings['max_seq_length']}; run pack again"
        )
    return packed


def identity_parts(args: argparse.Namespace, settings: dict[str, Any], made: Session) -> dict[str, Any]:
    """What makes two runs the same run.

    How a step's rows are cut up, when checkpoints are taken, what is recomputed and whose attention it is are not among
    it: they change what is learned by no more than rounding.
    """
    free = ("batch_size", "gradient_accumulation", "checkpoint_every_steps", "remat", "attention")
    chosen = {key: value for key, value in settings["train"].items() if key not in free}
    rows = {name: read_manifest(args.pack)["files"][name]["sha256"] for name in DTYPES}
    return {
        "settings": {**settings, "train": {**chosen, "rows_per_step": made.rows_per_step}},
        "rows": hashlib.sha256(canonical(rows).encode()).hexdigest(),
        "base": base_digest(args.base),
        "start": digest_of(args.start),
        "code": code_version("showwork.train"),
    }


def chosen(
    settings: dict[str, Any],
    made: Session,
    start: Path | None,
    folder: Path,
    packed: PackedArrays,
    rows: str,
    home: Path,
    devices: Devices,
    micro: int,
    begun: float,
    say: Say,
) -> dict[str, Any]:
    """The steps that fit into the time budget and what they were counted from: measured once, then as noted in `home`.

    Raises:
      ValueError: not one step fits.
    """
    noted = home / "budget.json"
    if noted.is_file():
        return read_json(noted)
    say(f"measures this machine's pace for a time budget of {settings['train']['time_budget']}")
    seconds = seconds_of(settings["train"]["time_budget"])
    costs = measured_costs(settings, made, start, folder, packed, rows, home, devices, micro, begun)
    steps = fitting(seconds, costs, made.train["checkpoint_every_steps"])
    found = {
        "time_budget": settings["train"]["time_budget"],
        "seconds": seconds,
        "steps": steps,
        "predicted_seconds": round(costs.total(steps, made.train["checkpoint_every_steps"]), 1),
        "costs_s": {name: round(value, 4) for name, value in asdict(costs).items()},
    }
    write_json(noted, found)
    say(
        f"{steps:,} steps fit into {found['time_budget']}: {costs.step:.3f} s a step, {costs.checkpoint:.2f} s a checkpoint, "
        f"{costs.start:.0f} s to begin, {costs.evaluation:,.0f} s at most for the evaluation"
    )
    return found


def run(
    made: Session,
    frozen: Any,
    trainable: Any,
    packed: PackedArrays,
    rows: str,
    home: Path,
    devices: Devices,
    micro: int,
    group: Group,
    heard: Callable[[], bool],
    say: Say,
) -> dict[str, Any]:
    """From the newest valid checkpoint, or from the start, to the last step.

    Raises: StageExit when a signal ended it after a checkpoint; run again, it goes on.
    """
    order = Order(len(packed), made.rows_per_step, rows, made.seed)
    here = environment(micro_rows=micro, remat=made.train["remat"], mesh=devices.kind, attention=name_of(made.attend))
    place = Resumable(home, here, say) if group.first else Elsewhere()
    begun = None if made.full else devices.place(jax.tree.map(np.array, trainable))
    state, done = place.restore(made.initial_state(trainable), made.steps)
    state, start = group.from_first(state), int(group.from_first(np.int32(done)))
    say(
        f"{len(packed):,} packed rows, {made.steps:,} steps of {made.rows_per_step} rows ({micro} at a time), "
        f"{order.steps_per_epoch:,} steps an epoch, {sum(leaf.size for leaf in jax.tree.leaves(trainable)):,} parameters trained "
        f"on {here['threads']} threads, {here['devices']} x {here['device']}"
        + (f" in {group.count} processes, of which this is number {group.index + 1}" if group.count > 1 else "")
    )

    frozen = devices.place(frozen, split=True)
    state = devices.place(state, split=made.full) if devices.mesh else jax.device_put(state)

    @jax.jit
    def measured(begun: Any, now: Any, layers: Any) -> dict[str, Any]:
        changes = relative_change(now, layers, made.scale)
        return {"share_moved": share_moved(begun, now), "relative_change": {HF_NAMES[m]: r for m, r in changes.items()}}

    def look(now: dict[str, Any]) -> dict[str, Any]:
        return {} if made.full else measured(begun, now["trainable"], frozen["layers"])

    pace = made_pace(made, frozen or trainable, packed)

    def report(done: int, numbers: dict[str, Any]) -> None:
        numbers = {key: int(value) if key in ("tokens", "loss_tokens") else value for key, value in numbers.items()}
        length = {} if made.train.get("time_budget") is None else {"steps": made.steps}
        place.note({"step": done, **length, **numbers}, pace.step(done, numbers["tokens"]))
        loss = "not finite" if numbers["loss"] is None else f"{numbers['loss']:.4f}"
        if group.first:
            say.progress(done, made.steps, f"loss {loss}  {pace}")

    def rows_of(number: int) -> dict[str, Any]:
        rows = order.rows_at(number)
        return devices.place_batch(batch(packed, rows, made.rows_per_step, micro, devices.share(micro)))

    try:
        with contextlib.closing(place):
            state = train(
                state,
                made.step(devices.mesh),
                frozen,
                rows_of,
                start=start,
                stop=made.steps,
                look_every=made.train["checkpoint_every_steps"],
                look=look,
                report=report,
                checkpoint=lambda done, now: place.checkpoint(done, devices.whole(now)),
                interrupted=group.agreed(heard),
            )
            if group.first:
                say(pace.summary())
            return devices.whole(state)
    except Interrupted as stopped:
        group.wait()  # the first to exit ends the others, so none before the checkpoint is on disk
        text = f"stopped by a signal after step {stopped.step:,}, checkpointed; run the same command to go on"
        raise StageExit(INTERRUPTED, text) from None


def rows_at_a_time(made: Session, devices: Devices, wanted: int | None) -> int:
    """Rows of a micro-batch over all devices.

    Raises:
      ValueError: a step's rows cannot be split so.
    """
    if made.rows_per_step % devices.count:
        raise ValueError(
            f"train: a step has {made.rows_per_step} rows, which {devices.count} devices cannot share evenly; let "
            f"batch_size x gradient_accumulation be a multiple of {devices.count}, or give --mesh single"
        )
    own = made.rows_per_step // devices.count
    micro = wanted or micro_rows(made, own, memory_for_activations())
    if own % micro:
        raise ValueError(f"--micro-rows is {micro} but must divide the {own} rows that each device has of a step")
    return micro * devices.count


def made_pace(made: Session, params: Any, packed: PackedArrays) -> Pace:
    """What speeds are held against: useful operations a token, and a matrix product measured now."""
    total = work_of(packed.positions, packed.segment_ids, packed.loss_mask, made.cfg.window)
    rank = 0 if made.full else made.train["adapter"]["rank"]
    needed = useful(made.cfg, params["embed"].shape[0], total, made.modules, rank)
    return Pace(made.steps, needed / total.tokens, matmul_speed(made.cfg.width, made.cfg.ffw_width, made.dtype))


def leave(
    args: argparse.Namespace,
    settings: dict[str, Any],
    made: Session,
    state: dict[str, Any],
    home: Path,
    parts: dict[str, Any],
    budget: dict[str, Any] | None,
) -> None:
    """The declared outputs, each whole or absent, the manifest last."""
    trained = jax.device_get(state["trainable"])
    lines = leave_trained(trained, made, home, adapter=args.adapter, history=args.history)
    write_manifest(
        args.manifest,
        stage="train",
        name=settings["name"],
        settings=settings,
        inputs={"pack": args.pack, "base": args.base} | inputs_of(args.start),
        files={"adapter": args.adapter, "history": args.history},
        counts={
            "steps": made.steps,
            "skipped": int(state["skipped"]),
            "tokens": sum(line["tokens"] for line in lines),
            "loss_tokens": sum(line["loss_tokens"] for line in lines),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained)),
        },
        adapter=adapter_facts(made),
        identity=home.name,
        parts=parts,
        **({"time_budget": budget} if budget else {}),
    )


def main(argv: list[str]) -> int:
    """The stage in this process, or in those that it starts; one of several has a log of its own."""
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--processes", type=int, default=1)
    early.add_argument("--log", type=Path)
    given, _ = early.parse_known_args(argv)
    if given.processes <= 1:
        return run_stage(work, arguments, __doc__, argv)
    place = place_of(given.processes)
    if place is None:
        return launch("showwork.train", argv, given.processes, given.log)
    own = ["--log", str(log_of(given.log, place))] if given.log else []
    code = run_stage(work, arguments, __doc__, [*argv, *own])
    if code:  # without waiting for the others, as leaving JAX would: they may wait for this one
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
