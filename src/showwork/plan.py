"""plan: what a session's training will cost, before anything is trained and without loading a weight.

Takes   results/pack/<session>/manifest.json and results/download/base.json; the same settings as train.
Leaves  results/plan/<session>.json for programs and .txt for people: rows, tokens, density, steps, matched modules with
        their parameters, operations, the memory that XLA compiles the step to, predicted time.
Command python -m showwork.plan --settings JSON --pack P --base B --json J --text T
Source  learn/session.py makes the very step that train runs; it is compiled against shapes. learn/flops.py counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from showwork.foundation.durations import seconds_of
from showwork.foundation.files import write_json, write_text
from showwork.foundation.manifest import read_checked, read_manifest
from showwork.foundation.stage import Say, run_stage
from showwork.learn.device import compile_cache, matmul_speed, memory_for_activations
from showwork.learn.flops import Work, useful, work_of
from showwork.learn.session import Session, lasting, micro_rows, session
from showwork.model.lora import count_params
from showwork.model.params import params_shape, read_config
from showwork.tokens.base import base_folder
from showwork.tokens.packing import DTYPES

SHARE_OF_MATMUL = 0.4  # of a plain product's speed that a training step is taken to reach; the prediction says so


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command line beside --settings and --log."""
    parser.add_argument("--pack", type=Path, required=True, help="manifest of the packed rows")
    parser.add_argument("--base", type=Path, required=True, help="manifest of the base")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Counts, compiles, measures one matrix product, writes both files and says the text.

    Raises:
      ValueError: what train would refuse: targets, schedule, warm-up, a base that does not fit its config.json.
    """
    folder = base_folder(args.base)
    arrays = {name: np.load(read_checked(args.pack, name), mmap_mode="r") for name in DTYPES}
    made = session(settings, read_config(folder), len(arrays["tokens"]))
    compile_cache(Path("work/jax-cache"))
    params = params_shape(folder, made.cfg, made.params_dtype)
    counts = read_manifest(args.pack)["counts"]
    total = work_of(arrays["positions"], arrays["segment_ids"], arrays["loss_mask"], made.cfg.window)
    speed = matmul_speed(made.cfg.width, made.cfg.ffw_width, made.dtype)
    budget = settings["train"].get("time_budget")
    if budget is not None:
        made = lasting(made, steps_in(seconds_of(budget), made, params, total, counts["rows"], speed))
    plan = rows_and_steps(settings["name"], made, counts, total) | parameters(made, params) | {"time_budget": budget}
    plan["operations"] = operations(made, params, total, plan["epochs_seen"])
    plan["memory"] = memory(made, params, micro_rows(made, made.rows_per_step, memory_for_activations()))
    plan["time"] = predicted(plan["operations"]["useful_total"], speed)
    write_json(args.json, plan)
    text = as_text(plan)
    write_text(args.text, text)
    for line in text.splitlines():
        say(line)


def rows_and_steps(name: str, made: Session, counts: dict[str, Any], total: Work) -> dict[str, Any]:
    """What is trained on, and in how many steps."""
    rows = counts["rows"]
    seen = made.steps / -(-rows // made.rows_per_step)
    return {
        "session": name,
        "rows": rows,
        "row_tokens": made.length,
        "examples": counts["examples"],
        "tokens": total.tokens,
        "loss_tokens": total.loss_tokens,
        "density": round(total.tokens / (rows * made.length), 4),
        "steps": made.steps,
        "rows_per_step": made.rows_per_step,
        "examples_per_step": round(made.rows_per_step * counts["examples"] / rows, 1),
        "tokens_per_step": round(made.rows_per_step * total.tokens / rows),
        "epochs_seen": round(seen, 4),
        "warmup_steps": made.train["warmup_steps"],
        "schedule": made.train["schedule"],
    }


def parameters(made: Session, params: Any) -> dict[str, Any]:
    """Trained parameters by module, and all parameters of the base."""
    base = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    by_module = (
        {"all weights": base} if made.full else count_params(made.cfg, made.modules, rank=made.train["adapter"]["rank"])
    )
    return {"modules": by_module, "trained_parameters": sum(by_module.values()), "base_parameters": base}


def operations(made: Session, params: Any, total: Work, epochs: float) -> dict[str, Any]:
    """Useful floating-point operations, of one pass over the rows and of the whole session."""
    rank = 0 if made.full else made.train["adapter"]["rank"]
    one = useful(made.cfg, params["embed"].shape[0], total, made.modules, rank)
    return {"useful_per_token": round(one / total.tokens), "useful_per_epoch": one, "useful_total": round(one * epochs)}


def memory(made: Session, params: Any, micro: int) -> dict[str, Any]:
    """Bytes that XLA assigns to the step on the device at hand, from shapes alone."""
    trainable = params if made.full else jax.eval_shape(made.fresh_adapter)
    state = jax.eval_shape(made.initial_state, trainable)
    frozen = None if made.full else params
    shape = (made.rows_per_step // micro, micro, made.length)
    batch = {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in DTYPES.items()}
    begun = time.monotonic()
    found = made.step().lower(state, frozen, batch).compile().memory_analysis()
    seconds = time.monotonic() - begun
    held, temporary = (found.argument_size_in_bytes, found.temp_size_in_bytes) if found else (None, None)
    return {
        "device": jax.devices()[0].device_kind,
        "micro_rows": micro,
        "remat": made.train["remat"],
        "arguments_bytes": held,
        "temporary_bytes": temporary,
        "total_bytes": None if held is None else held + temporary,
        "compile_seconds": round(seconds, 1),
    }


def steps_in(seconds: float, made: Session, params: Any, total: Work, rows: int, speed: float) -> int:
    """About how many steps a time budget may hold, by the same prediction; training measures before it chooses.

    Raises:
      ValueError: no more than the warm-up.
    """
    of_an_epoch = operations(made, params, total, 1.0)["useful_per_epoch"]
    one = of_an_epoch * made.rows_per_step / rows / (speed * SHARE_OF_MATMUL)
    return max(1, int(seconds / one))


def predicted(total: int, speed: float) -> dict[str, Any]:
    """Seconds on the device at hand, from the speed of one product of the feed-forward's shape."""
    return {
        "matmul_flops_per_second": round(speed),
        "assumed_share_of_matmul": SHARE_OF_MATMUL,
        "seconds": round(total / (speed * SHARE_OF_MATMUL), 1),
    }


def as_text(plan: dict[str, Any]) -> str:
    """The plan as lines for a person."""
    memory, clock = plan["memory"], plan["time"]
    about = f"for {plan['time_budget']}, which training measures exactly, about " if plan["time_budget"] else ""
    modules = ", ".join(f"{name} {number:,}" for name, number in plan["modules"].items())
    lines = [
        f"{plan['rows']:,} packed rows of {plan['row_tokens']:,} tokens hold {plan['examples']:,} examples, "
        f"{plan['tokens']:,} tokens ({plan['density']:.1%} full), {plan['loss_tokens']:,} of them trained on",
        f"{about}{plan['steps']:,} steps of {plan['rows_per_step']} rows, about {plan['examples_per_step']:g} examples and "
        f"{plan['tokens_per_step']:,} tokens each; {plan['epochs_seen']:g} epochs; {plan['schedule']} after "
        f"{plan['warmup_steps']} steps of warm-up",
        f"{plan['trained_parameters']:,} parameters trained beside {plan['base_parameters']:,} of the base: {modules}",
        f"{plan['operations']['useful_per_token'] / 1e9:,.3f} GFLOP a token, "
        f"{plan['operations']['useful_total'] / 1e12:,.2f} TFLOP in all (useful work: recomputation is not counted)",
        memory_text(memory),
        f"about {clock['seconds'] / 60:,.1f} minutes, taking {clock['assumed_share_of_matmul']:.0%} of the "
        f"{clock['matmul_flops_per_second'] / 1e9:,.0f} GFLOP/s that a plain matrix product reaches here just now",
    ]
    return "\n".join(lines) + "\n"


def memory_text(memory: dict[str, Any]) -> str:
    """One line about memory, also where the compiler does not say."""
    how = f"with {memory['micro_rows']} rows at a time and remat {memory['remat']}"
    if memory["total_bytes"] is None:
        return f"memory unknown on {memory['device']}, whose compiler does not say, {how}"
    total, held, temporary = (memory[f"{key}_bytes"] / 2**30 for key in ("total", "arguments", "temporary"))
    return f"{total:,.2f} GiB on {memory['device']}: {held:,.2f} weights, adapter and moments, {temporary:,.2f} temporary, {how}"


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
