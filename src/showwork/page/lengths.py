"""Lengths of examples against the context length, and how well rows are filled.

*Takes* the columns of the ledger that packing leaves, and its counts. *Leaves* a sentence, a table, chart values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from showwork.page.cells import cell, column, count, number_cell, percent

Ledger = Mapping[str, np.ndarray]


def whole_lengths(ledger: Ledger) -> dict[str, np.ndarray]:
    """{source: tokens [n] of each kept example before anything was cut}."""
    kept = ledger["packed_row"] >= 0
    tokens = ledger["num_tokens"] + ledger["tokens_cut"]
    return {str(s): tokens[kept & (ledger["source"] == s)] for s in sorted(set(ledger["source"].tolist()))}


def lengths_section(ledger: Ledger, counts: Mapping[str, Any], max_length: int) -> dict[str, Any]:
    """The section beside its two charts.

    Args:
        ledger: arrays of one length: source, packed_row, num_tokens, tokens_cut.
        counts: of the pack's manifest.
        max_length: tokens of a packed row.
    """
    kept = ledger["packed_row"] >= 0
    padded = padded_fill(ledger, max_length)
    cut, dropped = counts["trimmed"], counts["dropped"]
    fits = counts["examples"] - cut
    trimmed = (
        f"{count(cut)} had the middle of their trace trimmed, by {count(counts['tokens_cut'])} tokens in all, never question or answer"
        if cut
        else "none had to be trimmed"
    )
    lost = f"{count(dropped)} could not be made to fit and were dropped" if dropped else "none was dropped"
    sentence = (
        f"Rows hold {count(max_length)} tokens. {count(fits)} of {count(counts['records'])} records fit whole; {trimmed}; {lost}. "
        f"Packed, {count(counts['rows'])} rows are {percent(counts['density'])} full; one example a row, padded, would fill "
        f"{percent(padded)}."
    )
    rows = []
    for source, s in counts["by_source"].items():
        lengths = (ledger["num_tokens"] + ledger["tokens_cut"])[kept & (ledger["source"] == source)]
        quantiles = [int(np.percentile(lengths, q, method="lower")) if len(lengths) else None for q in (10, 50, 90)]
        reasons = ", ".join(f"{reason} {count(n)}" for reason, n in sorted(s["dropped"].items()))
        rows.append(
            [
                cell(source),
                *(number_cell(q) for q in quantiles),
                number_cell(s["whole"]),
                number_cell(
                    s["trimmed"], f"{count(s['tokens_cut'] / s['trimmed'])} tokens each" if s["trimmed"] else ""
                ),
                number_cell(sum(s["dropped"].values()), reasons),
            ]
        )
    heads = ("p10 tokens", "Median", "p90", "Whole", "Trimmed", "Dropped")
    return {"sentence": sentence, "columns": [column("Source"), *(column(h, number=True) for h in heads)], "rows": rows}


def fill_values(ledger: Ledger, counts: Mapping[str, Any], max_length: int) -> list[dict[str, Any]]:
    """[{"how", "percent"}]: packed, and one padded example a row."""
    return [
        {"how": "packed", "percent": round(100 * counts["density"], 2)},
        {"how": "padded", "percent": round(100 * padded_fill(ledger, max_length), 2)},
    ]


def padded_fill(ledger: Ledger, max_length: int) -> float:
    """Share of a row that its one example would fill, on average over the kept examples."""
    kept = ledger["packed_row"] >= 0
    return float(ledger["num_tokens"][kept].mean()) / max_length if kept.any() else 0.0


def segments_values(ledger: Ledger) -> list[dict[str, int]]:
    """[{"examples": how many share a row, "rows": how many rows}]."""
    kept = ledger["packed_row"] >= 0
    per_row = np.bincount(ledger["packed_row"][kept])
    counts = np.bincount(per_row[per_row > 0])
    return [{"examples": i, "rows": int(n)} for i, n in enumerate(counts) if n]
