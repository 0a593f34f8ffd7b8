"""Several processes that train one model: how they find each other, agree on when to stop, and share what one has read.

Takes   a place among them (foundation/launch.py).
Leaves  a joined JAX: `jax.devices()` are then the devices of all. With one process nothing is joined and nothing is sent.
Source  jax.distributed; on CPUs sums go over gloo. A process that misses its heartbeats for HEARTBEAT_S ends the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from showwork.foundation.launch import Place

HEARTBEAT_S = 30  # a machine that is gone closes no connection: only its silence tells
JOIN_S = 300
LEAVE_S = 60


class Group:
    """All processes of a training, seen from one of them."""

    def __init__(self, place: Place):
        """Joins the others; to be called before anything else asks JAX for its devices."""
        self.index, self.count = place.index, place.count
        if self.count == 1:
            return
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
        jax.distributed.initialize(
            coordinator_address=place.address,
            num_processes=self.count,
            process_id=self.index,
            local_device_ids=_own_devices(place),
            initialization_timeout=JOIN_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=LEAVE_S,
            cluster_detection_method="deactivate" if place.address else None,
        )

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def from_first(self, tree: Any) -> Any:
        """The first process's values of a tree, bit for bit, as NumPy arrays; the others give one of the same shapes."""
        if self.count == 1:
            return tree

        def one(leaf: Any) -> np.ndarray:
            # As bytes: what is sent is summed with the others' zeros, and -0.0 + 0.0 is another value.
            own = np.array(leaf)
            sent = multihost_utils.broadcast_one_to_all(own.reshape(-1).view(np.uint8))
            return np.asarray(sent).view(own.dtype).reshape(own.shape)

        return jax.tree.map(one, tree)

    def wait(self) -> None:
        """Returns once every process is here."""
        if self.count > 1:
            multihost_utils.sync_global_devices("showwork")

    def agreed(self, heard: Callable[[], bool]) -> Callable[[], bool]:
        """`heard`, made the same in all processes: true once any of them heard something before its last call but one.

        Each call sends off what was heard and looks at what the call before sent, so that nobody waits; all must call it
        equally often.
        """
        if self.count == 1:
            return heard
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        mesh = Mesh(np.array(devices), ("all",))
        split, whole = NamedSharding(mesh, PartitionSpec("all")), NamedSharding(mesh, PartitionSpec())
        count = jax.jit(lambda flags: flags.sum(), out_shardings=whole)
        sent: list[jax.Array] = []

        def any_heard() -> bool:
            own = np.full(len(jax.local_devices()), heard(), np.int32)
            sent.append(count(jax.make_array_from_process_local_data(split, own, (len(devices),))))
            return bool(jax.device_get(sent.pop(0))) if len(sent) > 1 else False

        return any_heard


def _own_devices(place: Place) -> list[int] | None:
    """Accelerators of this process among those of its machine: one each, or all where it is alone there."""
    if place.address:
        return [place.index]
    alone = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "").split("(")[0] == "1"
    gpus = int(os.environ.get("SLURM_GPUS_ON_NODE", 0))
    return list(range(gpus)) if alone and gpus else None
