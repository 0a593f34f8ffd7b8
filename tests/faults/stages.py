"""The stages of session 1 of the miniature, as a fault meets them: what each leaves, how to ask for it, what it reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from seconds import ADAPTER

RAIDEN = "raiden_deepseek_r1"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of session 1: what it leaves, the target that asks for it, a file that it reads, the folder that it writes to.

    `reads` is "" where nothing that it reads has a digest that it checks: Snakemake makes such a file again.
    """

    left: tuple[str, ...]
    target: str
    reads: str
    writes: str

    def undo(self, folder: Path) -> None:
        """Takes away what it left in `folder`."""
        for pattern in self.left:
            for path in folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


STAGES = {
    "demo": Stage(("sources/*",), "sources/manifest.json", "", "sources"),
    "download": Stage((f"results/download/{RAIDEN}.json",), f"results/download/{RAIDEN}.json", "", "results/download"),
    "sample": Stage((f"results/sample/{RAIDEN}*",), f"results/sample/{RAIDEN}.json", "", "results/sample"),
    "standardize": Stage(
        (f"results/standardize/{RAIDEN}*",), f"results/standardize/{RAIDEN}.json", f"results/sample/{RAIDEN}.parquet",
        "results/standardize",
    ),
    "heldout": Stage(
        ("results/heldout/*",), "results/heldout/prompts.json", f"results/standardize/{RAIDEN}.parquet", "results/heldout"
    ),
    "mix": Stage(
        ("results/mix/session1/*",), "results/mix/session1/manifest.json", f"results/standardize/{RAIDEN}.parquet",
        "results/mix/session1",
    ),
    "publish": Stage(
        ("results/publish/*",), "results/publish/session1.json", "results/mix/session1/train.parquet", "results/publish"
    ),
    "pack": Stage(
        ("results/pack/session1/*",), "results/pack/session1/manifest.json", "results/mix/session1/train.parquet",
        "results/pack/session1",
    ),
    "plan": Stage(("results/plan/*",), "results/plan/session1.txt", "results/pack/session1/positions.npy", "results/plan"),
    "train": Stage(
        ("results/train/session1", "work/train/session1"), ADAPTER, "results/pack/session1/tokens.npy", "work/train"
    ),
    "evaluate": Stage(
        ("results/evaluate/session1/*",), "results/evaluate/session1/metrics.json", ADAPTER, "results/evaluate/session1"
    ),
    "verdict": Stage(
        ("results/verdict/*",), "results/verdict/session1.json", "results/evaluate/session1/generations.parquet",
        "results/verdict",
    ),
    "export": Stage(
        ("results/export/session1/*",), "results/export/session1/certificate.json", ADAPTER, "results/export"
    ),
    "report": Stage(
        ("results/report/*",), "results/report/session1.html", "results/evaluate/session1/metrics.json", "results/report"
    ),
}  # fmt: skip
