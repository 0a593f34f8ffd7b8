"""What a repository holds at a commit, asked once: a commit never changes, so its listing is kept beside the blobs.

Takes:  the hub, a repository, a commit.
Leaves: `.hub/listing.json` and `.hub/rows.json` in the commit's folder; with them a finished download needs no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from showwork.foundation.files import read_json, write_json
from showwork.sources.hub import Hub, RemoteFile, Repo
from showwork.sources.patience import Patience
from showwork.sources.shards import remote_rows
from showwork.sources.transfer import Voice


class Listing:
    """The files of a repository at a commit, and the rows of its parquet shards; `rows` are those that a lock knows."""

    def __init__(
        self,
        hub: Hub,
        repo: Repo,
        commit: str,
        folder: Path,
        say: Voice,
        patience: Patience,
        *,
        rows: Mapping[str, int] | None = None,
    ) -> None:
        self._hub, self._repo, self._commit, self._say, self._patience = hub, repo, commit, say, patience
        self._kept, self._kept_rows = folder / ".hub/listing.json", folder / ".hub/rows.json"
        self._known_rows = dict(rows or {})
        kept = self._read()
        self.is_kept = kept is not None
        self.files = {f.path: f for f in (self._ask() if kept is None else kept)}

    def ask_again(self) -> None:
        """Put what the hub says now in the place of what was kept."""
        self.is_kept = False
        self.files = {f.path: f for f in self._ask()}

    def rows(self, names: Sequence[str]) -> dict[str, int]:
        """Rows of parquet shards, from what is known or from their footers."""
        known = dict(self._known_rows)
        if self._kept_rows.is_file():
            known |= read_json(self._kept_rows)
        unknown = [self.files[n] for n in names if n not in known]
        if unknown:
            known |= remote_rows(self._hub, self._repo, self._commit, unknown, self._patience, self._say)
            write_json(self._kept_rows, known)
        return {n: known[n] for n in names}

    def _read(self) -> list[RemoteFile] | None:
        if not self._kept.is_file():
            return None
        kept = read_json(self._kept)
        return [RemoteFile(**f) for f in kept["files"]] if kept["repo"] == str(self._repo) else None

    def _ask(self) -> list[RemoteFile]:
        files = self._patience.insist(
            f"{self._repo}, list of files", lambda: self._hub.tree(self._repo, self._commit), self._say
        )
        write_json(self._kept, {"repo": str(self._repo), "files": [asdict(f) for f in files]})
        return files
