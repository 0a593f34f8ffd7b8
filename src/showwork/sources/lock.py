"""sources.lock: what every hub source held when it was resolved, so that a later run takes the same or says what changed.

Takes:  listings of the hub.
Leaves: {"sources": {name: entry}, "base": entry | null}; an entry has hub, revision (40 hex), patterns and files, each
        with bytes, rows (parquet) and sha256 (or git_sha1 for the small files of which the hub knows no sha256).

A revision given in config.yaml wins; the lock fills those that are null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from showwork.foundation.files import read_json
from showwork.sources.hub import COMMIT, RemoteFile

RESOLVE = "`snakemake --cores 1 lock`"
SHOWN = 5

Entry = dict[str, Any]


def read_lock(path: Path) -> dict[str, Any]:
    """The lock, or an empty one when there is no such file. Raises: ValueError when it is none."""
    if not path.is_file():
        return {"sources": {}, "base": None}
    lock = read_json(path)
    if not isinstance(lock, dict) or not isinstance(lock.get("sources"), dict):
        raise ValueError(f"{path}: is no lock of sources; delete it and run {RESOLVE}")
    return lock


def entry_of(lock: Mapping[str, Any], settings: Mapping[str, Any]) -> Entry | None:
    """The lock's entry for a download, when it is about the same repository."""
    entry = lock.get("base") if settings["kind"] == "model" else lock["sources"].get(settings["source"])
    return entry if entry and entry.get("hub") == settings["hub"] else None


def pinned(settings: Mapping[str, Any], entry: Entry | None, *, owner: str) -> str:
    """The commit to take: the configuration's, else the lock's.

    Raises: ValueError when there is none, or when it is a name that can move.
    """
    revision = settings["revision"] or (entry or {}).get("revision")
    if revision is None:
        raise ValueError(
            f"{owner}: revision of {settings['hub']} is null, so what it would fetch can change; run {RESOLVE} to resolve "
            f"and record it, or give its 40 hex digits in config.yaml"
        )
    if not COMMIT.fullmatch(revision):
        raise ValueError(
            f"{owner}: revision {revision!r} of {settings['hub']} is a name that can move; give the 40 hex digits of a "
            f"commit, or null and run {RESOLVE}"
        )
    return str(revision)


def describe(
    hub: str, revision: str, patterns: Sequence[str], files: Sequence[RemoteFile], rows: Mapping[str, int]
) -> Entry:
    """The entry of one source."""
    return {
        "hub": hub,
        "revision": revision,
        "patterns": list(patterns),
        "files": {f.path: {"bytes": f.bytes, f.kind: f.digest, "rows": rows.get(f.path)} for f in files},
    }


def drift(entry: Entry, settings: Mapping[str, Any], files: Sequence[RemoteFile]) -> list[str]:
    """What differs between the lock and a listing of the locked revision, file by file."""
    locked = entry["files"]
    listed = {f.path: {"bytes": f.bytes, f.kind: f.digest} for f in files}
    same_patterns = entry.get("patterns") == settings["files"]
    differences = []
    for name in sorted({*locked, *listed} if same_patterns else {*locked} & {*listed}):
        before = {k: v for k, v in locked.get(name, {}).items() if k != "rows"}
        now = listed.get(name, {})
        if before != now:
            differences.append(f"{name}: {_shown(before)} in the lock, {_shown(now)} on the hub")
    return differences


def check_drift(entry: Entry, settings: Mapping[str, Any], files: Sequence[RemoteFile], *, owner: str) -> None:
    """Compare what the hub lists now for the locked revision with the lock.

    Raises: ValueError with the differences.
    """
    if differences := drift(entry, settings, files):
        more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise ValueError(
            f"{owner}: {settings['hub']} at {entry['revision'][:12]} has drifted from sources.lock: "
            f"{'; '.join(differences[:SHOWN])}{more}; find out why, then run {RESOLVE} to accept it"
        )


def changes(before: Entry | None, now: Entry) -> str:
    """One phrase on how an entry differs from the one before, for whoever resolves again."""
    if before is None or before.get("hub") != now["hub"]:
        return f"{now['hub']} at {now['revision']}, {len(now['files'])} files"
    if before["revision"] == now["revision"] and before["files"] == now["files"]:
        return f"{now['hub']} unchanged at {now['revision']}"
    differing = [n for n in {*before["files"], *now["files"]} if before["files"].get(n) != now["files"].get(n)]
    return f"{now['hub']} moved from {before['revision'][:12]} to {now['revision']}, {len(differing)} files differ"


def _shown(entry: Mapping[str, Any]) -> str:
    if not entry:
        return "absent"
    kind = next((k for k in entry if k != "bytes"), "")
    return f"{entry['bytes']:,} bytes {kind} {str(entry.get(kind, ''))[:12]}"
