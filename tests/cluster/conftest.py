from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.runs import QUICK, Finished
from cluster.slurm import Slurm, missing
from seconds import run


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("Snakemake's Slurm plugin is not installed: pip install -e '.[cluster]'")
    # Sockets have names of 107 characters at most, and munge wants folders that others may pass.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o711)
    started = Slurm(folder)
    try:
        try:
            started.start()
        except Exception as problem:  # whatever keeps daemons from running where the tests run
            pytest.skip(f"Slurm is installed but does not come up here: {problem}")
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def finished(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Session 1 by the shipped profile: data here, training, evaluation and export as jobs."""
    folder = tmp_path_factory.mktemp("cluster") / "run"
    code, said = run(folder, "session1", *QUICK, given=slurm.environment)
    assert code == 0, said
    return Finished(folder, said)
