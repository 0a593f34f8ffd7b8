"""A local folder as a source or base: its files are listed and hashed where they lie, nothing is copied.

Takes:  `path`, `files` and, for a slice of parquet, `need`.
Leaves: the files by name, in the order of their rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from showwork.sources.blobs import Blob
from showwork.sources.choose import choose
from showwork.sources.digests import Digests
from showwork.sources.shards import covering, local_rows

HASH_THREADS = 4


def local_blobs(settings: Mapping[str, Any], *, owner: str, say: Callable[[str], None]) -> tuple[dict[str, Blob], int]:
    """(files by name, 0-based row of the first one's first row).

    Raises: FileNotFoundError when there is no such folder; ValueError for a pattern without a match, an empty file, a cut
    parquet file, a slice past the end.
    """
    folder = Path(settings["path"])
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{owner}: folder {str(folder)!r} does not exist (looked in {os.path.relpath(folder.absolute().parent)}); "
            f"correct path or put the files there"
        )
    everything = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    names = choose(settings["files"], everything, owner=owner, where=f"{str(folder)!r}", kind=settings["kind"])
    first_row = 0
    rows: dict[str, int | None] = dict.fromkeys(names)
    if settings.get("layout") in ("parquet", "datasets"):
        if need := settings.get("need"):
            found = covering(
                names,
                need["start"],
                need["stop"],
                lambda some: {n: local_rows(folder / n, owner=owner) for n in some},
                owner=owner,
            )
            names, first_row, rows = found.names, found.first_row, dict(found.rows)
        else:
            rows = {n: local_rows(folder / n, owner=owner) for n in names}
    say(f"{len(names)} files in {folder} are taken where they lie")
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        digests = pool.map(lambda n: Digests().of_file(folder / n), names)
        blobs = {
            n: Blob(folder / n, d.bytes, d.sha256, d.xxh3_128, rows[n]) for n, d in zip(names, digests, strict=True)
        }
    return blobs, first_row
