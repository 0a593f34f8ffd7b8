"""Numbers as a reader sees them, and the cells and columns that the page's tables are made of."""

from __future__ import annotations

from typing import Any


def cell(text: str, value: float | str | None = None, under: str = "", kind: str = "") -> dict[str, Any]:
    """One cell: its text, what it sorts by, a smaller second line, and good | bad | caution."""
    return {"text": text, "value": value, "under": under, "kind": kind}


def column(title: str, *, number: bool = False) -> dict[str, Any]:
    """One column; numbers stand to the right."""
    return {"title": title, "number": number}


def count(number: int | float) -> str:
    """`count(12345)` -> '12,345'."""
    return f"{number:,.0f}"


def number_cell(number: int | float | None, under: str = "", kind: str = "") -> dict[str, Any]:
    """A count as a cell, or a dash."""
    return cell("–") if number is None else cell(count(number), number, under, kind)


def percent(share: float | None) -> str:
    """`percent(0.973)` -> '97.3 %', with a space that does not break."""
    return "–" if share is None else f"{100 * share:.1f}\N{NARROW NO-BREAK SPACE}%"


def points(difference: float) -> str:
    """A difference of shares in percentage points: `points(0.57)` -> '+57.0'."""
    return signed(100 * difference, ".1f")


def signed(number: float, form: str) -> str:
    """`signed(-0.5, ".1f")` -> '−0.5', with a real minus sign."""
    return f"{number:+{form}}".replace("-", "\N{MINUS SIGN}")


def size(num_bytes: float) -> str:
    """`size(2_500_000)` -> '2.5 MB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000 or unit == "GB":
            return f"{num_bytes:,.0f} {unit}" if unit == "bytes" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1000
    return ""


def shortened(text: str, limit: int) -> str:
    """`text`, or its first `limit` characters and how many more there are."""
    return text if len(text) <= limit else f"{text[:limit]}… ({count(len(text) - limit)} characters more)"
