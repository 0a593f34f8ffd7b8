"""Fetches what one sample (or the base model) needs from its source at one pinned commit, or lists a local folder.

Takes:  `--settings`: kind, name, source, hub and revision (or path), files, layout, need; HF_TOKEN and HF_ENDPOINT;
        sources.lock in the working directory, if there is one.
Leaves: `--manifest` (results/download/<name>.json): files with size and sha256, in the order of their rows.
        The files themselves lie in `--blobs`/<source>/<revision>/ and are fetched once for all samples.
        Of a slice of parquet shards only those that hold it are fetched.

    python -m showwork.download --settings JSON --manifest results/download/glaiveai_30k.json --blobs work/download
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from showwork.foundation.stage import Say, run_stage
from showwork.sources.blobs import Blob, write_blobs
from showwork.sources.choose import choose
from showwork.sources.hub import Hub, RemoteFile, Repo
from showwork.sources.listing import Listing
from showwork.sources.local import local_blobs
from showwork.sources.lock import check_drift, drift, entry_of, pinned, read_lock
from showwork.sources.patience import Patience
from showwork.sources.row_groups import row_group_digests
from showwork.sources.shards import Shards, covering
from showwork.sources.through_datasets import datasets_blobs
from showwork.sources.transfer import Transfer, Voice

LOCK = Path("sources.lock")


def download(
    settings: Mapping[str, Any], manifest: Path, blobs: Path, say: Voice, patience: Patience | None = None
) -> None:
    """Fetch or list, then write the manifest.

    Raises: ValueError, FileNotFoundError or OSError, one sentence each; the next call goes on where this one ended.
    """
    owner = "base" if settings["kind"] == "model" else f"source {settings['source']!r}"
    patience = patience or Patience()
    if settings["path"]:
        found, first_row = local_blobs(settings, owner=owner, say=say)
        write_blobs(manifest, settings, None, _checkable(found, settings), first_row=first_row)
        return
    if not settings["hub"]:
        raise ValueError(f"{owner}: has neither hub nor path; give a hub id or a local folder")
    entry = entry_of(read_lock(LOCK), settings)
    commit = pinned(settings, entry, owner=owner)
    if entry and entry["revision"] != commit:
        say(
            f"sources.lock records another revision of {settings['hub']}, {entry['revision'][:12]}; config.yaml's is taken"
        )
        entry = None
    folder = blobs / ("base" if settings["kind"] == "model" else settings["source"]) / commit
    if settings.get("layout") == "datasets":
        found, first_row = datasets_blobs(settings, commit, folder, say, patience, owner=owner), 0
    else:
        found, first_row = _from_hub(settings, commit, entry, folder, say, patience, owner)
    write_blobs(manifest, settings, commit, _checkable(found, settings), first_row=first_row)
    say(f"{len(found)} files, {sum(b.bytes for b in found.values()):,} bytes, are complete in {folder}")


def _from_hub(
    settings: Mapping[str, Any],
    commit: str,
    entry: dict[str, Any] | None,
    folder: Path,
    say: Voice,
    patience: Patience,
    owner: str,
) -> tuple[dict[str, Blob], int]:
    hub = Hub.from_environment(stall_s=patience.stall_s)
    repo = Repo(settings["kind"], settings["hub"])
    locked_rows = {n: f["rows"] for n, f in (entry or {"files": {}})["files"].items() if f["rows"] is not None}
    listing = Listing(hub, repo, commit, folder, say, patience, rows=locked_rows)

    def chosen() -> list[RemoteFile]:
        where = f"{repo} at {commit[:12]}"
        names = choose(settings["files"], list(listing.files), owner=owner, where=where, kind=settings["kind"])
        return [listing.files[n] for n in names]

    if entry:
        if listing.is_kept and not hub.offline and drift(entry, settings, chosen()):
            listing.ask_again()  # the lock may be younger than what was kept
        check_drift(entry, settings, chosen(), owner=owner)
    names = [f.path for f in chosen()]
    shards = Shards(names, {}, 0)
    if need := settings.get("need"):
        shards = covering(names, need["start"], need["stop"], listing.rows, owner=owner)
        say(f"rows {need['start']:,} to {need['stop']:,} lie in {len(shards.names)} of {len(names)} shards")
    fetched = Transfer(hub, repo, commit, folder, say, patience).fetch([listing.files[n] for n in shards.names])
    return {n: dataclasses.replace(b, rows=shards.rows.get(n)) for n, b in fetched.items()}, shards.first_row


def _checkable(blobs: Mapping[str, Blob], settings: Mapping[str, Any]) -> dict[str, Blob]:
    """With the digests of row groups where only some of them will be read."""
    if not settings.get("need"):
        return dict(blobs)
    return {n: dataclasses.replace(b, row_groups=row_group_digests(b.path)) for n, b in blobs.items()}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--blobs", type=Path, required=True, help="folder that keeps the files across runs")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Run the stage."""
    download(settings, args.manifest, args.blobs, say)


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
