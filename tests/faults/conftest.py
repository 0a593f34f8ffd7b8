from __future__ import annotations

from pathlib import Path

import pytest
from seconds import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run."""
    folder = tmp_path_factory.mktemp("faults") / "run"
    code, said = run(folder, "session1")
    assert code == 0, said
    return folder
