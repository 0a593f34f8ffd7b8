"""The data of sessions 1 and 2, from local raw files through the mixes, against the same steps with the datasets library.

Takes:  the folder of generate_sources.py; the peers' environment (`make peers`).
Leaves: a table, benchmarks/results/<date>-end-to-end.json; exit status 1 below the bars.

    python benchmarks/end_to_end.py work/benchmark --rounds 3

Ours is `snakemake --cores 2` with the recipe of config.yaml on these files, start of Snakemake, digests, manifests and certificates
included; the peer is one script (peers/datasets_end_to_end.py) that does the same steps one after the other, with as many
processes where the library can use them. Neither looks for near duplicates or contamination. Memory is that of all processes together.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from race import REPO, judge, peer, race

OVERLAY = {
    "sources": {
        "raiden": {"path": "raiden"},
        "openo1": {"path": "openo1", "files": ["clean.jsonl"]},
        "cot_collection": {"path": "cot", "files": ["CoT_collection_en.json"]},
        "glaive": {"path": "glaive", "files": ["train-*.parquet"]},
    },
    "mix": {"near_duplicates": False, "decontamination": None},
}
MIXES = [f"results/mix/{session}/manifest.json" for session in ("session1", "session2")]


def overlay(folder: Path, out: Path) -> Path:
    """The configuration that takes all four sources from local folders."""
    for source in OVERLAY["sources"].values():
        source["path"] = str(folder / Path(source["path"]).name)
    file = out / "local.yaml"
    file.write_text(yaml.safe_dump(OVERLAY))
    return file


def main() -> None:
    """Race, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    folder = args.folder.resolve()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        out = Path(made)
        for name in ("ours", "theirs"):
            (out / name).mkdir()
        options = [
            "--configfile",
            str(overlay(folder, out)),
            "--directory",
            str(out / "ours"),
            "--snakefile",
            "Snakefile",
        ]
        ours = [sys.executable, "-m", "snakemake", "--cores", "2", *options, *MIXES]
        theirs = peer("datasets_end_to_end.py", folder, out / "theirs", out / "cache", 2)
        contestants = {
            "datasets": ["bash", "-c", f'rm -rf "{out}/cache" "{out}/theirs/"*; exec "$@"', "bash", *theirs],
            "showwork": ["bash", "-c", f'rm -rf "{out}/ours/"*; cd "{REPO}"; exec "$@"', "bash", *ours],
        }
        result = race("end-to-end", contestants, rounds=args.rounds, facts=lambda: records(out))
    mine, peers = (result["contestants"][name] for name in ("showwork", "datasets"))
    judge(
        [
            ("end to end: times faster", mine["times_faster"]["wall_s"], 2.5, True),
            ("end to end: share of the peer's memory", mine["median"]["memory_mb"] / peers["median"]["memory_mb"], 0.25, False),
        ]
    )  # fmt: skip


def records(out: Path) -> dict[str, int]:
    """How many records the mixes of the last round hold; the two sides draw other rows of OpenO1 and CoT-Collection."""
    found = {}
    for session in ("session1", "session2"):
        found[f"{session}, datasets"] = pq.read_metadata(out / f"theirs/{session}.parquet").num_rows
        found[f"{session}, showwork"] = pq.read_metadata(out / f"ours/results/mix/{session}/train.parquet").num_rows
    return found


if __name__ == "__main__":
    main()
