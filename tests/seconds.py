"""A whole session 1 in seconds, by real Snakemake: the same rules and stages as the demo, 24 training steps, few rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from showwork.foundation.files import sha256_file

REPO = Path(__file__).parents[1]
OVERLAYS = (
    REPO / "workflow/recipes/demo.yaml", REPO / "tests/fixtures/miniature.yaml", REPO / "tests/fixtures/seconds.yaml",
)  # fmt: skip
ADAPTER = "results/train/session1/adapter/adapter.safetensors"
CLOCKED = ("timing.jsonl", "results/plan/", "results/report/")
"""Files in which a clock or a measured speed stands: they must be there, but differ from run to run."""
KEPT = ("results", "sources")


def command(folder: Path, *arguments: str, overlays: tuple[Path, ...] = (), repo: Path = REPO) -> list[str]:
    """The documented command in a folder of its own; `arguments` are targets and options, `repo` is where the workflow lies."""
    cores = [] if "--workflow-profile" in arguments else ["--cores", "2"]
    base = [sys.executable, "-m", "snakemake", *cores, "--snakefile", str(repo / "Snakefile"), *arguments]
    return [*base, "--directory", str(folder), "--configfile", *map(str, OVERLAYS + overlays)]


def environment(given: Mapping[str, str] | None = None, repo: Path = REPO) -> dict[str, str]:
    """Of a run: programs are compiled with few optimizations, which is most of the time of so few steps."""
    return {
        **(os.environ if given is None else given),
        "PYTHONPATH": str(repo / "src"), "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }  # fmt: skip


def start(
    folder: Path,
    *arguments: str,
    given: Mapping[str, str] | None = None,
    overlays: tuple[Path, ...] = (),
    out: int | IO[str] = subprocess.PIPE,
    repo: Path = REPO,
) -> subprocess.Popen[str]:
    """The documented command as a process of its own session; all that it says goes to `out`."""
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        command(folder, *arguments, overlays=overlays, repo=repo), cwd=repo, env=environment(given, repo), stdout=out,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run(
    folder: Path,
    *arguments: str,
    given: Mapping[str, str] | None = None,
    overlays: tuple[Path, ...] = (),
    timeout_s: float = 900,
    repo: Path = REPO,
) -> tuple[int, str]:
    """Exit status and all that was said."""
    started = start(folder, *arguments, given=given, overlays=overlays, repo=repo)
    try:
        said, _ = started.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        started.kill()
        raise
    return started.returncode, said


def left(folder: Path) -> dict[str, str]:
    """{file: sha256} of all that a run leaves in results/ and sources/; "" where a clock stands in the file."""
    files = [f for part in KEPT for f in sorted((folder / part).rglob("*")) if f.is_file()]
    names = [f.relative_to(folder).as_posix() for f in files]
    return {
        name: "" if any(part in name for part in CLOCKED) else sha256_file(f)
        for name, f in zip(names, files, strict=True)
    }
