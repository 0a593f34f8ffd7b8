"""A crew gives the same pieces in the same order at any number of processes, and its errors arrive."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from showwork.foundation.crew import Crew, Pieces


def numbers(
    *, first: int, step: int, parts: int, fail_at: int = -1, die_at: int = -1
) -> tuple[Pieces, Callable[[], Any]]:
    """Pieces of one small table and one empty one for each part."""
    done: list[int] = []

    def pieces() -> Pieces:
        for part in range(first, parts, step):
            if part == fail_at:
                raise ValueError(f"part {part} is bad; replace it")
            if part == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(part)
            yield [pa.table({"part": [part] * 3}), pa.table({"part": pa.array([], pa.int64())})]

    return pieces(), lambda: done


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("processes", [1, 3])
def test_pieces_come_in_the_order_of_the_parts(processes: int, parts: int) -> None:
    crew = Crew(numbers, processes, parts=parts)
    found = [[table.column("part").to_pylist() for table in piece] for piece in crew]
    assert found == [[[part] * 3, []] for part in range(parts)]
    assert crew.told == [list(range(first, parts, processes)) for first in range(processes)]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_process_raises_arrives_after_the_pieces_before_it(processes: int) -> None:
    seen = []
    with pytest.raises(ValueError, match="part 4 is bad; replace it"):
        for piece in Crew(numbers, processes, parts=7, fail_at=4):
            seen.append(piece[0].column("part")[0].as_py())
    assert seen == [0, 1, 2, 3]


def test_a_process_that_is_killed_is_one_sentence() -> None:
    with pytest.raises(OSError, match="ended from outside.*fewer threads"):
        list(Crew(numbers, 2, parts=7, die_at=3))


def test_a_crew_may_be_left_early() -> None:
    pieces = iter(Crew(numbers, 2, parts=1000))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
