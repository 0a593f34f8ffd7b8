"""Hashes files while the caller reads them: large ones in a second process, which needs no turn at the interpreter's lock.

Takes:  files.
Leaves: their sha256 in hex. (In a thread, each buffer would wait for the reader's Python code: a pass over 2.3 GB then
        takes as long as reading and hashing one after the other.)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from showwork.foundation.files import sha256_file

LARGE_BYTES = 64 << 20
_HASH = (
    "import hashlib, sys\n"
    "for path in sys.argv[1:]:\n"
    "    with open(path, 'rb', buffering=0) as f:\n"
    "        print(hashlib.file_digest(f, 'sha256').hexdigest())\n"
)


def hashing(files: Sequence[Path]) -> Callable[[], list[str]]:
    """Start, and return the function that waits for the hashes, in the order of the files.

    Raises (that function): OSError when a file cannot be read.
    """
    if sum(f.stat().st_size for f in files) < LARGE_BYTES:
        return lambda: [sha256_file(f) for f in files]
    command = [sys.executable, "-I", "-S", "-c", _HASH, *map(str, files)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def found() -> list[str]:
        said, error = process.communicate()
        if process.returncode:
            raise OSError(
                f"{', '.join(map(str, files))}: cannot be read ({error.strip().splitlines()[-1:] or 'killed'})"
            )
        return said.split()

    return found
