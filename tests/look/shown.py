"""What a command prints: in this process without a terminal, or in one of its own with one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from showwork.cli import main

SRC = str(Path(__file__).parents[2] / "src")


def run(capsys, *argv: object) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of `showwork …`."""
    code = main([str(word) for word in argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def on_a_terminal(*argv: object, **environment: str) -> str:
    """What `showwork …` writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    kept |= {"TERM": "xterm-256color", "COLUMNS": "100", "PYTHONPATH": SRC, **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "showwork.cli", *map(str, argv)], stdout=theirs, stdin=subprocess.DEVNULL, env=kept
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        assert process.wait() == 0
    os.close(ours)
    return said.decode()
