"""How time and memory grow: rows that are sampled, records that are mixed, sessions that are planned, devices that train together.

Takes:  a folder to work in (a few GB for ten million rows, one source at a time, deleted afterwards); no network, no peer.
Leaves: benchmarks/results/<date>-growth.json, docs/pictures/growth.svg; exit status 1 when a bar is missed. A part that is not
        run again keeps what the result held of it, with the date, commit and load of that run.

    python benchmarks/growth.py [DIR] [--only rows mixes sessions devices] [--most 10000000]
    python benchmarks/growth.py --draw              # the picture and the bars again, from the result

rows      the sample stage draws 10,000 rows of a parquet file and of one JSON object with 10 thousand to 10 million rows; and takes
          every row of the parquet file as it stands.
mixes     the standardize stage and the mix stage on 50 thousand to 2 million records, the mix also as shipped, with the searches for
          near duplicates and contamination.
sessions  `snakemake -n` with up to 200 sessions that all start from the base, and that each continue from the one before: there every
          mix is held against all earlier ones, so files grow with the square.
devices   the train stage on the demo's base with 1 to 8 devices that XLA cuts out of one CPU: what is learned must not depend on them.
          They share the cores: the seconds show the cost of dividing, no gain.

Rows are made-up words, every row another one, about 200 bytes. Memory is that of race.py. The base of all stages (interpreter,
libraries) is in every number.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from race import HERE, REPO, commit, judge, measure, stage, write
from sampling import downloaded, sampled
from training_data import rows_of

from showwork.foundation.files import sha256_file
from showwork.foundation.manifest import write_manifest

Found = dict[str, Any]
Bars = list[tuple[str, float, float, bool]]

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
RECORDS = (50_000, 500_000, 2_000_000)
SESSIONS = (50, 100, 200)
DEVICES = (1, 2, 4, 8)
DRAWN = 10_000
CHUNK = 100_000  # rows made at a time
COLUMNS = {"question": "question", "trace": "trace", "answer": "answer"}
TOKENS, STEPS = 256, 12  # of a packed row; of a training
PICTURE = REPO / "docs/pictures/growth.svg"


def made_rows(count: int, trace_words: int = 12) -> Iterator[pa.Table]:
    """`count` different rows of words, CHUNK at a time."""
    generator = np.random.Generator(np.random.PCG64(7))
    letters = generator.integers(97, 123, (5_000, 6), np.uint8)
    words = pa.array([bytes(word).decode() for word in letters])

    def texts(rows: int, length: int) -> pa.Array:
        picked = words.take(pa.array(generator.integers(0, len(words), rows * length)))
        ends = pa.array(np.arange(0, rows * length + 1, length), pa.int32())
        return pc.binary_join(pa.ListArray.from_arrays(ends, picked), " ")

    for begin in range(0, count, CHUNK):
        rows = min(CHUNK, count - begin)
        number = pc.cast(pa.array(np.arange(begin, begin + rows)), pa.string())
        columns = [
            pc.binary_join_element_wise(number, texts(rows, 8), " "),
            texts(rows, trace_words),
            texts(rows, 1),
        ]
        yield pa.table(columns, names=list(COLUMNS))


def write_parquet(file: Path, count: int, trace_words: int = 12) -> Path:
    """Row groups of 10,000 rows."""
    with pq.ParquetWriter(file, pa.schema([(name, pa.string()) for name in COLUMNS])) as sink:
        for table in made_rows(count, trace_words):
            sink.write_table(table, row_group_size=10_000)
    return file


def write_json_object(file: Path, count: int) -> Path:
    """One object, a row under each key, as CoT-Collection has it."""
    with file.open("w") as out:
        at, sign = 0, "{"
        for table in made_rows(count):
            for question, trace, answer in zip(*(c.to_pylist() for c in table.columns), strict=True):
                out.write(f'{sign}"{at}": {{"question": "{question}", "trace": "{trace}", "answer": "{answer}"}}')
                at, sign = at + 1, ",\n"
        out.write("}")
    return file


def rows(folder: Path, most: int) -> Found:
    """The sample stage by rows of the source."""
    found: Found = {"parquet": {}, "JSON object": {}, "parquet, every row": {}}
    draw = {"method": "random", "n": DRAWN, "seed": 42, "filters": {}, "format": "columns", "min_kept": 0.5}
    for count in (n for n in ROWS if n <= most):
        for layout, write_file in (("parquet", write_parquet), ("json_object", write_json_object)):
            with tempfile.TemporaryDirectory(dir=folder) as made:
                out = Path(made)
                file = write_file(out / ("rows.parquet" if layout == "parquet" else "rows.json"), count)
                manifest = downloaded(out, out, "made", files=[file.name], layout=layout)
                kinds = {"parquet": draw, "parquet, every row": {"method": "full"}}
                for kind, how in kinds.items() if layout == "parquet" else [("JSON object", draw)]:
                    told = measure(sampled(manifest, out, "made", layout=layout, columns=COLUMNS, **how))
                    found[kind][count] = {**told, "source_mb": file.stat().st_size / 1e6}
                    print(f"{kind}, {count:,} rows: {_said(told)}", flush=True)
    return found


def mixes(folder: Path, most: int) -> Found:
    """The standardize and the mix stage by records."""
    found: Found = {"standardize": {}, "mix": {}, "mix, as shipped": {}}
    for count in (n for n in RECORDS if n <= most):
        with tempfile.TemporaryDirectory(dir=folder) as made:
            out = Path(made)
            file = write_parquet(out / "rows.parquet", count, trace_words=24)
            manifest = downloaded(out, out, "made", files=[file.name], layout="parquet")
            measure(sampled(manifest, out, "made", layout="parquet", columns=COLUMNS, method="full"))
            file.unlink()
            given = {
                "name": "made",
                "source": "made",
                "format": "columns",
                "columns": COLUMNS,
                "filters": {},
                "min_kept": 0.5,
            }
            records, held = out / "records.json", out / "prompts.json"
            files = {"records": out / "records.parquet", "rejected": out / "rejected.parquet", "manifest": records}
            runs = {"standardize": stage("standardize", given, sample=out / "made.json", threads=2, **files)}
            asked = {"name": "prompts", "seed": 42, "share": 0.01, "prompts": 300}
            prompts = stage("heldout", asked, prompts=out / "prompts.parquet", manifest=held, records=records)
            runs |= {kind: mixed(out, records, held, kind != "mix") for kind in ("mix", "mix, as shipped")}
            for kind, command in runs.items():
                told = measure(command)
                found[kind][count] = told
                print(f"{kind}, {count:,} records: {_said(told)}", flush=True)
                if kind == "standardize":
                    (out / "made.parquet").unlink()
                    measure(prompts)
                else:
                    kept = json.loads((out / "mix/mix.json").read_text())["counts"]
                    found[kind][count] = {**told, "counts": kept}
    return found


def mixed(out: Path, records: Path, held: Path, shipped: bool) -> list[str]:
    """The command of the mix stage; with the searches that config.yaml has on, or without."""
    (out / "mix").mkdir(exist_ok=True)
    config = yaml.safe_load((REPO / "config.yaml").read_text())["mix"]
    searches = {
        "near": config["near_duplicates"] and shipped,
        "threshold": config["threshold"],
        "decontamination": config["decontamination"] if shipped else None,
    }
    settings = {
        "name": "mix", "seed": 42, "share": 0.01, "samples": ["made"], "allowed": ["mit"], "duplicates": searches,
        "licenses": {"made": {"license": "mit", "note": None, "hub": None}},
    }  # fmt: skip
    files = {name: out / f"mix/{name}.parquet" for name in ("train", "removed")}
    files |= {"disjoint": out / "mix/disjoint.json", "manifest": out / "mix/mix.json"}
    return stage("mix", settings, heldout=held, records=records, **files)


def sessions(folder: Path, most: int) -> Found:
    """`snakemake -n` by sessions; nothing is there yet, so every job is planned."""
    del most
    found: Found = {"from the base": {}, "each from the one before": {}}
    tiny = folder / "tiny"
    tiny.mkdir()
    (tiny / "rows.jsonl").write_text('{"question": "a", "trace": "b", "answer": "c"}\n' * 3)
    (tiny / "config.json").write_text("{}")
    shipped = yaml.safe_load((REPO / "config.yaml").read_text())
    for kind in found:
        for count in SESSIONS:
            names = [f"made{i}" for i in range(count - len(shipped["sessions"]))]
            start = dict(zip(names, ["base", *(names if kind != "from the base" else ["base"] * count)], strict=False))
            local = {"path": str(tiny), "files": ["rows.jsonl"], "layout": "jsonl"}
            overlay = {
                "model": {"path": str(tiny)},
                "sources": dict.fromkeys(shipped["sources"], local),
                "samples": {
                    f"of_{name}": {"source": "cot_collection", "method": "first_n", "start": i, "stop": i}
                    for i, name in enumerate(names, 1)
                },
                "sessions": {n: {"samples": [f"of_{n}"], "start_from": start[n], "publish": None} for n in names},
            }  # fmt: skip
            file = folder / "sessions.yaml"
            file.write_text(yaml.safe_dump(overlay))
            where = ["--snakefile", REPO / "Snakefile", "--configfile", file, "--directory", folder / "run"]
            told = measure([sys.executable, "-m", "snakemake", "-n", *map(str, where)])
            found[kind][count] = told
            print(f"{count} sessions, {kind}: {_said(told)}", flush=True)
    return found


def devices(folder: Path, most: int) -> Found:
    """The train stage by devices: rows split over them (data), weights split too (fsdp)."""
    del most
    base = REPO / "src/showwork/demo/base"
    generator = np.random.Generator(np.random.PCG64(5))
    sizes = generator.integers(40, 200, 250)
    ids = [generator.integers(108, 800, n).astype(np.int32) for n in sizes]
    examples = [(tokens, (np.arange(len(tokens)) >= len(tokens) // 3).astype(np.uint8)) for tokens in ids]
    packed, files = rows_of(examples, packed=True, length=TOKENS), {}
    for name in ("tokens", "loss_mask", "segment_ids", "positions"):
        np.save(files.setdefault(name, folder / f"{name}.npy"), getattr(packed, name))
    write_manifest(
        folder / "pack.json", stage="pack", name="made", settings={}, inputs={}, files=files, counts={},
        digests={"tokenizer": sha256_file(base / "tokenizer.json")},
    )  # fmt: skip
    held = {f.name: {"path": str(f), "bytes": f.stat().st_size, "sha256": sha256_file(f)} for f in base.iterdir()}
    told = {"stage": "download", "name": "base", "settings": {}, "files": held, "counts": {}, "revision": None}
    (folder / "base.json").write_text(json.dumps(told))
    train = yaml.safe_load((REPO / "config.yaml").read_text())["train"]
    train |= {
        "batch_size": 16, "gradient_accumulation": 1, "epochs": None, "max_steps": STEPS, "learning_rate": 1e-3,
        "warmup_steps": 2, "checkpoint_every_steps": STEPS, "adapter": {**train["adapter"], "rank": 16, "alpha": 32},
    }  # fmt: skip
    settings = {"name": "made", "seed": 42, "dtype": "float32", "max_seq_length": TOKENS, "train": train}
    found: Found = {"data": {}, "fsdp": {}}
    losses: dict[str, list[float]] = {}
    for kind, count in [("data", n) for n in DEVICES] + [("fsdp", n) for n in DEVICES[1:]]:
        out = folder / f"{kind}{count}"
        files = {
            "adapter": out / "adapter.safetensors",
            "history": out / "history.jsonl",
            "manifest": out / "made.json",
        }
        command = stage(
            "train",
            settings,
            pack=folder / "pack.json",
            base=folder / "base.json",
            work=out / "work",
            mesh=kind,
            **files,
        )
        flags = f"XLA_FLAGS=--xla_force_host_platform_device_count={count}"
        whole = measure(["env", flags, "JAX_PLATFORMS=cpu", *command])
        steps, clock = (
            [json.loads(line) for line in (out / name).read_text().splitlines()]
            for name in ("history.jsonl", "timing.jsonl")
        )
        losses[f"{kind}{count}"] = [line["loss"] for line in steps]
        apart = max(abs(a - b) / abs(b) for a, b in zip(losses[f"{kind}{count}"], losses["data1"], strict=True))
        seconds = statistics.median(line["seconds"] for line in clock[2:])
        found[kind][count] = {**whole, "seconds_a_step": seconds, "losses_apart": apart, "last_loss": steps[-1]["loss"]}
        print(f"{count} devices, {kind}: {seconds:.3f} s a step, losses {apart:.1e} apart; {_said(whole)}", flush=True)
    return found


def bars(result: Found) -> Bars:
    """What each part must hold."""
    found: Bars = []
    for kind, by_rows in result.get("rows", {}).get("found", {}).items():
        sizes = sorted(by_rows, key=int)
        if len(sizes) < 3:
            continue
        last, before = (
            (by_rows[b]["cpu_s"] - by_rows[a]["cpu_s"]) / (int(b) - int(a)) for a, b in (sizes[-2:], sizes[-3:-1])
        )
        found.append(
            (f"{kind}: CPU seconds of a further row, the last step beside the one before", last / before, 1.25, False)
        )
        found.append((f"{kind}: MB at {int(sizes[-1]):,} rows", by_rows[sizes[-1]]["memory_mb"], 300, False))
    for kind, by_sessions in result.get("sessions", {}).get("found", {}).items():
        most = max(by_sessions, key=int)
        found.append((f"{most} sessions, {kind}: CPU seconds of the plan", by_sessions[most]["cpu_s"], 15, False))
    for kind, by_devices in result.get("devices", {}).get("found", {}).items():
        apart = max(told["losses_apart"] for told in by_devices.values())
        found.append((f"devices, {kind}: losses apart from one device's", apart, 1e-5, False))
    return found


def draw(result: Found) -> None:
    """Time and memory by rows and records, on logarithmic axes."""
    import altair as alt

    values = [
        {"rows": int(count), "what": kind, "CPU seconds": told["cpu_s"], "MB of memory": told["memory_mb"]}
        for part in ("rows", "mixes")
        for kind, by_count in result[part]["found"].items()
        for count, told in by_count.items()
    ]
    names = list(dict.fromkeys(value["what"] for value in values))
    base = alt.Chart(alt.Data(values=values), width=320, height=240)
    x = alt.X("rows:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s"), title="rows of the source, or records")
    panels = [
        base.mark_line(point=True).encode(
            x=x,
            y=alt.Y(f"{field}:Q", scale=alt.Scale(type="log"), title=field),
            color=alt.Color("what:N", sort=names, title=None),
        )
        for field in ("CPU seconds", "MB of memory")
    ]
    chart = alt.hconcat(*panels).configure(background="white", font="sans-serif")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    chart.save(str(PICTURE))
    print(f"drawn: {PICTURE.relative_to(REPO)}")


def _said(told: dict[str, float]) -> str:
    return f"{told['wall_s']:.2f} s, {told['cpu_s']:.2f} CPU s, {told['memory_mb']:,.0f} MB"


PARTS = {"rows": rows, "mixes": mixes, "sessions": sessions, "devices": devices}


def main() -> None:
    """Measure what is asked for, keep the rest of the result, draw, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()))
    parser.add_argument("--only", choices=list(PARTS), nargs="+", default=list(PARTS))
    parser.add_argument("--most", type=int, default=ROWS[-1], help="rows and records at most")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    args = parser.parse_args()
    measured: Found = {}
    for name in [] if args.draw else args.only:
        folder = Path(tempfile.mkdtemp(dir=args.folder, prefix="growth-"))
        try:
            found = json.loads(json.dumps(PARTS[name](folder, args.most)))
        finally:
            shutil.rmtree(folder)
        about = {"date": str(datetime.date.today()), "commit": commit(), "load_average": os.getloadavg()}
        measured[name] = {**about, "command": " ".join(["python", *sys.argv]), "found": found}
    before = [file for file in sorted((HERE / "results").glob("*.json")) if file.stem[11:] == "growth"]
    kept = json.loads(before[-1].read_text()) if before else {}
    result = {name: {**kept, **measured}[name] for name in PARTS if name in {**kept, **measured}}
    if measured:
        for file in before:
            file.unlink()
        write("growth", result)
    if {"rows", "mixes"} <= set(result):
        draw(result)
    judge(bars(result))


if __name__ == "__main__":
    main()
