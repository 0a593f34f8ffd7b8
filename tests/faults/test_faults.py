"""Eight seeded faults, in `make campaign`: after each, the same command again ends in the same bytes, and nothing is left half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faults.faults import QUICK, Fault, faults, suffer

pytestmark = pytest.mark.campaign


@pytest.mark.parametrize("fault", QUICK, ids=str)
def test_the_same_command_ends_in_the_same_bytes_after(fault: Fault, finished: Path, tmp_path: Path) -> None:
    outcome = suffer(fault, finished, tmp_path / "run")
    assert outcome.happened
    assert outcome.differences == []
    shutil.rmtree(tmp_path)


def test_the_campaign_has_forty_faults_or_more_and_none_twice() -> None:
    assert len(faults()) >= 40
    assert len(set(faults())) == len(faults())
