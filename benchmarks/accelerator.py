"""The training step with Gemma-2-2B's shape on the accelerator at hand: speed, memory, and google-tunix beside it.

Takes:  an accelerator (a GPU of the H200's class for the shipped cells); no weights, no network. tunix where it can be imported.
Leaves: --out FILE, JSON with a line for every cell; exit status 1 below the bars.

    python benchmarks/accelerator.py --out accelerator.json [--only 1024x16] [--no-peer]
    python benchmarks/accelerator.py --out /tmp/tiny.json --shape tiny          # the script itself, tried without one

Weights are random, bfloat16; LoRA of rank 64 on all linears; the examples are those of training.py (`mix` lengths), packed by ours into
rows, padded to 1,024 by tunix. A step has 32,768 tokens however it is cut. MFU is useful operations (`learn.flops.useful`: 4N + causal
attention + LoRA, the head on tokens with loss only, nothing recomputed) a second, by the speed of an 8,192 x 8,192 x 8,192 bfloat16
product in the same run. Cells are compiled at the same time and before any is run: without autotuning
(XLA_FLAGS="--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false") that takes seconds and not minutes, so where time is
short name a few with --only. Memory is the compiler's count beside the allocator's peak; cells run from the smallest to the largest, as the
peak of a process never falls.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absent_device import SHAPE
from training_data import read_examples, rows_of, write_examples

from showwork.learn.data import batch
from showwork.learn.flops import useful, work_of
from showwork.learn.session import Session, session
from showwork.model.config import GemmaConfig
from showwork.model.kernels import BLOCKED, KERNELS, difference
from showwork.model.params import layer_shapes

REPO = Path(__file__).resolve().parents[1]
TINY = {
    **SHAPE, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 64, "query_pre_attn_scalar": 64, "vocab_size": 1024,
}  # fmt: skip
GEMMA3 = {
    "model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262144,
    "query_pre_attn_scalar": 256, "sliding_window": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    "rope_local_base_freq": 1e4, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 32768,
    "tie_word_embeddings": True, "sliding_window_pattern": 6,
}  # fmt: skip
MFU_BAR, PEER_BAR = 0.45, 1.8
TOKENS = {"gemma2-2b": 32_768, "tiny": 2 * 4096}  # of a step


@dataclass(frozen=True)
class Cell:
    """A way to run the step: rows of `length` tokens, so many at a time; rank 0 trains all weights."""

    length: int
    micro: int
    remat: str
    kernel: str = BLOCKED
    rank: int = 64

    def __str__(self) -> str:
        return f"{self.length}x{self.micro}-{self.remat}-{self.kernel}-r{self.rank}"


def cells(shape: str) -> list[Cell]:
    """Every micro-batch with every remat, then each kernel where it could pay."""
    if shape == "tiny":
        return [Cell(1024, 2, "block"), Cell(4096, 1, "dots"), Cell(1024, 2, "block", rank=0)]
    grid = [Cell(1024, micro, remat) for remat in ("block", "dots", "none") for micro in (2, 8, 16, 32)]
    fast = [Cell(1024, 16, r, "tokamax") for r in ("block", "dots", "none")] + [Cell(1024, 32, "dots", "tokamax")]
    long = [Cell(4096, m, r, k) for k in (BLOCKED, "tokamax") for m, r in ((4, "block"), (4, "dots"), (8, "block"))]
    full = [Cell(1024, 16, "block", k, rank=0) for k in (BLOCKED, "tokamax")]
    return [*grid, *fast, *long, *full]


def made(hf: dict[str, Any], cell: Cell, tokens: int) -> Session:
    """A session with the cell's rows, rank and remat."""
    adapter = {"rank": cell.rank, "alpha": cell.rank, "targets": "all-linear", "dropout": 0.0, "rslora": False}
    rows = tokens // cell.length
    train = {
        "method": "sft", "adapter": adapter if cell.rank else None, "remat": cell.remat, "batch_size": rows,
        "gradient_accumulation": 1, "epochs": None, "max_steps": 1000, "learning_rate": 2e-5, "warmup_steps": 100,
        "schedule": "cosine", "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "clip_norm": 1.0,
    }  # fmt: skip
    settings = {
        "name": "accelerator",
        "seed": 42,
        "dtype": "bfloat16",
        "max_seq_length": cell.length,
        "train": train,
    }
    return session(settings, hf, rows)


def weights(cfg: GemmaConfig, vocabulary: int, dtype: str) -> Any:
    """A model of random weights, made on the device."""
    shapes = {"embed": (vocabulary, cfg.width), "final_norm": (cfg.width,)}
    layers = {n: (cfg.num_layers, *s) for n, s in layer_shapes(cfg).items()}

    def drawn(shape: tuple[int, ...], number: int) -> jax.Array:
        if "norm" in names[number]:
            return jnp.zeros(shape, dtype)
        return (jax.random.normal(jax.random.key(number), shape, "bfloat16") * shape[-1] ** -0.5).astype(dtype)

    names = [*shapes, *layers]
    flat = {
        name: jax.jit(partial(drawn, shape, number))()
        for number, (name, shape) in enumerate({**shapes, **layers}.items())
    }
    return {"embed": flat["embed"], "final_norm": flat["final_norm"], "layers": {n: flat[n] for n in layers}}


def product_speed(size: int) -> float:
    """Operations a second of a square product in bfloat16, the mean of ten after three."""
    x, y = (jax.random.normal(jax.random.key(i), (size, size), jnp.bfloat16) for i in range(2))
    product = jax.jit(jnp.matmul)
    for _ in range(3):
        product(x, y).block_until_ready()
    begin = time.perf_counter()
    for _ in range(10):
        out = product(x, y)
    out.block_until_ready()
    return 2 * size**3 * 10 / (time.perf_counter() - begin)


def peak() -> int:
    """Bytes, of the device; 0 where it does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def compiled(hf: dict[str, Any], cell: Cell, tokens: int, rows: dict[str, np.ndarray]) -> tuple[Any, dict[str, Any]]:
    """(step, its memory) from shapes alone."""
    of = made(hf, cell, tokens)
    if cell.kernel != BLOCKED:
        of = replace(of, attend=KERNELS[cell.kernel][2])
    cfg, dtype = of.cfg, jnp.dtype(of.params_dtype)
    layers = {n: jax.ShapeDtypeStruct((cfg.num_layers, *s), dtype) for n, s in layer_shapes(cfg).items()}
    params = {
        "embed": jax.ShapeDtypeStruct((hf["vocab_size"], cfg.width), dtype),
        "final_norm": jax.ShapeDtypeStruct((cfg.width,), dtype),
        "layers": layers,
    }
    trainable = params if of.full else jax.eval_shape(of.fresh_adapter)
    state = jax.eval_shape(of.initial_state, trainable)
    begin = time.perf_counter()
    step = of.step().lower(state, None if of.full else params, rows).compile()
    found = step.memory_analysis()
    return step, {
        "compile_s": time.perf_counter() - begin,
        "arguments_gb": found.argument_size_in_bytes / 1e9,
        "temporary_gb": found.temp_size_in_bytes / 1e9,
    }


def run(
    hf: dict[str, Any],
    cell: Cell,
    tokens: int,
    step: Any,
    params: Any,
    rows: dict[str, np.ndarray],
    seconds: float,
    profile: bool,
) -> dict[str, Any]:
    """Seconds of a step, the median of some after two; memory; with `profile` the device's busiest kernels."""
    of = made(hf, cell, tokens)
    trainable = params if of.full else of.fresh_adapter()
    state, before, took = of.initial_state(trainable), peak(), []
    rows = jax.device_put(rows)
    numbers: dict[str, Any] = {}
    for _ in range(8):
        begin = time.perf_counter()
        state, numbers = step(state, None if of.full else params, rows)
        jax.block_until_ready(numbers)
        took.append(time.perf_counter() - begin)
        if len(took) >= 5 and sum(took) > seconds:
            break
    after = peak()
    kernels = traced(lambda: step(state, None if of.full else params, rows)) if profile else []
    return {
        **({"kernels_ms": kernels} if kernels else {}),
        "step_s": statistics.median(took[2:]),
        "steps_s": [round(t, 4) for t in took],
        "loss": float(numbers["loss"]),
        **({"peak_gb": after / 1e9} if after > before else {}),
    }


def traced(work: Callable[[], Any], most: int = 40) -> list[tuple[str, float, int]]:
    """(kernel, milliseconds, calls) of one call, those that took longest, after a line for all."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(work())
        found: dict[str, list[float]] = {}
        for file in Path(folder).rglob("*.xplane.pb"):
            for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
                if not plane.name.startswith("/device:GPU"):
                    continue
                for line in plane.lines:
                    if line.name.startswith("Stream"):
                        for event in line.events:
                            found.setdefault(event.name, []).append(event.duration_ns / 1e6)
    times = sorted(((name[:120], round(sum(ms), 2), len(ms)) for name, ms in found.items()), key=lambda t: -t[1])
    return [("all", round(sum(t[1] for t in times), 2), sum(t[2] for t in times)), *times[:most]]


def measured(
    hf: dict[str, Any], tokens: int, wanted: list[Cell], packed: dict[int, Any], top: float, profiled: str
) -> Iterator[dict[str, Any]]:
    """A line for each cell."""
    held = {}
    counts = {cell: tokens // cell.length for cell in wanted}
    rows = {c: batch(packed[c.length], np.arange(n), n, c.micro) for c, n in counts.items()}
    work = {}
    for length, of in packed.items():
        first = tokens // length
        work[length] = work_of(of.positions[:first], of.segment_ids[:first], of.loss_mask[:first], hf["sliding_window"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = {cell: pool.submit(compiled, hf, cell, tokens, rows[cell]) for cell in wanted}
    for cell, future in futures.items():
        if error := future.exception():
            yield {**vars(cell), "failed": f"{type(error).__name__}: {error}"[:400]}
        else:
            held[cell] = future.result()
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", float("inf")) / 1e9
    params: dict[str, Any] = {}
    for cell in sorted(held, key=lambda c: (c.rank == 0, held[c][1]["arguments_gb"] + held[c][1]["temporary_gb"])):
        step, memory = held.pop(cell)
        needs, of = memory["arguments_gb"] + memory["temporary_gb"], made(hf, cell, tokens)
        line = {**vars(cell), **memory}
        if needs > limit * 0.98:
            yield {**line, "failed": f"needs {needs:.1f} GB of {limit:.1f}: compiled, not run"}
            continue
        if of.params_dtype not in params:
            params = {of.params_dtype: weights(of.cfg, hf["vocab_size"], of.params_dtype)}
        try:
            line |= run(
                hf,
                cell,
                tokens,
                step,
                params.pop(of.params_dtype) if of.full else params[of.params_dtype],
                rows[cell],
                4,
                str(cell) == profiled,
            )
        except Exception as error:  # one cell that does not fit must not cost the others
            yield {**line, "failed": f"{type(error).__name__}: {error}"[:400]}
            continue
        one = work[cell.length]
        flops = useful(of.cfg, hf["vocab_size"], one, of.modules, cell.rank)
        line |= {"tokens_per_s": one.tokens / line["step_s"], "mfu": flops / line["step_s"] / top}
        yield line
        del step


def peer(model: str, examples: Path, out: Path) -> dict[str, Any]:
    """tunix in a process of its own, before ours takes the memory; the largest micro-batch that it can do."""
    found: dict[str, Any] = {}
    for rows in (16, 8) if model == "gemma2-2b" else (2,):
        command = [sys.executable, str(REPO / "benchmarks/peers/tunix_accelerator.py"), model, str(examples), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=170)
        if done.returncode == 0:
            return found | json.loads(done.stdout.strip().splitlines()[-1])
        (out.parent / f"tunix-{rows}.txt").write_text(done.stdout[-3000:] + done.stderr[-6000:])
        found[f"failed_at_{rows}"] = (done.stderr.strip().splitlines() or [""])[-1][:300]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", choices=("gemma2-2b", "tiny"), default="gemma2-2b")
    parser.add_argument(
        "--only", default="", help="cells whose name this regular expression matches, as 1024x16-block-blocked-r64"
    )
    parser.add_argument("--profile", default="", help="a cell whose busiest kernels are listed")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-kernels", action="store_true", help="ours alone: no other attention is tried")
    args = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")  # before JAX is first asked for a device
    hf = SHAPE if args.shape == "gemma2-2b" else TINY
    device = jax.local_devices()[0]
    result: dict[str, Any] = {
        "name": "accelerator", "date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit(), "device": device.device_kind,
        "command": " ".join(["python", "benchmarks/accelerator.py", *sys.argv[1:]]), "shape": args.shape,
        "flags": os.environ.get("XLA_FLAGS", ""), "versions": versions(),
    }  # fmt: skip

    def keep() -> None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        examples = write_examples(Path(folder) / "mix.npz", "mix", hf["vocab_size"], 600)
        if not args.no_peer:
            result["tunix"] = peer(args.shape, examples, args.out)
            print("tunix", result["tunix"], flush=True)
            keep()
        read = read_examples(examples)
    packed = {length: rows_of(read, packed=True, length=length) for length in (1024, 4096)}
    top = product_speed(8192 if args.shape == "gemma2-2b" else 512)
    result["product_flops_per_s"] = top
    print(f"{device.device_kind}: {top / 1e12:.1f} TFLOP/s", flush=True)
    cfg = GemmaConfig.from_hf(hf)
    result["kernels"] = {
        f"{name}, {family}, {length}": difference(KERNELS[name][2], of, "bfloat16", length) or "as near as ours"
        for name in ("tokamax", "cudnn")
        for family, of in (("gemma2", cfg), ("gemma3", GemmaConfig.from_hf(GEMMA3)))
        for length in (1024, 4096)
        if args.shape == "gemma2-2b" and not args.no_kernels
    }
    print(json.dumps(result["kernels"], indent=1), flush=True)
    wanted = [
        c
        for c in cells(args.shape)
        if re.search(args.only, str(c))
        and (c.kernel == BLOCKED or any(v == "as near as ours" for k, v in result["kernels"].items() if k.startswith(f"{c.kernel}, gemma2")))
    ]  # fmt: skip
    result["cells"] = []
    for line in measured(hf, TOKENS[args.shape], wanted, packed, top, args.profile):
        result["cells"].append({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()})
        print(json.dumps(result["cells"][-1]), flush=True)
        keep()
    done = [c for c in result["cells"] if "mfu" in c]
    best = {
        key: max((c for c in done if (c["length"], bool(c["rank"])) == key), key=lambda c: c["mfu"], default=None)
        for key in ((1024, True), (4096, True), (1024, False))
    }
    bars = [(f"MFU at {k[0]}{'' if k[1] else ', all weights'}", c["mfu"], MFU_BAR) for k, c in best.items() if c]
    if best[1024, True] and "tokens_per_s" in result.get("tunix", {}):
        ratio = best[1024, True]["tokens_per_s"] / result["tunix"]["tokens_per_s"]
        bars.append(("real tokens a second, of tunix's", ratio, PEER_BAR))
    result["bars"] = [{"what": what, "got": got, "bar": bar, "met": got >= bar} for what, got, bar in bars]
    keep()
    for what, got, bar in bars:
        print(f"{what}: {got:.3f} (bar {bar})")
    return int(any(got < bar for _, got, bar in bars))


def commit() -> str:
    """Of the repository, or what its caller says where there is none."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True)
    except OSError:
        return os.environ.get("COMMIT", "")
    return found.stdout.strip() or os.environ.get("COMMIT", "")


def versions() -> dict[str, str]:
    """Of what took part."""
    found = {"python": sys.version.split()[0]}
    for name in ("jax", "jaxlib", "flax", "optax", "tokamax", "google-tunix", "qwix"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
