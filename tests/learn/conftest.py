from __future__ import annotations

import pytest
from tiny_run import quick_jax


@pytest.fixture(autouse=True)
def _quick_jax():
    with quick_jax():
        yield
