"""An upgrade of the package between two halves of a run: a copy of the repository, in which one line of a stage becomes another."""

from __future__ import annotations

import shutil
from pathlib import Path

from seconds import REPO

WORKFLOW = ("src", "workflow", "profiles", "envs", "Snakefile", "config.yaml", "pyproject.toml")
EDITS = {
    "mix": ("src/showwork/mix.py", 'order_keys(settings["seed"],', 'order_keys(settings["seed"] + 1,'),
    "train": ("src/showwork/learn/optimizer.py", "0.5 * (1 - jnp.cos(", "0.25 * (1 - jnp.cos("),
}
"""For a stage the file, what stands in it, and what the new version has there, which changes what the stage leaves."""


def installed(folder: Path) -> Path:
    """A copy of the repository at `folder`: the version that is upgraded."""
    for name in WORKFLOW:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    return folder


def upgrade(repo: Path, stage: str) -> None:
    """Puts the new version in its place.

    Raises: ValueError when the line that is to change is no longer there.
    """
    name, old, new = EDITS[stage]
    text = (repo / name).read_text("utf-8")
    if text.count(old) != 1:
        raise ValueError(
            f"{name}: holds {old!r} {text.count(old)} times but once is wanted; correct EDITS in {__file__}"
        )
    (repo / name).write_text(text.replace(old, new), "utf-8")
