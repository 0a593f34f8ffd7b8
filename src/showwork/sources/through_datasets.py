"""Any dataset of the hub through the datasets library, into parquet shards: the layout `datasets`.

Takes:  hub id and commit; `files` names splits, `train` or `<configuration>/train`, in the order in which rows count.
Leaves: parquet shards and `prepared.json` (their digests) in one folder; with it nothing is asked for again.

The library keeps its own cache below that folder while it works. It does not resume across processes, and what its
shards hold depends on its version: name files and a layout where that is possible.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from showwork.foundation.files import read_json, write_json, xxh3_file
from showwork.sources.blobs import Blob
from showwork.sources.digests import Digests
from showwork.sources.part import locked
from showwork.sources.patience import Patience
from showwork.sources.transfer import Voice

_SHARD = re.compile(r"(-\d{5}-of-\d{5})?\.parquet$")


def datasets_blobs(
    settings: Mapping[str, Any], commit: str, folder: Path, say: Voice, patience: Patience, *, owner: str
) -> dict[str, Blob]:
    """Shards of the splits by name, in the order of their rows.

    Raises: ValueError, with the library's own reason, when it cannot make them.
    """
    blobs: dict[str, Blob] = {}
    for split in settings["files"]:
        configuration, _, name = split.rpartition("/")
        if "*" in split or "." in name:
            raise ValueError(
                f"{owner}: layout datasets takes splits (train, or configuration/train) as files, not {split!r}; name a "
                f"split, or the layout of the files"
            )
        target = folder / (configuration or "default")
        with locked(target, say, patience.stop):
            shards = _prepared(target) or _prepare(settings["hub"], configuration or None, commit, target, say, owner)
        found = {f"{target.name}/{n}": b for n, b in shards.items() if _SHARD.sub("", n) == name}
        if not found:
            splits = ", ".join(sorted({_SHARD.sub("", n) for n in shards}))
            raise ValueError(f"{owner}: {settings['hub']} has no split {name!r}; it has {splits}; correct files")
        blobs.update(found)
    return blobs


def _prepared(target: Path) -> dict[str, Blob] | None:
    note = target / "prepared.json"
    if not note.is_file():
        return None
    shards = {n: Blob(target / n, **e) for n, e in read_json(note).items()}
    whole = all(b.path.is_file() and xxh3_file(b.path) == b.xxh3_128 for b in shards.values())
    return shards if whole else None


def _prepare(hub: str, configuration: str | None, commit: str, target: Path, say: Voice, owner: str) -> dict[str, Blob]:
    import datasets

    say(f"{hub} is fetched by the datasets library; a cut transfer starts over")
    shutil.rmtree(target, ignore_errors=True)
    made, cache = target / "made", target / "cache"
    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(hub, configuration, revision=commit, cache_dir=str(cache))
        builder.download_and_prepare(str(made), file_format="parquet")
    except Exception as e:
        raise ValueError(f"{owner}: the datasets library cannot fetch {hub} ({type(e).__name__}: {e})") from e
    shards = {}
    for file in sorted(made.glob("*.parquet")):
        name = file.name.removeprefix(f"{builder.dataset_name}-")
        file.rename(target / name)
        rows = pq.read_metadata(target / name).num_rows
        digest = Digests().of_file(target / name)
        shards[name] = Blob(target / name, digest.bytes, digest.sha256, digest.xxh3_128, rows)
    kept = ("bytes", "sha256", "xxh3_128", "rows")
    write_json(target / "prepared.json", {n: {k: getattr(b, k) for k in kept} for n, b in shards.items()})
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(made, ignore_errors=True)
    return shards
