"""The reservoir of CoT-Collection against json.load, and a slice of glaive against datasets streaming.

Takes:  the folder of generate_sources.py.
Leaves: two tables, benchmarks/results/<date>-cot-reservoir.json and <date>-glaive-slice.json; exit status 1 below the bars.

    python benchmarks/sampling.py work/benchmark --rounds 3

The work is the same: from the local raw files to a parquet file of the rows. Ours is the stage a workflow runs: it also checks
the files' sha256, names every row, judges format and filters (the reservoir) and writes a manifest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from race import HERE, measure, race, stage

BARS = {"times_faster": {"cot": 3.0, "glaive": 2.5}, "rss_mb": {"cot": 200.0, "glaive": 300.0}}


def downloaded(folder: Path, out: Path, name: str, **settings: Any) -> Path:
    """The manifest of a local source."""
    manifest = out / "results/download" / f"{name}.json"
    slice_of = {"kind": "dataset", "name": name, "source": name, "hub": None, "revision": None, "path": str(folder)}
    measure(stage("download", {**slice_of, "need": None, **settings}, manifest=manifest, blobs=out / "work"))
    return manifest


def sampled(manifest: Path, out: Path, name: str, **settings: Any) -> list[str]:
    """The command of our stage."""
    empty = dict.fromkeys(("n", "start", "stop", "seed", "filters", "format", "min_kept", "weights", "per_task"))
    files = {
        "rows": out / f"{name}.parquet",
        "dropped": out / f"{name}.dropped.parquet",
        "manifest": out / f"{name}.json",
    }
    return stage("sample", {"name": name, "source": name, **empty, **settings}, download=manifest, **files)


def cot(folder: Path, out: Path, rounds: int, n: int) -> dict[str, Any]:
    """n rows of the one big object."""
    file = folder / "cot/CoT_collection_en.json"
    manifest = downloaded(folder / "cot", out, "cot", files=[file.name], layout="json_object")
    columns = {"question": "source", "trace": "rationale", "answer": "target"}
    draw = {"method": "reservoir", "n": n, "seed": 42, "filters": {}, "format": "columns", "min_kept": 0.5}
    peer = [sys.executable, str(HERE / "peers/json_load.py"), str(file), str(out / "peer.parquet"), str(n)]
    ours = sampled(manifest, out, "cot", layout="json_object", columns=columns, **draw)
    facts = {"bytes": file.stat().st_size, "rows_drawn": n}
    result = race("cot-reservoir", {"json.load + sample": peer, "showwork.sample": ours}, rounds=rounds, facts=facts)
    assert pq.read_metadata(out / "cot.parquet").num_rows == pq.read_metadata(out / "peer.parquet").num_rows == n
    return result


def glaive(folder: Path, out: Path, rounds: int, start: int, stop: int) -> dict[str, Any]:
    """Rows start..stop of the shards."""
    need = {"start": start, "stop": stop}
    manifest = downloaded(folder / "glaive", out, "glaive", files=["*.parquet"], layout="parquet", need=need)
    count = stop - start + 1
    target = out / "peer.parquet"
    script = HERE / "peers/datasets_slice.py"
    peer = [sys.executable, str(script), str(folder / "glaive"), str(target), str(start - 1), str(count)]
    ours = sampled(
        manifest,
        out,
        "glaive",
        layout="parquet",
        columns={"question": "prompt"},
        method="first_n",
        start=start,
        stop=stop,
    )
    facts = {"slice": [start, stop], "bytes_of_slice": _bytes_of_rows(folder / "glaive", start - 1, stop)}
    result = race("glaive-slice", {"datasets streaming": peer, "showwork.sample": ours}, rounds=rounds, facts=facts)
    names = ["prompt", "response"]
    assert pq.read_table(out / "glaive.parquet", columns=names).equals(
        pq.read_table(target, columns=names).cast(pq.read_schema(out / "glaive.parquet").remove(3).remove(2))
    )
    return result


def _bytes_of_rows(folder: Path, begin: int, end: int) -> int:
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


def main() -> None:
    """Race both, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["cot", "glaive"])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=30_001)
    parser.add_argument("--stop", type=int, default=130_000)
    args = parser.parse_args()
    missed = []
    with tempfile.TemporaryDirectory() as out:
        results = {}
        if args.only != "glaive":
            results["cot"] = cot(args.folder, Path(out), args.rounds, args.n)
        if args.only != "cot":
            results["glaive"] = glaive(args.folder, Path(out), args.rounds, args.start, args.stop)
    for name, result in results.items():
        ours = result["contestants"]["showwork.sample"]
        for what, value, met in [
            (
                "times faster",
                ours["times_faster"]["wall_s"],
                ours["times_faster"]["wall_s"] >= BARS["times_faster"][name],
            ),
            ("MB at the peak", ours["median"]["rss_mb"], ours["median"]["rss_mb"] <= BARS["rss_mb"][name]),
        ]:
            print(f"{name}: {value:.1f} {what}: {'met' if met else 'MISSED'}")
            missed += [] if met else [name]
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
