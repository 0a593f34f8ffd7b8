"""Raiden standardized and session 1 mixed, at full size, against the same steps with the datasets library.

Takes:  the folder of generate_sources.py; the peers' environment (`make peers`).
Leaves: tables and benchmarks/results/<date>-{standardize,mix}.json; exit status 1 below the bars.

    python benchmarks/records.py work/benchmark --rounds 3 [--only standardize]

Ours is the stage a workflow runs: it also checks what it reads, keeps every row that it leaves out with a reason, and writes
digests and a manifest. The peer's rules are ours (peers/datasets_standardize.py says how they are written) and the records that
come out must be equal. The mix is raced without the search for near duplicates, which is timed apart, as is decontamination.
The floor reads the same tables and writes them again, in one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from race import faster, judge, measure, peer, pinned, race, stage
from sampling import Bars, downloaded, sampled

THINK = {"question": "prompt", "response": "response"}
THOUGHT = {"question": "instruction", "response": "output"}
COT = {"question": "source", "trace": "rationale", "answer": "target"}
DRAW = {"seed": 42, "min_kept": 0.1}
SHARE = 0.01
SAMPLES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "raiden": ("*.csv", {"layout": "csv", "method": "full"}, {"columns": THINK, "filters": {"loops": True}}),
    "openo1": (
        "clean.jsonl",
        {
            "layout": "jsonl", "method": "random", "n": 20_000, "filters": {"language": "en"}, "format": "thought_output",
            "columns": THOUGHT, **DRAW,
        },
        {"format": "thought_output", "columns": THOUGHT},
    ),
    "cot": (
        "*.json",
        {"layout": "json_object", "method": "reservoir", "n": 10_000, "filters": {}, "format": "columns", "columns": COT, **DRAW},
        {"format": "columns", "columns": COT},
    ),
    "glaive": ("*.parquet", {"layout": "parquet", "method": "first_n", "start": 1, "stop": 30_000}, {"columns": THINK}),
}  # fmt: skip
"""{sample: files, how it is drawn, how it is standardized}: session 1."""


def fresh(cache: Path, command: list[str]) -> list[str]:
    """`command` after the cache of the datasets library was emptied: it is to do its work, not to find it done."""
    return ["bash", "-c", f'rm -rf "{cache}"; exec "$@"', "bash", *command]


def prepare(folder: Path, out: Path, name: str) -> Path:
    """Download and sample one source; the sample's manifest."""
    files, drawn, _ = SAMPLES[name]
    slice_of = {"start": drawn["start"], "stop": drawn["stop"]} if "stop" in drawn else None
    manifest = downloaded(folder / name, out, name, files=[files], layout=drawn["layout"], need=slice_of)
    measure(sampled(manifest, out, name, **drawn))
    return out / f"{name}.json"


def standardized(out: Path, name: str, threads: int = 2) -> list[str]:
    """The command of our standardize stage."""
    given = {"name": name, "source": name, "format": "think", "filters": {}, "min_kept": 0.1, **SAMPLES[name][2]}
    files = {
        "records": out / f"{name}.r.parquet",
        "rejected": out / f"{name}.rr.parquet",
        "manifest": out / f"{name}.r.json",
    }
    return stage("standardize", given, sample=out / f"{name}.json", threads=threads, **files)


def standardize(folder: Path, out: Path, rounds: int) -> Bars:
    """All rows of Raiden, with its loop filter."""
    prepare(folder, out, "raiden")
    rows, cache = out / "raiden.parquet", out / "cache"
    theirs = {n: fresh(cache, peer("datasets_standardize.py", rows, out / f"p{n}.parquet", cache, n)) for n in (1, 2)}
    floor = peer("floor.py", out / "floor.parquet", rows)
    contestants = {
        "datasets, one core": pinned(theirs[1]),
        "showwork, one core": pinned(standardized(out, "raiden", 1)),
        "floor, one core": pinned(floor),
        "datasets, two cores": theirs[2],
        "showwork, two cores": standardized(out, "raiden", 2),
    }
    result = race("standardize", contestants, rounds=rounds, facts=lambda: {"rows": pq.read_metadata(rows).num_rows})
    same_records(out / "p1.parquet", out / "raiden.r.parquet")
    runs = {name: found["runs"] for name, found in result["contestants"].items()}
    ours = result["contestants"]["showwork, two cores"]["median"]
    return [
        ("standardize: times faster on one core", faster(runs, "showwork, one core", "datasets, one core")["wall_s"], 1.7, True),
        ("standardize: times faster on two", faster(runs, "showwork, two cores", "datasets, two cores")["wall_s"], 2.5, True),
        ("standardize: times the floor", 1 / faster(runs, "showwork, two cores", "floor, one core")["wall_s"], 2.2, False),
        ("standardize: MB at the peak", ours["memory_mb"], 500, False),
    ]  # fmt: skip


def mix(folder: Path, out: Path, rounds: int) -> Bars:
    """Session 1 of its four samples."""
    for name in SAMPLES:
        prepare(folder, out, name)
        measure(standardized(out, name))
    records = [out / f"{name}.r.json" for name in SAMPLES]
    files = [m.with_suffix(".parquet") for m in records]
    held = out / "prompts.json"
    prompts = stage(
        "heldout", {"name": "prompts", "seed": 42, "share": SHARE, "prompts": 300}, prompts=out / "prompts.parquet", manifest=held
    )  # fmt: skip
    measure([*prompts, "--records", *map(str, records)])
    cache = out / "cache"
    contestants = {
        "datasets": fresh(cache, peer("datasets_mix.py", out / "mix.parquet", cache, SHARE, *files)),
        "showwork": mixed(out, records, held),
        "showwork, with decontamination": mixed(out, records, held, decontamination=0.5),
        "showwork, with near duplicates": mixed(out, records, held, near=True),
        "floor": peer("floor.py", out / "floor.parquet", *files),
    }
    count = sum(pq.read_metadata(f).num_rows for f in files)
    result = race("mix", contestants, rounds=rounds, facts=lambda: {"records": count})
    told = json.loads((out / "mix-False-None" / "mix.json").read_text())["counts"]
    if (kept := pq.read_metadata(out / "mix.parquet").num_rows) != told["train"]:
        raise SystemExit(f"mix: the peer keeps {kept:,} records, ours {told['train']:,}")
    runs = {name: found["runs"] for name, found in result["contestants"].items()}
    return [
        ("mix: times faster", faster(runs, "showwork", "datasets")["wall_s"], 2.0, True),
        ("mix: times the floor", 1 / faster(runs, "showwork", "floor")["wall_s"], 1.6, False),
        ("mix: MB at the peak", result["contestants"]["showwork"]["median"]["memory_mb"], 500, False),
    ]


def mixed(
    out: Path, records: list[Path], held: Path, *, near: bool = False, decontamination: float | None = None
) -> list[str]:
    """The command of our mix stage."""
    out = out / f"mix-{near}-{decontamination}"
    out.mkdir(exist_ok=True)
    licenses = {name: {"license": "mit", "note": None, "hub": None} for name in SAMPLES}
    settings = {
        "name": "mix", "seed": 42, "share": SHARE, "samples": list(SAMPLES), "licenses": licenses, "allowed": ["mit"],
        "duplicates": {"near": near, "threshold": 0.5, "decontamination": decontamination},
    }  # fmt: skip
    files = {"train": out / "train.parquet", "removed": out / "removed.parquet", "disjoint": out / "disjoint.json"}
    return [
        *stage("mix", settings, heldout=held, manifest=out / "mix.json", **files),
        "--records",
        *map(str, records),
    ]


def same_records(*files: Path) -> None:
    """End unless both files hold the same records in the same order."""
    ids = [pq.read_table(file, columns=["record_id"]).column(0).to_pylist() for file in files]
    if ids[0] != ids[1]:
        raise SystemExit(f"{files[0].name} holds {len(ids[0]):,} records, {files[1].name} {len(ids[1]):,}, or others")


RACES = {"standardize": standardize, "mix": mix}


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
