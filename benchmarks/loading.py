"""A checkpoint of two shards into the stacked tree, the page cache dropped: peak memory and CPU seconds beside the naive way.

Takes:  a folder with 6 GB free; it holds the checkpoint while this runs.
Leaves: benchmarks/results/<date>-loading.json; exit status 1 below the bars.

    taskset -c 0 python benchmarks/loading.py work/benchmark [--rounds 3]

The checkpoint has Gemma-2-2B's shape, 5.2 GB of random bfloat16 in two files, the same random values again and again. Each way
is a process of its own that first drops the files from the page cache (`posix_fadvise`); memory is that of the whole process,
Python and JAX included, and the tree is the bytes of its arrays alone.

naive  what scripts do: `safetensors.numpy.load_file` of both shards, a stack of the transposed matrices of each kind, `jnp.asarray`,
       all files held until the end.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from absent_device import SHAPE
from race import judge, race
from safetensors.numpy import load_file

from showwork.model.config import GemmaConfig
from showwork.model.params import HF_NAMES, layer_shapes, load_params, shapes

TILE_BYTES = 1 << 24
OURS, NAIVE = "showwork.model.params.load_params", "naive"
PEAK, CPU = 1.35, 1.0


def write_checkpoint(folder: Path) -> int:
    """Two shards of about the same size and their index; the bytes of all tensors."""
    (folder / "config.json").write_text(json.dumps(SHAPE))
    wanted = shapes(GemmaConfig.from_hf(SHAPE), SHAPE["vocab_size"])
    sizes = {name: 2 * math.prod(shape) for name, shape in wanted.items()}
    draw = np.random.Generator(np.random.PCG64(0)).standard_normal(TILE_BYTES // 2, np.float32)
    tile = (draw / 50).astype(ml_dtypes.bfloat16).tobytes()
    shards: list[dict[str, Any]] = [{}, {}]
    ends, where = [0, 0], {}
    for name, shape in wanted.items():
        shard = int(sum(ends) > sum(sizes.values()) / 2)
        where[name] = file_name(shard)
        offsets = [ends[shard], ends[shard] + sizes[name]]
        shards[shard][name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": offsets}
        ends[shard] = offsets[1]
    for number, header in enumerate(shards):
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / file_name(number)).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for start in range(0, ends[number], TILE_BYTES):
                file.write(tile[: ends[number] - start])
            os.fsync(file.fileno())
    index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return sum(sizes.values())


def file_name(number: int) -> str:
    """Of a shard."""
    return f"model-{number + 1:05}-of-00002.safetensors"


def drop_cache(folder: Path) -> None:
    """The shards' pages leave the page cache, so that reading them means the disk."""
    for number in range(2):
        handle = os.open(folder / file_name(number), os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def load_naively(folder: Path, cfg: GemmaConfig) -> dict[str, Any]:
    """The stacked tree with matrices [layers, in, out]."""
    found = {name: array for number in range(2) for name, array in load_file(folder / file_name(number)).items()}
    tree: dict[str, Any] = {
        "embed": jnp.asarray(found["model.embed_tokens.weight"]),
        "final_norm": jnp.asarray(found["model.norm.weight"]),
        "layers": {},
    }
    for name in layer_shapes(cfg):
        own = [found[f"model.layers.{i}.{HF_NAMES[name]}.weight"].T for i in range(cfg.num_layers)]
        tree["layers"][name] = jnp.asarray(np.stack(own))
    return tree


def load(folder: Path, how: str) -> None:
    """One contestant: the checkpoint from a cold page cache into arrays on the device."""
    drop_cache(folder)
    cfg = GemmaConfig.from_hf(SHAPE)
    tree = load_params(folder, cfg, "bfloat16") if how == OURS else load_naively(folder, cfg)
    jax.block_until_ready(tree)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) == sum(
        2 * math.prod(shape) for shape in shapes(cfg, SHAPE["vocab_size"]).values()
    )


def main() -> None:
    """Write, race, delete, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=(OURS, NAIVE), help="one contestant, on a folder that holds the checkpoint")
    args = parser.parse_args()
    if args.one:
        load(args.folder, args.one)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        folder = Path(made).resolve()
        tree_mb = write_checkpoint(folder) / 1e6
        ways = {way: [sys.executable, __file__, str(folder), "--one", way] for way in (NAIVE, OURS)}
        told = race("loading", ways, rounds=args.rounds, facts=lambda: {"tree_mb": tree_mb})["contestants"]
    for way in ways:
        print(f"{way}: {told[way]['median']['memory_mb'] / tree_mb:.2f} of the tree at its peak")
    judge(
        [
            ("peak memory beside the tree", max(r["memory_mb"] for r in told[OURS]["runs"]) / tree_mb, PEAK, False),
            ("CPU seconds beside the naive way", 1 / told[OURS]["times_faster"]["cpu_s"], CPU, False),
        ]
    )


if __name__ == "__main__":
    main()
