"""A crew gives the same pieces in the same order at any number of processes, and its errors arrive."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pyarrow as pa
import pytest

from showwork.foundation.crew import Crew, Made, Piece


def numbers(*, fail_at: int = -1, die_at: int = -1) -> Made:
    """Pieces of one small table and one empty one for each part."""
    done: list[int] = []

    def piece(part: int) -> Piece:
        if part == fail_at:
            raise ValueError(f"part {part} is bad; replace it")
        if part == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(part)
        return [pa.table({"part": [part] * 3}), pa.table({"part": pa.array([], pa.int64())})]

    return piece, lambda: done


@pytest.mark.parametrize("parts", [0, 1, 7, 60])
@pytest.mark.parametrize("processes", [1, 3])
def test_pieces_come_in_the_order_of_the_parts_and_each_is_made_once(processes: int, parts: int) -> None:
    with Crew(numbers, processes) as crew:
        found = [[table.column("part").to_pylist() for table in piece] for piece in crew.pieces(parts)]
    assert found == [[[part] * 3, []] for part in range(parts)]
    assert len(crew.told) == processes
    assert sorted(part for told in crew.told for part in told) == list(range(parts))


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_process_raises_arrives_after_the_pieces_before_it(processes: int) -> None:
    seen = []
    with pytest.raises(ValueError, match="part 4 is bad; replace it"), Crew(numbers, processes, fail_at=4) as crew:
        for piece in crew.pieces(7):
            seen.append(piece[0].column("part")[0].as_py())
    assert seen == [0, 1, 2, 3]


def test_a_process_that_is_killed_is_one_sentence() -> None:
    with pytest.raises(OSError, match="ended from outside.*fewer threads"), Crew(numbers, 2, die_at=2) as crew:
        list(crew.pieces(7))


def test_a_crew_may_be_left_early() -> None:
    with Crew(numbers, 2) as crew:
        assert next(crew.pieces(1000))
    assert multiprocessing.active_children() == []
