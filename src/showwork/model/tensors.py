"""Tensors of safetensors files, found by their headers and read one at a time.

*Takes* a folder with model.safetensors, or shards with model.safetensors.index.json. *Leaves* where each tensor lies,
and its bytes when asked for.

Source: the safetensors format (8 bytes of header length, a JSON header, raw little-endian tensors).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

_DTYPES = {"F32": np.dtype(np.float32), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16)}
_PREFIXES = ("model.", "language_model.model.", "model.language_model.")  # the last two: Gemma 3 with a vision tower


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where one tensor lies: file, offset and length in bytes, dtype, shape."""

    file: Path
    offset: int
    num_bytes: int
    dtype: np.dtype
    shape: tuple[int, ...]


def index_tensors(where: Path) -> dict[str, Tensor]:
    """Every tensor of a folder, or of one safetensors file, by Hugging Face name ('model.…'), from headers alone.

    Raises:
        FileNotFoundError: no folder, no model.safetensors, or a shard of the index is missing.
        ValueError: a file that is not safetensors or is cut short.
    """
    found: dict[str, Tensor] = {}
    for shard in [where] if where.is_file() else _shards(where):
        for name, tensor in read_header(shard).items():
            for prefix in _PREFIXES[1:]:
                if name.startswith(prefix):
                    name = "model." + name[len(prefix) :]
            found[name] = tensor
    return found


def _shards(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"base folder '{folder}' does not exist, wanted a folder with config.json and model.safetensors; "
            f"set model.path to one, or run the download."
        )
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"base folder '{folder}' has no {name}, wanted "
                f"{'every shard that its index names' if index.is_file() else 'the weights as safetensors'}; "
                f"fetch that file into the folder."
            )
    return [folder / name for name in names]


def read_header(path: Path) -> dict[str, Tensor]:
    """Names and places of the tensors of one safetensors file.

    Raises:
        ValueError: not a safetensors file, or shorter than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else size
        if 8 + length > size:
            raise ValueError(f"{path}: {size:,} bytes, wanted a whole safetensors file; fetch it again.")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise ValueError(f"{path}: its header is not JSON, wanted a safetensors file; fetch it again.") from None
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        if 8 + length + stop > size:
            raise ValueError(
                f"{path}: {size:,} bytes, wanted {8 + length + stop:,} for tensor {name}; the file is cut short, "
                f"fetch it again."
            )
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise ValueError(
                f"{path}: tensor {name} has dtype {entry['dtype']}, wanted one of {', '.join(_DTYPES)}; "
                f"give a base that is not quantized."
            )
        shape = tuple(entry["shape"])
        if math.prod(shape) * dtype.itemsize != stop - start:
            raise ValueError(
                f"{path}: tensor {name} holds {stop - start:,} bytes, wanted {math.prod(shape) * dtype.itemsize:,} for "
                f"its shape {list(shape)}; fetch the file again."
            )
        found[name] = Tensor(path, 8 + length + start, stop - start, dtype, shape)
    return found


def read_into(tensor: Tensor, into: np.ndarray) -> None:
    """Read a tensor's bytes into a contiguous array of its dtype and shape, with pread: no mapped pages stay behind.

    Raises: ValueError when the file ends before they do.
    """
    view = into.reshape(-1).view(np.uint8).data
    handle = os.open(tensor.file, os.O_RDONLY)
    try:
        done = 0
        while done < tensor.num_bytes:
            count = os.preadv(handle, [view[done:]], tensor.offset + done)
            if not count:
                raise ValueError(f"{tensor.file}: ended while being read, wanted it to stay whole; fetch it again.")
            done += count
    finally:
        os.close(handle)


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bytes, compared in pieces of 16 MiB."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    step = 1 << 24
    with one.file.open("rb") as first, other.file.open("rb") as second:
        first.seek(one.offset)
        second.seek(other.offset)
        for done in range(0, one.num_bytes, step):
            count = min(step, one.num_bytes - done)
            if first.read(count) != second.read(count):
                return False
    return True
