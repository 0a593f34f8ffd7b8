"""Packed rows as a person reads them: each segment's record, what the model is only shown and what bears loss.

Takes:  the folder that pack left: four arrays, the ledger, the manifest.
Leaves: on the screen the rows wanted, decoded by the base's tokenizer, and how long examples are and how full rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from showwork.foundation.manifest import read_manifest
from showwork.look.lengths import table
from showwork.look.tables import ROW, Tables
from showwork.look.terminal import cut, written
from showwork.look.view import File, Wanted, heading, many
from showwork.records.lengths import percentiles
from showwork.tokens.packing import DTYPES, PackedArrays
from showwork.tokens.tokenizer import Encoder, tokenizer_digest

USUAL_ROWS = 2
Entry = dict[str, Any]


def show(out: Console, folder: Path, wanted: Wanted) -> None:
    """Print the packed rows wanted. `--where` and `--id` are asked of the ledger.

    Raises: ValueError when none is selected; FileNotFoundError when the folder lacks a file.
    """
    for name in ("manifest.json", "ledger.parquet", *(f"{name}.npy" for name in DTYPES)):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name}: not there, so {folder} is no folder that pack left; run pack again"
            )
    manifest, file = read_manifest(folder / "manifest.json"), File(folder / "ledger.parquet")
    packed = PackedArrays(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in DTYPES})
    tables = Tables([file.path])
    entries = _selected(tables, file.path, wanted)
    kept = [entry for entry in entries if entry["packed_row"] >= 0]
    counts = manifest["counts"]
    out.print(
        Text.assemble(
            (str(folder), "bold"),
            f": pack {manifest['name']}, {len(packed):,} packed rows of {packed.tokens.shape[1]:,} tokens hold "
            f"{counts['examples']:,} examples, {counts['density']:.1%} full",
        ),
        soft_wrap=True,
    )
    encoder = _encoder(out, file, manifest)
    rows = np.unique([entry["packed_row"] for entry in kept]).astype(np.int64)
    for row in wanted.of(rows, USUAL_ROWS).tolist():
        heading(out, f"packed row {row:,}")
        _show_row(out, packed, row, tables, file.path, encoder, wanted)
    for entry in [entry for entry in entries if entry["packed_row"] < 0][: wanted.rows or USUAL_ROWS]:
        out.print(f"\nnot packed: {_record(entry)}: {entry['reason']}", soft_wrap=True)
    _lengths(out, packed, kept)


def _selected(tables: Tables, ledger: Path, wanted: Wanted) -> list[Entry]:
    """The ledger's entries that `--where` and `--id` select."""
    entries = tables.rows(f"SELECT * FROM $it ORDER BY {ROW}", it=ledger)
    if wanted.where:
        numbers = set(tables.matching(ledger, wanted.where).tolist())
        entries = [entry for entry in entries if entry[ROW] in numbers]
    if wanted.id:
        entries = [entry for entry in entries if entry["record_id"].startswith(wanted.id)]
    if not entries:
        raise ValueError(
            f"{ledger}: no record in it is the one asked for; ask without --where and --id to see what there is"
        )
    return entries


def _encoder(out: Console, file: File, manifest: dict[str, Any]) -> Encoder | None:
    """The tokenizer that the rows were packed with, or None and a sentence why not."""
    encoder, folder, why = file.tokenizer
    if folder is not None and tokenizer_digest(folder) != manifest["digests"]["tokenizer"]:
        encoder, why = None, f"{folder / 'tokenizer.json'} is not the one that they were packed with"
    if encoder is None:
        out.print(Text(f"Shown as ids: {why}", "yellow"), soft_wrap=True)
    else:
        out.print(Text("⟪name⟫ is a control token.", "dim"))
    return encoder


def _show_row(
    out: Console, packed: PackedArrays, row: int, tables: Tables, ledger: Path, encoder: Encoder | None, wanted: Wanted
) -> None:
    members = tables.rows("SELECT * FROM $it WHERE packed_row = ?", [row], it=ledger)
    entries = {entry["segment"]: entry for entry in members}
    tokens, mask, segments = packed.tokens[row], packed.loss_mask[row], packed.segment_ids[row]
    for segment in range(1, int(segments.max()) + 1):
        mine = segments == segment
        entry = entries.get(segment)
        title = _record(entry) if entry else "no record of it in the ledger"
        out.print(
            Text.assemble((f"{'' if segment == 1 else chr(10)}segment {segment}  ", "bold"), title), soft_wrap=True
        )
        for bears_loss, ids in _runs(tokens[mine], mask[mine]):
            style = "green" if bears_loss else "cyan"
            said = "bears loss" if bears_loss else "shown only"
            out.print(Text.assemble((said, f"bold {style}"), (f"  {many(len(ids), 'token')}", "dim")))
            text = _decoded(encoder, ids) if encoder else " ".join(map(str, ids))
            out.print(written(cut(text, wanted.width), style if bears_loss else ""), soft_wrap=True)
    if padding := int((segments == 0).sum()):
        out.print(Text(f"padding  {many(padding, 'token')}", "dim"))


def _record(entry: Entry) -> str:
    cut_away = f", {entry['tokens_cut']:,} cut away" if entry["tokens_cut"] else ""
    return f"{entry['source']}:{entry['source_row']}  record {entry['record_id']}  {many(entry['num_tokens'], 'token')}{cut_away}"


def _runs(tokens: np.ndarray, mask: np.ndarray) -> Iterator[tuple[bool, list[int]]]:
    """Neighbouring tokens that all bear loss, or all do not.

    >>> list(_runs(np.array([2, 10, 11]), np.array([0, 0, 1])))
    [(False, [2, 10]), (True, [11])]
    """
    for bears_loss, pairs in itertools.groupby(
        zip(mask.tolist(), tokens.tolist(), strict=True), key=lambda pair: pair[0]
    ):
        yield bool(bears_loss), [token for _, token in pairs]


def _decoded(encoder: Encoder, ids: list[int]) -> str:
    """The text, control tokens by name in double angles, so that `<bos>` that is only text is told from the token."""
    names = {number: name for name, number in encoder.control_ids.items()}
    parts = []
    for control, run in itertools.groupby(ids, key=names.__contains__):
        own = list(run)
        parts.append("".join(f"⟪{names[i].strip('<>')}⟫" for i in own) if control else encoder.decode(own))
    return "".join(parts)


def _lengths(out: Console, packed: PackedArrays, kept: list[Entry]) -> None:
    if not kept:
        return
    cut_away = [entry["tokens_cut"] for entry in kept if entry["tokens_cut"]]
    rows = np.unique([entry["packed_row"] for entry in kept])
    lines = [("example", percentiles([entry["num_tokens"] for entry in kept]))]
    if cut_away:
        lines.append((f"cut away of {len(cut_away):,} trimmed", percentiles(cut_away)))
    lines.append(("packed row without padding", percentiles((packed.segment_ids[rows] > 0).sum(axis=1))))
    out.print()
    table(out, f"Length in tokens, {len(kept):,} examples in {len(rows):,} packed rows", lines)
