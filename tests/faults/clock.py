"""A clock that is set back: between two runs, by files that carry a time to come; in the middle of one, by libfaketime.

libfaketime (Debian: `apt-get install faketime`) is looked for where Debian has it, or is named by FAKETIME_LIBRARY. It answers every
process's question for the time; what the kernel writes beside a file stays true.
"""

from __future__ import annotations

import os
from pathlib import Path

TWO_DAYS_S = 2 * 24 * 3600


def library() -> Path | None:
    """libfaketime for programs with threads, or None where it is not installed."""
    named = os.environ.get("FAKETIME_LIBRARY")
    found = [Path(named)] if named else sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return next((file for file in found if file.is_file()), None)


def ahead(folder: Path) -> None:
    """As if all in `folder` had been made with a clock two days ahead of today's."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            now = path.stat()
            os.utime(path, (now.st_atime + TWO_DAYS_S, now.st_mtime + TWO_DAYS_S))


def settable(library: Path, setting: Path) -> dict[str, str]:
    """The environment of a run whose clock shows what `setting` says: `set_clock` changes it within a second, while the run goes on."""
    set_clock(setting, "+0")
    return {
        **os.environ, "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(setting), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip


def set_clock(setting: Path, offset: str) -> None:
    """From now on the clock is `offset` away from the true one: "+0", "-2d"."""
    new = setting.with_name(setting.name + ".new")
    new.write_text(offset + "\n")
    new.replace(setting)
