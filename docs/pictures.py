"""The README's pictures, from a run of the demo that this script starts: `make pictures`, a few minutes.

Takes:  the repository; chromium and chromedriver for the report.
Leaves: docs/pictures/run.svg, what the terminal showed of the run; watch.svg, `showwork watch` in the middle of the training;
        report.png, the top of the report. Nothing in them is typed by hand: the terminal is recorded through a pseudo-terminal.

    python docs/pictures.py [FOLDER]        FOLDER: where the demo runs (default: a temporary one)
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

REPO = Path(__file__).resolve().parents[1]
OUT = REPO / "docs/pictures"
SETUP = ["session1", "--configfile", "workflow/recipes/demo.yaml", "--directory"]
COLUMNS, FIRST, LAST = 118, 17, 21
"""Characters of a line; lines shown of the beginning and of the end of the run."""
NOISE = re.compile(r"^(\[|Finished jobid|Select jobs|Execute \d+ jobs|Complete log|host:|Building|Using shell|Provided|Rules claiming|"
                   r"Job stats|job +count|-{5,}|\s*$|[a-z_0-9]+ +\d+$|Assuming|Note:|Using workflow|Config file|Conda env|Elapsed)")  # fmt: skip
"""Lines of Snakemake that say when and in which file, not what."""


def main(folder: Path) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *SETUP, str(folder)]
    lead, end = pty.openpty()
    size = {"COLUMNS": "400", "LINES": "50", "TERM": "xterm-256color"}
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.Popen(
        command,
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=end,
        env={**os.environ, **size, "PATH": bin_first},
    )
    os.close(end)
    said, watched = b"", False
    history = folder / "results/train/session1/history.jsonl"
    trained = re.compile(rb"train session1: +(\d+)%")
    while True:
        try:
            said += (part := os.read(lead, 65536))
        except OSError:  # the run has ended
            break
        if not part:
            break
        done = [int(share) for share in trained.findall(said)]
        if not watched and done and done[-1] >= 60 and not history.exists():
            watch(folder)
            watched = True
    if run.wait():
        sys.exit(said.decode()[-2000:])
    if not watched:
        sys.exit("the training was over before `showwork watch` was asked; run it again")
    record(
        " ".join(["snakemake", *command[3:-1], "demo"]),
        shorten(said.decode("utf-8", "replace"), folder),
        OUT / "run.svg",
    )
    screenshot(folder / "results/report/session1.html")
    for path in sorted(OUT.iterdir()):
        print(f"{path.relative_to(REPO)}: {path.stat().st_size:,} bytes")


def watch(folder: Path) -> None:
    """Record what `showwork watch` prints once, where the output is no terminal."""
    time.sleep(1)
    done = subprocess.run(
        [sys.executable, "-m", "showwork.cli", "watch", "session1", "--directory", str(folder)],
        cwd=REPO, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    lines = [Text(line) for line in done.stdout.replace(str(folder), "demo").splitlines()]
    record("showwork watch session1 --directory demo", lines, OUT / "watch.svg")


def shorten(said: str, folder: Path) -> list[Text]:
    """The lines that say something, as the terminal ended up showing them: the first, a gap, the last."""
    lines = []
    for raw in said.replace(str(folder), "demo").replace(f"{REPO}/", "").replace("\r\n", "\n").split("\n"):
        line = Text.from_ansi(raw.rsplit("\r", 1)[-1].replace("\x1b[K", ""))
        if not NOISE.match(line.plain):
            lines.append(line)
    gap = Text(f"  … {len(lines) - FIRST - LAST} lines …", "dim")
    return [*lines[:FIRST], gap, *lines[-LAST:]]


def record(command: str, lines: list[Text], path: Path) -> None:
    """Draw lines as a terminal shows them, cut at its width. The fonts are the reader's own: no address in the picture."""
    screen = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    screen.print(Text(f"$ {command}", "bold"))
    for line in lines:
        screen.print(line, no_wrap=True, overflow="ellipsis")
    drawn = screen.export_svg(title="", theme=MONOKAI, unique_id=path.stem)
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    path.write_text(drawn, encoding="utf-8")


def screenshot(page: Path) -> None:
    """The top of the report at the width of a desk."""
    sys.path.insert(0, str(REPO / "tests"))
    from browser import browser

    with browser() as one:
        one.open(page, width=1280, height=1400)
        one.wait("document.documentElement.dataset.charts === 'drawn'")
        one.screenshot(OUT / "report.png")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made) / "demo")
