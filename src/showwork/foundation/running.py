"""Who runs Snakemake in a folder now, so that the same command goes on after a kill: a lock nobody holds is no lock.

Takes   a project folder. Snakemake's own lock is a file that a killed Snakemake leaves behind; it names no process.
Leaves  .snakemake/showwork.running, held with flock by every living Snakemake of the folder (the kernel frees it, however they
        end), and no lock of a dead one.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
from pathlib import Path
from typing import IO

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
