from __future__ import annotations

import jax
import numpy as np
import pytest
from tiny_model import HF
from tiny_run import settings

from showwork.learn.device import machine_memory, memory_for_activations
from showwork.learn.mesh import Devices
from showwork.learn.pace import Pace, clock
from showwork.learn.session import activation_bytes_per_row, micro_rows, session


def test_one_device_leaves_trees_where_they_are():
    devices = Devices("single")
    tree = {"a": np.zeros(3)}
    assert devices.place(tree) is tree
    assert devices.count == 1


def test_a_mesh_of_all_devices_places_batches_and_weights():
    devices = Devices("fsdp")
    batch = devices.place_batch({"tokens": np.zeros((2, devices.count, 5), np.int32)})
    assert batch["tokens"].shape == (2, devices.count, 5)
    weights = devices.place({"q": np.zeros((2, 64, 64)), "step": np.int32(1)}, split=True)
    assert len(weights["q"].sharding.device_set) == jax.device_count()


def test_an_unknown_mesh_is_refused():
    with pytest.raises(ValueError, match="--mesh is 'tensor' but must be one of single, data, fsdp"):
        Devices("tensor")


def test_micro_batches_are_the_largest_divisor_that_fits():
    made = session(settings(batch_size=4, gradient_accumulation=3), HF, num_rows=100)
    row = activation_bytes_per_row(made)
    assert [micro_rows(made, 12, int(row * n)) for n in (0.5, 1, 2.9, 5.5, 100)] == [1, 1, 2, 4, 12]


def test_memory_for_activations_is_a_share_of_what_the_machine_has():
    assert 0 < memory_for_activations() < machine_memory()


def test_the_pace_leaves_compiling_out(monkeypatch):
    now = iter([0.0, 10.0, 12.0, 14.0])
    monkeypatch.setattr("showwork.learn.pace.time.monotonic", lambda: next(now))
    pace = Pace(num_steps=5, flops_per_token=100.0, matmul_flops_per_second=1e5)
    assert pace.step(1, 400)["tokens_per_s"] == 40
    assert str(pace) == "compiled"
    pace.step(2, 400)
    assert pace.step(3, 400) | {"peak_bytes": 0} == {
        "step": 3, "seconds": 2.0, "tokens": 400, "peak_bytes": 0, "tokens_per_s": 200.0, "mfu": 0.2,
    }  # fmt: skip
    assert str(pace) == "200 tokens/s  MFU 20%  0:04 left"
    assert pace.summary().startswith(
        "0:14 minutes, 0:10 of them until the first step; 200 tokens/s, 20% of the 0 GFLOP/s"
    )
    assert clock(605) == "10:05"
