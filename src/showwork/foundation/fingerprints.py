"""What a local folder holds, by content: a touched or copied file is the same file, an edited one is not.

Takes:  a folder and file patterns.
Leaves: one digest; and `work/fingerprints.json`, which remembers the xxh3-128 of each file by size and time of change, so
        that a plan reads a large file only once.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from showwork.foundation.files import canonical, read_json, write_json, xxh3_file

CACHE = Path("work/fingerprints.json")


def fingerprint(folder: Path, patterns: list[str]) -> str:
    """Hex digest over names and contents of the files in `folder` that match `patterns`; "absent" when there is none."""
    files = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})
    if not files:
        return "absent"
    known = _read_cache()
    found = {}
    for path in files:
        stat = path.stat()
        mark = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
        before = known.get(os.path.abspath(path))
        found[os.path.abspath(path)] = before if before and before[0] == mark else [mark, xxh3_file(path)]
    if any(known.get(name) != entry for name, entry in found.items()):
        _write_cache({**known, **found})
    names = {p.relative_to(folder).as_posix(): found[os.path.abspath(p)][1] for p in files}
    return hashlib.sha256(canonical(names).encode()).hexdigest()[:16]


def _read_cache() -> dict[str, list[str]]:
    try:
        cache = read_json(CACHE)
    except (FileNotFoundError, ValueError):
        return {}
    return cache if isinstance(cache, dict) else {}


def _write_cache(cache: dict[str, list[str]]) -> None:
    try:
        write_json(CACHE, cache)
    except OSError:
        return  # a plan in a read-only folder only reads the files again next time
