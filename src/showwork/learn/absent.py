"""Compiles a step for a device that is not at hand: how much memory would it take there?

Takes   a device's name, a session, shapes of its weights. No accelerator, no weight.
Leaves  bytes that XLA assigns to arguments and temporary arrays. Nothing is run: GEMM workspaces that autotuning would pick,
        the allocator's fragmentation and the driver's context are not in it.
Source  JAX compiles ahead of time for a described topology. What is said of the H100 and H200 are NVIDIA's published figures
        in the field names of XLA's GpuTargetConfigProto; TPUs are described by libtpu itself.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from showwork.learn.session import Session
from showwork.tokens.packing import DTYPES


@dataclass(frozen=True)
class Device:
    """`memory` in bytes, `bandwidth` in bytes a second; `topology` is JAX's name of one chip or host of its kind."""

    platform: str
    topology: str
    memory: int
    bandwidth: int = 0


DEVICES = {
    "h100": Device("cuda", "1x1x1", 80 * 10**9, 3_350 * 10**9),
    "h200": Device("cuda", "1x1x1", 141 * 10**9, 4_800 * 10**9),
    "tpu-v5p": Device("tpu", "v5p:2x2x1", 95 * 10**9),
}
NEEDED = {"cuda": ("jax_plugins.xla_cuda12", "nvidia.cuda_nvcc"), "tpu": ("libtpu",)}
INSTALL = "install the compilers without their devices once, `make absent`, and put .absent on PYTHONPATH"


def prepare(device: Device) -> None:
    """Settings of JAX for a compiler without its device; before JAX is first asked for a device.

    Raises:
      ValueError: the device's compiler is not installed.
    """
    places = {}
    for name in NEEDED[device.platform]:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise ValueError(f"{name}, a part of the compiler for {device.platform}, is not installed; {INSTALL}")
        places[name] = next(iter(spec.submodule_search_locations or []), "")
    jax.config.update("jax_platforms", "cpu")
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    if device.platform == "cuda":
        flags = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={places['nvidia.cuda_nvcc']}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    else:
        os.environ.update(TPU_SKIP_MDS_QUERY="1", TPU_ACCELERATOR_TYPE="v5p-8")


def description(device: Device) -> str:
    """A Hopper GPU (compute capability 9.0a, 132 multiprocessors) as XLA reads it."""
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: {48 * 1024}
  shared_memory_per_block_optin: {227 * 1024}
  shared_memory_per_core: {228 * 1024}
  threads_per_core_limit: 2048
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  memory_bandwidth: {device.bandwidth}
  l2_cache_size: {50 * 2**20}
  clock_rate_ghz: 1.98
  device_memory_size: {device.memory}
  device_address_bits: 64
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability {{ major: 9 feature_extension: ACCELERATED_FEATURES }}
  driver_version: "12.8.0"
  runtime_version: "12.8.0"
  compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
"""


def target(device: Device) -> SingleDeviceSharding:
    """One chip of the device, as a place for shapes."""
    if device.platform == "cuda":
        found = topologies.get_topology_desc(
            "described", platform="cuda", target_config=description(device), topology=device.topology
        )
    else:
        found = topologies.get_topology_desc(platform="tpu", topology_name=device.topology)
    return SingleDeviceSharding(found.devices[0])


def memory_on(place: SingleDeviceSharding, made: Session, params: Any, micro: int) -> dict[str, int]:
    """Bytes of the step at `micro` packed rows at a time: arguments, temporary, and both.

    Args:
      params: the base's tree of jax.ShapeDtypeStruct.

    Raises:
      ValueError: a compiler that does not say.
    """
    trainable = params if made.full else jax.eval_shape(made.fresh_adapter)
    state = jax.eval_shape(made.initial_state, trainable)
    shape = (made.rows_per_step // micro, micro, made.length)
    batch = {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in DTYPES.items()}
    there = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        (state, None if made.full else params, batch),
    )
    found = made.step().lower(*there).compile().memory_analysis()
    if found is None:
        raise ValueError(
            "the compiler for this device does not say how much memory the step takes; name another device"
        )
    held, temporary = found.argument_size_in_bytes, found.temp_size_in_bytes
    return {"arguments_bytes": held, "temporary_bytes": temporary, "total_bytes": held + temporary}
