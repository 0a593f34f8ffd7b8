from __future__ import annotations

from pathlib import Path

import pytest
from small_results import make_results

from showwork.look.fates import Fates
from showwork.look.results import Results


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("small")
    make_results(folder)
    return folder


@pytest.fixture(scope="session")
def fates(small: Path) -> Fates:
    return Fates(Results(small))
