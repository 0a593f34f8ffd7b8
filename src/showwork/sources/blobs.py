"""The manifest of a download: which files a sample or the base model consists of, in the order of their rows.

Takes:  files that a download has checked, wherever they lie.
Leaves: results/download/<name>.json: `files` by name (JSON sorts them), `order` (as their rows count) and `first_row` (the
        0-based source row of the first file's first row: not 0 when a slice left out the shards before it).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from showwork.foundation.files import write_json


@dataclass(frozen=True, slots=True)
class Blob:
    """A finished file: where it lies and what it was checked to be.

    `rows` where the layout tells; `row_groups` are their digests where a slice is read.
    """

    path: Path
    bytes: int
    sha256: str
    xxh3_128: str
    rows: int | None = None
    row_groups: list[str] | None = None


def write_blobs(
    path: Path, settings: Mapping[str, Any], revision: str | None, blobs: Mapping[str, Blob], *, first_row: int = 0
) -> None:
    """Write the manifest; `blobs` by name, in the order of their rows."""
    entries = {
        name: {
            "name": Path(os.path.relpath(blob.path, path.parent)).as_posix(),
            "path": Path(os.path.relpath(blob.path)).as_posix(),
            "bytes": blob.bytes,
            "sha256": blob.sha256,
            "xxh3_128": blob.xxh3_128,
            "rows": blob.rows,
            **({"row_groups": blob.row_groups} if blob.row_groups is not None else {}),
        }
        for name, blob in blobs.items()
    }
    write_json(
        path,
        {
            "stage": "download",
            "name": settings["name"],
            "settings": dict(settings),
            "inputs": {},
            "hub": settings["hub"],
            "revision": revision,
            "files": entries,
            "order": list(entries),
            "first_row": first_row,
            "counts": {"files": len(entries), "bytes": sum(b.bytes for b in blobs.values())},
        },
    )
