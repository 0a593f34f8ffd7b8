"""Eight seeded faults; all of them are benchmarks/fault_campaign.py's.

After each, the same command again ends in the same bytes, and nothing is left half-written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faults.faults import CLOCKS, DAMAGES, DISKS, KILLS, OTHERS, QUICK, UPGRADED, Fault, faults, suffer


@pytest.mark.parametrize("fault", QUICK, ids=str)
def test_the_same_command_ends_in_the_same_bytes_after(fault: Fault, trained: Path, tmp_path: Path) -> None:
    if fault.impossible:
        pytest.skip(fault.impossible)
    outcome = suffer(fault, trained, tmp_path / "run")
    assert outcome.happened
    assert outcome.differences == []
    shutil.rmtree(tmp_path)


def test_the_campaign_has_forty_faults_or_more_of_every_kind_and_none_twice() -> None:
    assert len(faults()) >= 40
    assert len(set(faults())) == len(faults())
    assert {fault.kind for fault in faults()} == {*KILLS, *DISKS, *DAMAGES, *CLOCKS, *OTHERS, UPGRADED}
