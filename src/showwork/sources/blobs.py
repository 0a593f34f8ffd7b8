"""The manifest of a download: which files a sample or the base model consists of, in the order of their rows.

Takes:  files that a download has checked, wherever they lie.
Leaves: results/download/<name>.json; `read_blobs` gives the files back once they are what the manifest says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from showwork.foundation.files import sha256_file, write_json
from showwork.foundation.manifest import read_checked, read_manifest

HASH_THREADS = 4


@dataclass(frozen=True, slots=True)
class Blob:
    """A finished file: where it lies and what it was checked to be; `rows` where the layout tells."""

    path: Path
    bytes: int
    sha256: str
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Blobs:
    """Files in the order of their rows; `first_row` is the source row (0-based) of the first file's first row."""

    files: list[Path]
    by_name: dict[str, Path]
    first_row: int
    manifest: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder that all files lie in."""
        return self.files[0].parents[next(iter(self.by_name)).count("/")]


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
            "rows": blob.rows,
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


def read_blobs(manifest_path: Path | str, *, hashed: bool = True) -> Blobs:
    """The files of a download. `hashed=False` checks only that they exist with their size.

    Raises: FileNotFoundError for a file that is gone; ValueError for one that differs from the manifest. A damaged file
    in the download folder is renamed; a local source's own file is left as it is.
    """
    manifest_path = Path(manifest_path)
    manifest = read_manifest(manifest_path)
    names: Sequence[str] = manifest["order"]
    local = manifest["settings"].get("path") is not None

    def checked(name: str) -> Path:
        entry = manifest["files"][name]
        path = manifest_path.parent / entry["name"]
        if local or not hashed:
            _compare(path, entry, manifest_path, hashed)
        else:
            read_checked(manifest_path, name)
        return Path(os.path.relpath(path))

    with ThreadPoolExecutor(HASH_THREADS) as pool:
        files = list(pool.map(checked, names))
    return Blobs(files, dict(zip(names, files, strict=True)), manifest["first_row"], manifest)


def _compare(path: Path, entry: Mapping[str, Any], manifest_path: Path, hashed: bool) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {manifest_path} lists it but it is gone; run the same command again")
    size = path.stat().st_size
    if size != entry["bytes"] or (hashed and sha256_file(path) != entry["sha256"]):
        raise ValueError(
            f"{path}: changed since {manifest_path} listed it ({size:,} bytes now, {entry['bytes']:,} then); delete "
            f"{manifest_path} to take the file as it is now and run the same command again"
        )
