"""A manifest stands beside every stage's files: what they were made from, what they count, what their bytes hash to.

Takes:  a stage's settings, the manifests of its inputs, its finished files.
Leaves: one small JSON file, equal for equal results: no time, host or absolute path is in it. Later stages read data
        only through `read_checked`, so a damaged file is found by whoever reads it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from showwork.foundation.files import Written, read_json, sha256_file, write_json


def write_manifest(
    path: Path | str,
    *,
    stage: str,
    name: str,
    settings: dict[str, Any],
    inputs: dict[str, Path | str],
    files: dict[str, Path | str | Written],
    counts: dict[str, Any],
    **extra: Any,
) -> None:
    """Write the manifest of finished `files`; `inputs` are the manifests of what they were made from."""
    path = Path(path)
    write_json(
        path,
        {
            "stage": stage,
            "name": name,
            "settings": settings,
            "inputs": {key: sha256_file(p) for key, p in inputs.items()},
            "files": {key: describe(p if isinstance(p, Written) else Path(p), path.parent) for key, p in files.items()},
            "counts": counts,
            **extra,
        },
    )


def describe(file: Path | Written, folder: Path) -> dict[str, Any]:
    """Name relative to `folder`, size in bytes and sha256 of one file."""
    if not isinstance(file, Written):
        file = Written(file, file.stat().st_size, sha256_file(file))
    return {
        "name": Path(os.path.relpath(file.path, folder)).as_posix(),
        "bytes": file.bytes,
        "sha256": file.sha256,
    }


def read_manifest(path: Path | str) -> dict[str, Any]:
    """The manifest as a dict.

    Raises: FileNotFoundError, or ValueError when the file is not a manifest.
    """
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not {"stage", "name", "files"} <= manifest.keys():
        raise ValueError(f"{path}: not a manifest of a stage; delete it and run the same command again")
    return manifest


def read_checked(manifest_path: Path | str, key: str) -> Path:
    """The path of file `key` of a manifest, once its size and sha256 are what the manifest says.

    Raises: FileNotFoundError when the file is gone. ValueError when its bytes differ: the file is then renamed to
    `<name>.damaged`, so that the next run builds it again.
    """
    manifest_path = Path(manifest_path)
    files = read_manifest(manifest_path)["files"]
    if key not in files:
        raise ValueError(f"{manifest_path}: lists no file {key!r}; it lists {', '.join(sorted(files)) or 'none'}")
    entry = files[key]
    path = manifest_path.parent / entry["name"]
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: {manifest_path} lists it but it is gone; run the same command again to rebuild it"
        )
    size = path.stat().st_size
    found = f"{size} bytes" if size != entry["bytes"] else f"sha256 {sha256_file(path)}"
    wanted = f"{entry['bytes']} bytes" if size != entry["bytes"] else f"sha256 {entry['sha256']}"
    if found != wanted:
        damaged = path.with_name(path.name + ".damaged")
        os.replace(path, damaged)
        raise ValueError(
            f"{path}: damaged since it was made: {manifest_path.name} says {wanted}, the file has {found}; "
            f"it was moved to {damaged.name}, run the same command again to rebuild it"
        )
    return path
