from __future__ import annotations

from pathlib import Path

import pytest
from seconds import ADAPTER, run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run as far as the adapter: the stages that come later are the campaign's."""
    folder = tmp_path_factory.mktemp("faults") / "run"
    code, said = run(folder, ADAPTER)
    assert code == 0, said
    return folder
