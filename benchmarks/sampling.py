"""Three samples at full size: the reservoir of CoT-Collection against json.load, 100,000 rows of glaive and 20,000 English rows
of OpenO1 against the datasets library.

Takes:  the folder of generate_sources.py; the peers' environment (`make peers`).
Leaves: tables, benchmarks/results/<date>-{cot-reservoir,glaive-slice,openo1-english}.json; exit status 1 below the bars.

    python benchmarks/sampling.py work/benchmark --rounds 3 [--only cot]

The work is the same: from the local raw files to a parquet file of the rows. Ours is the stage a workflow runs: it also checks
the files' digests, names every row, keeps what it leaves out with a reason, and writes a manifest. The draws judge format and
filters; so does the peer's of OpenO1, with our language filter and a twin of the file without its lines that are no UTF-8.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from race import judge, measure, peer, race, stage

Bars = list[tuple[str, float, float, bool]]
NO_DRAW = dict.fromkeys(("n", "start", "stop", "seed", "filters", "format", "min_kept", "weights", "per_task"))


def downloaded(folder: Path, out: Path, name: str, **settings: Any) -> Path:
    """The manifest of a local source."""
    manifest = out / "results/download" / f"{name}.json"
    slice_of = {"kind": "dataset", "name": name, "source": name, "hub": None, "revision": None, "path": str(folder)}
    measure(stage("download", {**slice_of, "need": None, **settings}, manifest=manifest, blobs=out / "work"))
    return manifest


def sampled(manifest: Path, out: Path, name: str, **settings: Any) -> list[str]:
    """The command of our stage."""
    files = {
        "rows": out / f"{name}.parquet",
        "dropped": out / f"{name}.dropped.parquet",
        "manifest": out / f"{name}.json",
    }
    given = {"name": name, "source": name, "columns": None, **NO_DRAW, **settings}
    return stage("sample", given, download=manifest, **files)


def cot(folder: Path, out: Path, rounds: int) -> Bars:
    """10,000 rows of the one big object."""
    n = 10_000
    file = folder / "cot/CoT_collection_en.json"
    manifest = downloaded(folder / "cot", out, "cot", files=[file.name], layout="json_object")
    columns = {"question": "source", "trace": "rationale", "answer": "target"}
    draw = {"method": "reservoir", "n": n, "seed": 42, "filters": {}, "format": "columns", "min_kept": 0.5}
    contestants = {
        "json.load + sample": peer("json_load.py", file, out / "peer.parquet", n),
        "showwork.sample": sampled(manifest, out, "cot", layout="json_object", columns=columns, **draw),
    }
    result = race(
        "cot-reservoir", contestants, rounds=rounds, facts=lambda: {"bytes": file.stat().st_size, "rows_drawn": n}
    )
    same_rows(n, out / "cot.parquet", out / "peer.parquet")
    return bars(result, "showwork.sample", "CoT reservoir", times=3.0, memory_mb=200)


def glaive(folder: Path, out: Path, rounds: int) -> Bars:
    """Rows 30,001 to 130,000 of the shards."""
    start, stop = 30_001, 130_000
    need = {"start": start, "stop": stop}
    manifest = downloaded(folder / "glaive", out, "glaive", files=["*.parquet"], layout="parquet", need=need)
    chosen = {"layout": "parquet", "columns": {"question": "prompt"}, "method": "first_n", **need}
    target = out / "peer.parquet"
    contestants = {
        "datasets streaming": peer("datasets_slice.py", folder / "glaive", target, start - 1, stop - start + 1),
        "showwork.sample": sampled(manifest, out, "glaive", **chosen),
    }
    small = measure(sampled(manifest, out, "small", **{**chosen, "stop": start}))["read_mb"]
    nothing = small - bytes_of_rows(folder / "glaive", start - 1, start) / 1e6  # our own modules and the manifest
    held = bytes_of_rows(folder / "glaive", start - 1, stop)
    facts = {"slice": [start, stop], "bytes_of_row_groups": held, "read_mb_of_a_run_without_rows": nothing}
    result = race("glaive-slice", contestants, rounds=rounds, facts=lambda: facts)
    names = ["prompt", "response"]
    ours = pq.read_table(out / "glaive.parquet", columns=names)
    if not ours.equals(pq.read_table(target, columns=names).cast(ours.schema)):
        raise SystemExit("glaive: the two slices hold different rows")
    read = result["contestants"]["showwork.sample"]["median"]["read_mb"] - nothing
    return [
        *bars(result, "showwork.sample", "glaive slice", times=2.5, memory_mb=300),
        ("glaive slice: MB read beyond the row groups that hold it", read - held / 1e6, 9.0, False),
    ]


def openo1(folder: Path, out: Path, rounds: int) -> Bars:
    """20,000 English rows."""
    n, file = 20_000, folder / "openo1/clean.jsonl"
    manifest = downloaded(folder / "openo1", out, "openo1", files=[file.name], layout="jsonl")
    columns = {"question": "instruction", "response": "output"}
    draw = {"method": "random", "n": n, "seed": 42, "filters": {"language": "en"}, "format": "thought_output"}
    theirs = peer("datasets_english.py", file, out / "peer.parquet", n, out / "cache")
    contestants = {
        "datasets": ["bash", "-c", f'rm -rf "{out}/cache"; exec "$@"', "bash", *theirs],
        "showwork.sample": sampled(manifest, out, "openo1", layout="jsonl", columns=columns, min_kept=0.3, **draw),
    }
    result = race(
        "openo1-english", contestants, rounds=rounds, facts=lambda: {"bytes": file.stat().st_size, "rows_drawn": n}
    )
    same_rows(n, out / "openo1.parquet", out / "peer.parquet")
    return bars(result, "showwork.sample", "OpenO1 English", times=2.5)


def bars(result: dict[str, Any], ours: str, what: str, *, times: float, memory_mb: float | None = None) -> Bars:
    """Times faster by the clock, and memory where it has a bar."""
    mine = result["contestants"][ours]
    found: Bars = [(f"{what}: times faster", mine["times_faster"]["wall_s"], times, True)]
    if memory_mb:
        found.append((f"{what}: MB at the peak", mine["median"]["memory_mb"], memory_mb, False))
    return found


def same_rows(n: int, *files: Path) -> None:
    """End unless every file holds n rows."""
    for file in files:
        if (rows := pq.read_metadata(file).num_rows) != n:
            raise SystemExit(f"{file.name} holds {rows:,} rows, not {n:,}")


def bytes_of_rows(folder: Path, begin: int, end: int) -> int:
    """Bytes on disk of the row groups that hold rows begin..end-1."""
    at = total = 0
    for file in sorted(folder.glob("*.parquet")):
        footer = pq.read_metadata(file)
        for i in range(footer.num_row_groups):
            group = footer.row_group(i)
            if at < end and at + group.num_rows > begin:
                total += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            at += group.num_rows
    return total


RACES = {"cot": cot, "glaive": glaive, "openo1": openo1}


def main() -> None:
    """Race, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(RACES))
    args = parser.parse_args()
    found: Bars = []
    for name, run in RACES.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory(dir=args.folder) as out:
                found += run(args.folder.resolve(), Path(out), args.rounds)
    judge(found)


if __name__ == "__main__":
    main()
