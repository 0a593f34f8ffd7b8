"""The machine at hand: where compiled programs are kept, and how much memory a step may take.

Takes   nothing but the machine.
Leaves  a configured JAX, and a number of bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import time
from pathlib import Path

import jax
import jax.numpy as jnp

MATMUL_SECONDS = 0.3
SHARE_FOR_ACTIVATIONS = 0.4  # the rest: weights, moments, gradients, what the compiler needs beside
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # of malloc.h
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def compile_cache(folder: Path) -> None:
    """Keeps compiled programs in `folder`, apart for each kind of processor: code for another one may not run here."""
    flags = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    kind = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:8]
    jax.config.update("jax_compilation_cache_dir", str(folder.resolve() / kind))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory for the next step instead of handing it back to the kernel.

    On a CPU every step frees its temporary arrays, and fresh pages have to be zeroed by the kernel: 110 of 390 CPU
    milliseconds a step of a model as small as the demo's. It must be called before JAX starts its threads, because a
    thread keeps the arena it began with. Elsewhere than on Linux with glibc it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in (M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28):
            mallopt(option, value)


def memory_for_activations() -> int:
    """Bytes that activations of one micro-batch may take: a share of the accelerator's memory, or of this machine's.

    Of what there is, not of what is free just now: the same machine always cuts a batch in the same way.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    return int((stats.get("bytes_limit") or machine_memory()) * SHARE_FOR_ACTIVATIONS)


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the control group that this process may use."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in map(Path, CGROUP_LIMITS):
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            limits.append(int(text))
    return min(limits)


def matmul_speed(width: int, ffw_width: int, dtype: str) -> float:
    """Operations a second of [2048, width] x [width, ffw_width], the best of a third of a second of tries."""
    x, w = (jnp.ones(shape, dtype) for shape in ((2048, width), (ffw_width, width)))

    @jax.jit
    def product(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.dot_general(x, w, (((1,), (1,)), ((), ())))

    product(x, w).block_until_ready()
    best, end = float("inf"), time.monotonic() + MATMUL_SECONDS
    while time.monotonic() < end:
        begun = time.perf_counter()
        product(x, w).block_until_ready()
        best = min(best, time.perf_counter() - begun)
    return 2 * 2048 * width * ffw_width / best
