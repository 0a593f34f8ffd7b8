"""Training by tasks of a real Slurm: two nodes with one process each, and two processes on one node, against one process."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from cluster.slurm import Slurm, free_ports
from test_train_together import TWO, WITHIN, apart, trained
from tiny_run import command, prepare, settings

pytestmark = pytest.mark.campaign
REPO = Path(__file__).parents[2]


@pytest.mark.parametrize("nodes", [2, 1])
def test_two_tasks_learn_what_one_process_does(slurm: Slurm, tmp_path: Path, nodes: int) -> None:
    prepare(tmp_path)
    trained(tmp_path, "one")
    stage = shlex.join([sys.executable, "-m", "showwork.train", *command(settings(), "two", "work/two", *TWO)])
    script = tmp_path / "job.sh"
    # Both nodes are this host, whose name in Slurm no resolver knows.
    address = f"127.0.0.1:{free_ports(1)[0]}"
    script.write_text(
        "#!/bin/sh\nexport JAX_PLATFORMS=cpu JAX_DISABLE_MOST_OPTIMIZATIONS=1 "
        f"JAX_COORDINATOR_ADDRESS={address} PYTHONPATH={REPO / 'src'}\n{stage}\n"
    )
    said = tmp_path / "said.txt"
    slurm.client(
        "sbatch", "--wait", f"--nodes={nodes}", "--ntasks=2", "--cpus-per-task=1", f"--chdir={tmp_path}",
        f"--output={said}", str(script),
    )  # fmt: skip
    assert "2 x cpu in 2 processes, of which this is number 2" in said.read_text()
    assert max(apart(tmp_path / "two", tmp_path / "one")) <= WITHIN
