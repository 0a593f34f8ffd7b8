"""OpenO1's English rows, Raiden standardized and session 1 mixed, against the same steps with the datasets library.

Takes:  the folder of generate_sources.py.
Leaves: tables and benchmarks/results/<date>-{openo1-english,standardize,mix,near-duplicates-in-the-mix}.json; exit status 1 below the bars.

    python benchmarks/records.py work/benchmark --rounds 3 --n 20000

The peers use our own parser, filters and ids, so that the work is the same; ours is the stage a workflow runs: it also checks
what it reads, keeps every row that it leaves out with a reason, and writes digests and a manifest. The mix is raced without
the search for near duplicates, which is timed apart.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from race import HERE, measure, race, stage

BARS = {"openo1-english": 2.5, "standardize": 1.7, "mix": 2.0}
PYTHON = sys.executable
NO_DRAW = dict.fromkeys(("n", "start", "stop", "seed", "filters", "format", "min_kept", "weights", "per_task"))
THOUGHT = {"question": "instruction", "response": "output"}


def peer(script: str, *arguments: Any) -> list[str]:
    """The command of a peer; it begins with an empty cache of the datasets library."""
    return [PYTHON, str(HERE / "peers" / script), *map(str, arguments)]


def fresh(cache: Path, command: list[str]) -> list[str]:
    """`command` after the cache was emptied: it is to do its work, not to find it done."""
    return ["bash", "-c", f'rm -rf "{cache}"; exec "$@"', "bash", *command]


def made(folder: Path, out: Path, name: str, files: str, layout: str, **draw: Any) -> Path:
    """Download and sample one source; the sample's manifest."""
    source = {
        "kind": "dataset",
        "name": name,
        "source": name,
        "hub": None,
        "revision": None,
        "path": str(folder / name),
    }
    downloaded = out / f"{name}.download.json"
    measure(
        stage(
            "download",
            {**source, "need": None, "files": [files], "layout": layout},
            manifest=downloaded,
            blobs=out / "w",
        )
    )
    measure(sampled(out, name, downloaded, layout=layout, **draw))
    return out / f"{name}.json"


def sampled(out: Path, name: str, downloaded: Path, **draw: Any) -> list[str]:
    """The command of our sample stage."""
    settings = {"name": name, "source": name, "columns": None, **NO_DRAW, **draw}
    files = {
        "rows": out / f"{name}.parquet",
        "dropped": out / f"{name}.dropped.parquet",
        "manifest": out / f"{name}.json",
    }
    return stage("sample", settings, download=downloaded, **files)


def standardized(out: Path, name: str, **settings: Any) -> list[str]:
    """The command of our standardize stage."""
    given = {
        "name": name,
        "source": name,
        "format": "think",
        "columns": None,
        "filters": {},
        "min_kept": 0.1,
        **settings,
    }
    files = {
        "records": out / f"{name}.r.parquet",
        "rejected": out / f"{name}.rr.parquet",
        "manifest": out / f"{name}.r.json",
    }
    return stage("standardize", given, sample=out / f"{name}.json", **files)


def openo1(folder: Path, out: Path, rounds: int, n: int) -> dict[str, Any]:
    """n English rows."""
    draw = {
        "method": "random",
        "n": n,
        "seed": 42,
        "filters": {"language": "en"},
        "format": "thought_output",
        "min_kept": 0.1,
    }
    made(folder, out, "openo1", "clean.jsonl", "jsonl", columns=THOUGHT, **draw)
    ours = sampled(out, "openo1", out / "openo1.download.json", layout="jsonl", columns=THOUGHT, **draw)
    theirs = peer("datasets_english.py", folder / "openo1/clean.jsonl", out / "peer.parquet", n, out / "cache")
    facts = {"rows_drawn": n, "bytes": (folder / "openo1/clean.jsonl").stat().st_size}
    return race(
        "openo1-english", {"datasets": fresh(out / "cache", theirs), "showwork": ours}, rounds=rounds, facts=facts
    )


def raiden(folder: Path, out: Path, rounds: int) -> dict[str, Any]:
    """All rows of Raiden, with its loop filter."""
    made(folder, out, "raiden", "*.csv", "csv", method="full")
    contestants = {
        "datasets": fresh(out / "cache", peer("datasets_standardize.py", out / "raiden.parquet", out / "p1.parquet", out / "cache", 1)),
        "datasets, 2 processes": fresh(out / "cache", peer("datasets_standardize.py", out / "raiden.parquet", out / "p2.parquet", out / "cache", 2)),
        "showwork": standardized(out, "raiden", filters={"loops": True}),
        "showwork, 1 core": ["taskset", "-c", "0", *standardized(out, "raiden", filters={"loops": True})],
        "floor: read and write": peer("floor.py", out / "floor.parquet", out / "raiden.parquet"),
    }  # fmt: skip
    result = race(
        "standardize", contestants, rounds=rounds, facts={"rows": pq.read_metadata(out / "raiden.parquet").num_rows}
    )
    kept = [
        pq.read_table(out / f, columns=["record_id"]).column(0).to_pylist() for f in ("p1.parquet", "raiden.r.parquet")
    ]
    assert kept[0] == kept[1]
    return result


def mix(folder: Path, out: Path, rounds: int, n: int) -> dict[str, Any]:
    """Session 1: Raiden, OpenO1, CoT-Collection and glaive at half the rows of OpenO1 and one and a half times."""
    columns = {"question": "source", "trace": "rationale", "answer": "target"}
    draw = {"seed": 42, "filters": {}, "min_kept": 0.1}
    made(
        folder,
        out,
        "cot",
        "*.json",
        "json_object",
        columns=columns,
        method="reservoir",
        n=n // 2,
        format="columns",
        **draw,
    )
    made(folder, out, "glaive", "*.parquet", "parquet", method="first_n", start=1, stop=n * 3 // 2)
    measure(standardized(out, "openo1", format="thought_output", columns=THOUGHT))
    measure(standardized(out, "cot", format="columns", columns=columns))
    measure(standardized(out, "glaive"))
    records = [out / f"{name}.r.json" for name in ("raiden", "openo1", "cot", "glaive")]
    held = out / "prompts.json"
    settings = {"name": "prompts", "seed": 42, "share": 0.01, "prompts": 30}
    measure(
        [*stage("heldout", settings, prompts=out / "prompts.parquet", manifest=held), "--records", *map(str, records)]
    )
    files = [m.with_suffix(".parquet") for m in records]
    near = {"near": True, "threshold": 0.85}
    contestants = {
        "datasets": fresh(out / "cache", peer("datasets_mix.py", out / "mix.parquet", out / "cache", 0.01, *files)),
        "showwork": mixed(out, records, held, {"near": False}),
        "floor: read and write": peer("floor.py", out / "floor.parquet", *files),
        "showwork, near duplicates too": mixed(out, records, held, near),
    }
    result = race(
        "mix", contestants, rounds=rounds, facts={"records": sum(pq.read_metadata(f).num_rows for f in files)}
    )
    counts = json.loads((out / "mix.json").read_text())["counts"]
    print(json.dumps({k: counts[k] for k in ("records", "train", "removed")}))
    return result


def mixed(out: Path, records: list[Path], held: Path, duplicates: dict[str, Any]) -> list[str]:
    """The command of our mix stage."""
    names = [m.name.split(".")[0] for m in records]
    licenses = {name: {"license": "mit", "note": None, "hub": None} for name in names}
    settings = {"name": "mix", "seed": 42, "share": 0.01, "samples": names, "licenses": licenses, "allowed": ["mit"]}
    files = {"train": out / "train.parquet", "removed": out / "removed.parquet", "disjoint": out / "disjoint.json"}
    command = stage("mix", {**settings, "duplicates": duplicates}, heldout=held, manifest=out / "mix.json", **files)
    return [*command, "--records", *map(str, records)]


def main() -> None:
    """Race all three, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--n", type=int, default=20_000, help="rows of OpenO1; the mix takes half as many of CoT-Collection"
    )
    args = parser.parse_args()
    out = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        results = {
            "openo1-english": openo1(args.folder, out, args.rounds, args.n),
            "standardize": raiden(args.folder, out, args.rounds),
            "mix": mix(args.folder, out, args.rounds, args.n),
        }
    finally:
        shutil.rmtree(out)
    missed = 0
    for name, bar in BARS.items():
        faster = results[name]["contestants"]["showwork"]["times_faster"]["wall_s"]
        print(f"{name}: {faster:.2f} times faster, {bar} wanted: {'met' if faster >= bar else 'MISSED'}")
        missed += faster < bar
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
