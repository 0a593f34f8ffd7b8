"""Where arrays lie when there is more than one device: rows split over all of them, weights whole or split too.

Takes   a kind: `single`, `data` (every device holds all weights) or `fsdp` (each holds a part of every large weight).
Leaves  placed trees and batches; the step itself is the same program text for every mesh.
Source  jax.sharding with automatic partitioning (GSPMD). The result does not depend on the mesh but for rounding, so the
        mesh is not part of a run's identity, and a checkpoint written on one resumes on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

KINDS = ("single", "data", "fsdp")
AXIS = "rows"
LEAST_SPLIT = 2**12  # entries; smaller arrays are not worth a gather


class Devices:
    """All devices of all processes as one line, those of the first process first; or one device alone."""

    def __init__(self, kind: str | None = None):
        """Set up.

        Raises:
          ValueError: an unknown kind, or `single` with several processes.
        """
        chosen = kind or ("single" if jax.device_count() == 1 else "data")
        if chosen not in KINDS:
            raise ValueError(f"--mesh is {chosen!r} but must be one of {', '.join(KINDS)}; correct it in the profile")
        if chosen == "single" and jax.process_count() > 1:
            raise ValueError(
                f"--mesh is 'single' but {jax.process_count()} processes train together; set it to data or fsdp, or "
                "--processes to 1"
            )
        self.kind = chosen
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        self.mesh = None if chosen == "single" else Mesh(np.array(devices), (AXIS,))
        self._gathered = self.mesh and jax.jit(
            lambda leaf: leaf, out_shardings=NamedSharding(self.mesh, PartitionSpec())
        )

    @property
    def count(self) -> int:
        """Devices that a step runs on."""
        return 1 if self.mesh is None else self.mesh.size

    def place(self, tree: Any, *, split: bool = False) -> Any:
        """The tree on the devices; with `split`, and on `fsdp`, large arrays are split along their longest axis."""
        if self.mesh is None or tree is None:
            return tree
        mesh = self.mesh
        return jax.tree.map(lambda leaf: _put(leaf, NamedSharding(mesh, self._split_of(leaf, split))), tree)

    def share(self, micro_rows: int) -> slice:
        """Which of the M rows of a micro-batch this process reads: those of its own devices.

        Two processes with four rows: the first has slice(0, 2), the second slice(2, 4).
        """
        own = micro_rows // jax.process_count()
        return slice(jax.process_index() * own, (jax.process_index() + 1) * own)

    def place_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """[A, M, L] arrays with M split over the devices; each process gives the rows of its `share`."""
        if self.mesh is None:
            return dict(batch)
        sharding = NamedSharding(self.mesh, PartitionSpec(None, AXIS, None))
        return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}

    def whole(self, tree: Any) -> Any:
        """The tree with no leaf split over processes, so that each can be fetched. All processes must call it together."""
        gathered = self._gathered
        if gathered is None or jax.process_count() == 1:
            return tree
        return jax.tree.map(lambda leaf: leaf if leaf.is_fully_replicated else np.asarray(gathered(leaf)), tree)

    def _split_of(self, leaf: Any, split: bool) -> PartitionSpec:
        spec: list[str | None] = [None] * np.ndim(leaf)
        first = 1 if np.ndim(leaf) == 3 else 0  # of stacked weights axis 0 is the layer, which the scan walks along
        axes = [axis for axis in range(first, np.ndim(leaf)) if leaf.shape[axis] % self.count == 0]
        if split and self.kind == "fsdp" and axes and leaf.size >= LEAST_SPLIT:
            spec[max(axes, key=lambda axis: leaf.shape[axis])] = AXIS
        return PartitionSpec(*spec)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """On the devices; with several processes each puts its own part, and none compares its copy with the others'."""
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
