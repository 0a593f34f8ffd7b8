"""Says whether a training step fits a device that is not at hand, and with how many packed rows at a time and which remat.

Takes:  a folder with a model's config.json (no weights are read), the name of a device.
Leaves: a line for each way that was compiled for the device, and the first that fits: least recomputation, then most rows.

    make absent                                     # once: the compilers, 1.2 GB
    PYTHONPATH=.absent showwork fits h200 --model gemma-2-2b-it --rows 32 --length 1024 --rank 64
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax

from showwork.learn.absent import DEVICES, memory_on, prepare, target
from showwork.learn.session import Session, session
from showwork.model.config import dtype_named
from showwork.model.params import layer_shapes, read_config

USABLE = 0.92  # of the device's memory: the rest is the driver's context and what cannot be foreseen
REMATS = ("none", "dots", "block")  # from least to most recomputation


def arguments(parser: argparse.ArgumentParser) -> None:
    """The device, the model's shape, the step."""
    parser.add_argument("device", choices=sorted(DEVICES))
    parser.add_argument("--model", type=Path, required=True, help="folder with config.json")
    parser.add_argument("--rows", type=int, default=32, help="packed rows of an optimizer step")
    parser.add_argument("--length", type=int, default=1024, help="tokens of a packed row")
    parser.add_argument(
        "--rank", type=int, default=64, help="of the adapter on all linears; 0: all weights are trained"
    )
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--remat", choices=REMATS, help="only this one")
    parser.add_argument("--micro-rows", type=int, help="only so many packed rows at a time")


def work(args: argparse.Namespace) -> int:
    """Compiles until one way fits; 1 when none does.

    Raises:
      ValueError: a compiler that is not installed, a micro-batch that does not divide the rows, a config.json without a vocabulary.
    """
    device, hf = DEVICES[args.device], read_config(args.model)
    prepare(device)
    place = target(device)
    if args.micro_rows is not None and (args.micro_rows < 1 or args.rows % args.micro_rows):
        raise ValueError(f"--micro-rows is {args.micro_rows} but must divide the {args.rows} rows of a step")
    micros = [args.micro_rows] if args.micro_rows else [n for n in range(args.rows, 0, -1) if args.rows % n == 0]
    room = int(device.memory * USABLE)
    for remat in [args.remat] if args.remat else REMATS:
        for micro in micros:
            made = described(hf, args, remat)
            found = memory_on(place, made, shapes_of(made, hf), micro)
            fits = found["total_bytes"] <= room
            print(
                f"{args.device}: {micro} x {args.length:,} tokens at a time, remat {remat}: "
                f"{found['arguments_bytes'] / 1e9:.2f} GB held, {found['temporary_bytes'] / 1e9:.2f} GB temporary; "
                f"{'fits' if fits else 'does not fit'} into {room / 1e9:.1f} of its {device.memory / 1e9:.0f} GB",
                flush=True,
            )
            if fits:
                return 0
    return 1


def described(hf: dict[str, Any], args: argparse.Namespace, remat: str) -> Session:
    """A session of that shape; what has no influence on memory has any value."""
    adapter = {"rank": args.rank, "alpha": args.rank, "targets": "all-linear", "dropout": 0.0, "rslora": False}
    train = {
        "method": "sft", "adapter": adapter if args.rank else None, "remat": remat,
        "batch_size": args.rows, "gradient_accumulation": 1, "epochs": None, "max_steps": 2,
        "learning_rate": 1e-5, "warmup_steps": 1, "schedule": "cosine", "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999,
        "epsilon": 1e-8, "clip_norm": 1.0,
    }  # fmt: skip
    settings = {"name": "fits", "seed": 0, "dtype": args.dtype, "max_seq_length": args.length, "train": train}
    return session(settings, hf, args.rows)


def shapes_of(made: Session, hf: dict[str, Any]) -> dict[str, Any]:
    """The base's tree of shapes, by config.json alone.

    Raises:
      ValueError: it does not say how large the vocabulary is.
    """
    vocab = hf.get("vocab_size", hf.get("text_config", {}).get("vocab_size"))
    if vocab is None:
        raise ValueError("config.json has no vocab_size, wanted the number of rows of the embedding; add it")
    cfg, dtype = made.cfg, dtype_named(made.params_dtype)
    layers = {n: jax.ShapeDtypeStruct((cfg.num_layers, *s), dtype) for n, s in layer_shapes(cfg).items()}
    return {
        "embed": jax.ShapeDtypeStruct((vocab, cfg.width), dtype),
        "final_norm": jax.ShapeDtypeStruct((cfg.width,), dtype),
        "layers": layers,
    }
