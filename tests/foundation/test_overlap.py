"""Reading ahead and writing behind: order is kept, errors arrive, an early end leaves no thread waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from showwork.foundation.overlap import Behind, ahead


def test_reading_ahead_keeps_order_and_passes_errors_on() -> None:
    def rows() -> Iterator[int]:
        yield from range(100)
        raise ValueError("row 100 is bad")

    seen: list[int] = []
    with pytest.raises(ValueError, match="row 100 is bad"):
        seen.extend(ahead(rows()))
    assert seen == list(range(100))


def test_reading_ahead_can_be_left_early() -> None:
    closed = []

    def rows() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    found = ahead(rows())
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert not closed or closed == [True]


def test_writing_behind_keeps_order_and_passes_errors_on() -> None:
    seen: list[int] = []

    def write(value: int) -> None:
        if value == 50:
            raise OSError("disk full")
        seen.append(value)

    def write_all() -> None:
        with Behind() as later:
            for value in range(100):
                later(write, value)

    with pytest.raises(OSError, match="disk full"):
        write_all()
    assert seen == list(range(50))
