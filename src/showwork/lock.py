"""Resolves the revision of every hub source and writes down what each holds: sources.lock.

Takes:  `--settings`: hub, revision (null: the branch `main`), files and layout of every source, and of the base.
Leaves: `--lock`: revision, files, sizes, digests and (parquet) rows; nothing is downloaded but footers of a few kilobytes.

    python -m showwork.lock --settings JSON --lock sources.lock
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from showwork.foundation.files import write_json
from showwork.foundation.stage import Say, run_stage
from showwork.sources.choose import choose
from showwork.sources.hub import Hub, Repo
from showwork.sources.lock import Entry, changes, describe, read_lock
from showwork.sources.patience import Patience
from showwork.sources.shards import remote_rows
from showwork.sources.transfer import Voice


def resolve(settings: Mapping[str, Any], lock: Path, say: Voice, patience: Patience | None = None) -> None:
    """Ask the hub about every source, then write the lock whole.

    Raises: ValueError, one sentence, for the first source that cannot be resolved; the lock then stays as it was.
    """
    patience = patience or Patience()
    hub = Hub.from_environment(stall_s=patience.stall_s)
    before = read_lock(lock)
    sources = {
        name: _entry(hub, Repo("dataset", s["hub"]), s, before["sources"].get(name), f"source {name!r}", say, patience)
        for name, s in settings["sources"].items()
    }
    base = settings["base"]
    found = base and _entry(hub, Repo("model", base["hub"]), base, before.get("base"), "base", say, patience)
    write_json(lock, {"sources": sources, "base": found})


def _entry(
    hub: Hub, repo: Repo, wanted: Mapping[str, Any], before: Entry | None, owner: str, say: Voice, patience: Patience
) -> Entry:
    commit = patience.insist(f"{repo}, revision", lambda: hub.commit(repo, wanted["revision"]), say)
    tree = patience.insist(f"{repo}, list of files", lambda: hub.tree(repo, commit), say)
    listing = {f.path: f for f in tree}
    names = []
    if wanted["layout"] != "datasets":
        where = f"{repo} at {commit[:12]}"
        names = choose(wanted["files"], list(listing), owner=owner, where=where, kind=repo.kind)
    files = [listing[n] for n in names]
    rows = remote_rows(hub, repo, commit, files, patience, say) if wanted["layout"] == "parquet" else {}
    entry = describe(repo.hub, commit, wanted["files"], files, rows)
    say(f"{owner}: {changes(before, entry)}")
    return entry


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file of this stage."""
    parser.add_argument("--lock", type=Path, required=True)


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Run the stage."""
    resolve(settings, args.lock, say)


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
