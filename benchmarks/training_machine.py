"""What our training step needs of a machine: temporary memory, the share of a plain matrix product's speed, how both grow.

Takes:  a folder to work in.
Leaves: benchmarks/results/<date>-training-{memory,flops,growth}.json; exit status 1 below the bars.

    taskset -c 0 python benchmarks/training_machine.py work/benchmark [--only memory] [--rounds 5]

memory  XLA's own count of temporary bytes of the compiled step on one micro-batch of 2 x 1,024, beside the same step in its textbook
        form: layers unrolled, nothing recomputed, whole scores, whole logits, a one-hot target (as tunix's loss has it). Nothing runs.
flops   useful operations a CPU second of the step of training_step.py (`learn.flops.useful`: 4N + causal attention + LoRA, the head on
        tokens with loss only, nothing recomputed) beside a product [2048, width] x [width, feed-forward] timed before and after each
        step.
growth  Seconds a token from 512 to 4,096 tokens a row, from 1 to 26 layers, with the CPU seconds of compiling 26.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from race import judge, write
from training_data import LENGTH, config, read_examples, rows_of, write_examples, write_model
from training_step import MICRO_ROWS, RANK, ROWS, Trainer, made

from showwork.learn.data import batch
from showwork.learn.device import keep_freed_memory
from showwork.learn.flops import useful, work_of
from showwork.learn.optimizer import adamw, schedule
from showwork.learn.session import Session
from showwork.learn.step import make_step, shifted
from showwork.model.attention import attend_block
from showwork.model.gemma import embed, layer, logits, rms_norm, rope_tables
from showwork.model.params import layer_shapes, shapes

Bars = list[tuple[str, float, float, bool]]


def textbook_loss(made: Session) -> Callable[..., Any]:
    """The same loss with everything whole."""
    cfg = made.cfg

    def loss(lora: Any, params: Any, micro: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        del key
        shape = micro["tokens"].shape
        cos, sin = rope_tables(cfg, micro["positions"])
        x = embed(params, cfg, micro["tokens"], jnp.float32)
        for i, local in enumerate(cfg.local):
            w, own = (jax.tree.map(lambda a, i=i: a[i], tree) for tree in (params["layers"], lora))

            def attend(q: jax.Array, k: jax.Array, v: jax.Array, local: bool = local) -> jax.Array:
                groups = cfg.heads // cfg.kv_heads
                q = q.reshape(*shape, cfg.kv_heads, groups, cfg.head_width).transpose(0, 2, 3, 1, 4)
                k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
                place = (micro["positions"],) * 2 + (micro["segment_ids"],) * 2
                window = cfg.window if local else None
                out = attend_block(q, k, v, *place, scale=cfg.score_scale, softcap=cfg.attention_softcap, window=window)
                return out.transpose(0, 3, 1, 2, 4).reshape(*shape, cfg.heads, cfg.head_width)

            x = layer(w, cfg, x, cos[int(local)], sin[int(local)], attend, own, made.scale)
        whole = logits(params, cfg, rms_norm(x, params["final_norm"], cfg.epsilon))
        targets, weights = shifted(micro["tokens"], micro["loss_mask"])
        one_hot = jax.nn.one_hot(targets, whole.shape[-1]) * weights[..., None]
        total = -jnp.sum(jax.nn.log_softmax(whole) * one_hot)
        return total, {"loss_tokens": jnp.sum(weights), "tokens": jnp.sum(micro["segment_ids"] > 0)}

    return loss


def temporary_bytes(step: Any, session: Session, vocabulary: int) -> int:
    """Of a compiled step on one micro-batch, from shapes alone."""
    wanted = shapes(session.cfg, vocabulary)
    layers = {n: jax.ShapeDtypeStruct((session.cfg.num_layers, *s), jnp.float32) for n, s in layer_shapes_of(session)}
    params = {
        "embed": jax.ShapeDtypeStruct(wanted["model.embed_tokens.weight"], jnp.float32),
        "final_norm": jax.ShapeDtypeStruct(wanted["model.norm.weight"], jnp.float32),
        "layers": layers,
    }
    state = jax.eval_shape(lambda: session.initial_state(session.fresh_adapter()))
    names = {"tokens": jnp.int32, "loss_mask": jnp.uint8, "segment_ids": jnp.int32, "positions": jnp.int32}
    rows = {name: jax.ShapeDtypeStruct((1, MICRO_ROWS, LENGTH), kind) for name, kind in names.items()}
    return step.lower(state, params, rows).compile().memory_analysis().temp_size_in_bytes


def layer_shapes_of(session: Session) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor of a layer."""
    return list(layer_shapes(session.cfg).items())


def memory(folder: Path, rounds: int) -> Bars:
    """At both vocabularies."""
    del rounds
    found: dict[str, Any] = {}
    bars: Bars = []
    for name, most in (("m16k", 0.15), ("v256k", 0.08)):
        session = made(write_model(folder / name, name))
        rate = schedule(session.train, session.steps)
        textbook = make_step(
            textbook_loss(session), adamw(session.train), rate, session.train["clip_norm"], session.seed
        )
        vocabulary = config(name)["vocab_size"]
        ours = temporary_bytes(session.step(), session, vocabulary)
        theirs = temporary_bytes(jax.jit(textbook, donate_argnums=0), session, vocabulary)
        found[name] = {"ours_bytes": ours, "textbook_bytes": theirs, "share": ours / theirs}
        print(name, found[name], flush=True)
        bars.append((f"{name}: temporary memory beside the textbook step", ours / theirs, most, False))
    write("training-memory", found)
    return bars


def product_speed(width: int, ffw: int) -> float:
    """Operations a CPU second of a plain product, the best of 20."""
    x, w = (jnp.ones(shape, jnp.float32) for shape in ((2048, width), (ffw, width)))
    product = jax.jit(lambda x, w: jax.lax.dot_general(x, w, (((1,), (1,)), ((), ()))))
    took = []
    for _ in range(21):
        begin = time.process_time()
        product(x, w).block_until_ready()
        took.append(time.process_time() - begin)
    return 2 * 2048 * width * ffw / min(took[1:])


def timed(folder: Path, rows: dict[str, np.ndarray], rounds: int) -> tuple[list[float], list[float], float]:
    """CPU seconds of each step, a product's speed beside each, and what compiling and the first step took."""
    trainer = Trainer(folder, rows["tokens"].shape[-1])
    begin = time.process_time()
    trainer.once(rows)
    first = time.process_time() - begin
    steps, speeds = [], []
    for _ in range(rounds):
        speeds.append(product_speed(trainer.made.cfg.width, trainer.made.cfg.ffw_width))
        begin = time.process_time()
        trainer.once(rows)
        steps.append(time.process_time() - begin)
    return steps, speeds, first


def flops(folder: Path, rounds: int) -> Bars:
    """At m16k."""
    model = write_model(folder / "m16k", "m16k")
    examples = read_examples(write_examples(folder / "mix.npz", "mix", 16_384, 400))
    packed = rows_of(examples, packed=True)
    rows = batch(packed, np.arange(ROWS), ROWS, MICRO_ROWS)
    steps, speeds, first = timed(model, rows, rounds)
    session = made(model)
    flat = [rows[name].reshape(ROWS, -1) for name in ("positions", "segment_ids", "loss_mask")]
    work = work_of(*flat, session.cfg.window)
    needed = useful(session.cfg, config("m16k")["vocab_size"], work, session.modules, RANK)
    share = statistics.median(needed / s / speed for s, speed in zip(steps, speeds, strict=True))
    found: dict[str, Any] = {"share": share, "steps_cpu_s": steps, "product_flops": speeds, "first_step_cpu_s": first}
    print(f"useful operations: {share:.1%} of a plain product", flush=True)
    write("training-flops", found)
    return [("useful operations a second beside a plain product", share, 0.4, True)]


def growth(folder: Path, rounds: int) -> Bars:
    """Longer rows, more layers; three steps of each."""
    del rounds
    model = write_model(folder / "m16k", "m16k")
    examples = read_examples(write_examples(folder / "mix.npz", "mix", 16_384, 400))
    rows = batch(rows_of(examples, packed=True), np.arange(ROWS), ROWS, MICRO_ROWS)
    lengths = {}
    for length in (512, 1024, 2048, 4096):
        longer = rows_of(
            examples if length >= LENGTH else [(i[:512], t[:512]) for i, t in examples], packed=True, length=length
        )
        count = 4096 // length
        took, _, _ = timed(model, batch(longer, np.arange(count), count, count), 3)
        lengths[length] = statistics.median(took) / 4096
        print(f"{length} tokens a row: {1e3 * lengths[length]:.3f} CPU ms a token", flush=True)
    layers = {}
    for count in (1, 2, 6, 13, 26):
        deep = write_model(folder / f"layers{count}", "m16k", num_hidden_layers=count)
        took, _, first = timed(deep, rows, 3)
        layers[count] = {
            "cpu_s_per_token": statistics.median(took) / (ROWS * LENGTH),
            "compile_cpu_s": first - statistics.median(took),
        }
        print(f"{count} layers: {layers[count]}", flush=True)
    write("training-growth", {"cpu_s_per_token_by_length": lengths, "by_layers": layers})
    return [("CPU seconds of compiling 26 layers", layers[26]["compile_cpu_s"], 60.0, False)]


RACES = {"memory": memory, "flops": flops, "growth": growth}


def main() -> None:
    """Measure, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(RACES), nargs="+", default=list(RACES))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found: Bars = []
    for name in args.only:
        with tempfile.TemporaryDirectory(dir=args.folder) as out:
            found += RACES[name](Path(out).resolve(), args.rounds)
    judge(found)


if __name__ == "__main__":
    keep_freed_memory()
    main()
