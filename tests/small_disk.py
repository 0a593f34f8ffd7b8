"""Runs one data stage on disks that are too small for what it leaves, and on one that cannot be written to.

    unshare --user --map-root-user --mount python tests/small_disk.py mix FOLDER

A tmpfs is mounted where the stage writes, first one that is large enough, then ones that end at a share of that; the last
is read-only. The mounts are this process's own and go with it. Leaves one JSON object a line: what was said, and the
sha256 of each file that was left.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import test_pack
from data_stages import Failed, download, jsonl, run_heldout, run_mix, run_publish, run_sample, run_standardize
from data_stages import run as run_stage
from sources.downloads import wanted
from sources.hub_server import HubServer

from showwork import download as fetch
from showwork.foundation.files import sha256_file

SHARES = {
    "download": (0.0, 0.1, 0.5, 0.95, 1.0),
    "sample": (0.0, 0.1, 0.5, 0.95, 1.0),
    "standardize": (0.0, 0.1, 0.5, 0.95, 1.0),
    "mix": (0.0, 0.5, 1.0, 1.3, 1.5),
    "publish": (0.0, 0.3, 0.7, 0.99, 1.0),
    "pack": (0.0, 0.3, 0.7, 0.99, 1.0),
}
"""Of what the stage leaves. At 1.0 all fits but the last page: the manifest, written last, finds no room. The mix spills
texts while it works, so that larger disks are too small for it as well."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rows(count: int) -> list[dict[str, str]]:
    """Rows of random letters, which no compression makes small; one in ten has no trace."""
    letters = random.Random(1)
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(20_000)]
    return [
        {
            "prompt": " ".join(letters.choices(words, k=12)),
            "response": f"{'' if i % 10 == 5 else '<think>'}{' '.join(letters.choices(words, k=60))}</think>{i}",
        }
        for i in range(count)
    ]


def prepared(stage: str, folder: Path) -> tuple[Path, Callable[[], object]]:
    """(the folder that the stage writes to, a call of the stage), its inputs made."""
    if stage == "download":
        return folder / "work", fetching(HubServer(), folder / "work")
    if stage == "pack":
        records = [test_pack.record(i, trace="Word after word. " * 8) for i in range(240)]
        test_pack.prepare(folder, records)
        return folder / "results/pack", lambda: packed(folder)
    given = download(folder, [jsonl(folder / "s.jsonl", rows(600))])
    if stage == "sample":
        return folder / "results/sample", lambda: run_sample(folder, given)
    sample = run_sample(folder, given)
    if stage == "standardize":
        return folder / "results/standardize", lambda: run_standardize(folder, sample)
    records = [run_standardize(folder, sample)]
    held = run_heldout(folder, records)
    if stage == "mix":
        return folder / "results/mix", lambda: run_mix(folder, records, held)
    mix = run_mix(folder, records, held)
    return folder / "results/publish", lambda: run_publish(folder, mix, [sample])


def fetching(hub: HubServer, where: Path) -> Callable[[], object]:
    """A call of the download stage that fetches two files from a hub of this process."""
    os.environ |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(where.with_name("home"))}
    commit = hub.add("dataset", "org/data", {f"{i}.jsonl": random.Random(i).randbytes(150_000) for i in range(2)})
    settings = wanted(commit, ["*.jsonl"])
    argv = ["--manifest", where / "results/s.json", "--blobs", where / "download"]
    return lambda: run_stage(fetch, settings, *argv)


def packed(folder: Path) -> None:
    """Run the pack stage; raise Failed as the others do."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = test_pack.run()
    if code:
        raise Failed(said.getvalue())


@contextlib.contextmanager
def disk(where: Path, room: int | None, *, read_only: bool = False) -> Iterator[None]:
    """A tmpfs of `room` bytes mounted at `where`."""
    where.mkdir(parents=True, exist_ok=True)
    options = f"size={room}" if room else "size=64m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options + (",ro" if read_only else ""), "tmpfs", where], check=True)
    try:
        yield
    finally:
        gc.collect()  # mapped files of a run that failed
        subprocess.run(["umount", where], check=True)


def attempt(where: Path, run: Callable[[], object], room: int | None, *, read_only: bool = False) -> dict[str, object]:
    """What one run says and leaves; `used` is what the disk then holds."""
    with disk(where, room, read_only=read_only):
        try:
            run()
            said = ""
        except Failed as e:
            said = str(e)
        left = {str(p.relative_to(where)): sha256_file(p) for p in sorted(where.rglob("*")) if p.is_file()}
        space = os.statvfs(where)
    used = (space.f_blocks - space.f_bfree) * space.f_frsize
    return {"read_only": read_only, "said": said, "left": left, "used": used}


def main() -> None:
    stage, folder = sys.argv[1], Path(sys.argv[2])
    os.chdir(folder)
    where, run = prepared(stage, folder)
    whole = attempt(where, run, None)
    print(json.dumps(whole), flush=True)
    pages = int(whole["used"]) // PAGE_BYTES
    for room in sorted({max(int(pages * share) - 1, 1) * PAGE_BYTES for share in SHARES[stage]}):
        print(json.dumps(attempt(where, run, room)), flush=True)
    print(json.dumps(attempt(where, run, None, read_only=True)), flush=True)


if __name__ == "__main__":
    main()
