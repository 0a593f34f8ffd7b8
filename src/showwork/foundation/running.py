"""What must hold in a folder before Snakemake plans there, so that the same command goes on after a kill or a change of the clock.

A lock that nobody holds is no lock, and a file of a time to come is none.

Takes   a project folder. Snakemake's own lock is a file that a killed Snakemake leaves behind; it names no process.
Leaves  .snakemake/showwork.running, held with flock by every living Snakemake of the folder (the kernel frees it, however they
        end), and no lock of a dead one; no product newer than now: Snakemake refuses whatever is made from such a file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import IO

PRODUCTS = ("results", "sources")
ROUGHLY_NOW_S = 5.0
"""A file server's clock may be ahead of ours by as much."""

_held: list[IO[str]] = []


def register(folder: Path | str = ".") -> bool:
    """Counts this process among the Snakemakes of `folder` until it ends; True when it removed the lock of a dead one.

    Several may work side by side on different targets: each shares the lock, and only one that is alone may clean up. On a
    file system that has no locks nothing is removed, and `snakemake --unlock` stays the way out.
    """
    private = Path(folder) / ".snakemake"
    try:
        private.mkdir(exist_ok=True)
        file = (private / "showwork.running").open("a")
    except OSError:  # read-only or full: Snakemake meets it too, and says so
        return False
    locks = private / "locks"
    stale = False
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            stale = locks.is_dir() and any(locks.iterdir())
            shutil.rmtree(locks, ignore_errors=True)
            locks.mkdir(exist_ok=True)
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError as e:
        file.close()
        if e.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        return False
    _held.append(file)
    return stale


def no_time_to_come(folder: Path | str = ".") -> int:
    """Sets back products that were made while the clock was ahead, all by the same span, so that their order stays.

    Returns: how many. Those that may not be changed stay, and Snakemake names the first that it minds.
    """
    now, ahead = time.time(), {}
    for path in (p for part in PRODUCTS for p in (Path(folder) / part).rglob("*")):
        made = path.stat(follow_symlinks=False).st_mtime_ns
        if made > (now + ROUGHLY_NOW_S) * 1e9:
            ahead[path] = made
    span = max(ahead.values(), default=0) - int(now * 1e9)
    for path, made in ahead.items():
        try:
            os.utime(path, ns=(made - span, made - span), follow_symlinks=False)
        except OSError:
            return 0
    return len(ahead)
