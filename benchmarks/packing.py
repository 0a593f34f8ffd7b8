"""Packing 123,000 examples of the mix's lengths against TRL's packer, and tokenizing and packing records against datasets and TRL.

Takes:  a folder to work in; the peers' environment (`make peers`).
Leaves: tables and benchmarks/results/<date>-{packing,tokenize-pack}.json; exit status 1 below the bars.

    python benchmarks/packing.py work/benchmark --rounds 3 [--only packing] [--records 20000]

Packing: the same tokenized examples, from an Arrow file as datasets leaves it to packed rows on disk, best fit decreasing on both
sides. Ours writes four arrays (tokens, mask, segments, positions: 13 bytes a place), hashes and flushes them; TRL's writes ids,
labels and lengths (8 bytes a token). The bar is on the packing alone, without the start of Python and its imports, against TRL
as SFTTrainer calls it (1,000 examples at a time) and with all examples at once, which fills as well as ours.

Tokenizing: the whole pack stage on two threads (reading checked, a ledger, counts by source, digests) against datasets.map in
two processes with the same tokenizer and TRL's packer; the tokens packed must be as many. Nothing is overlong on either side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from packing_data import LENGTH, mix_lengths, write_base, write_examples, write_mix
from race import HERE, judge, peer, race, stage

EXAMPLES = 123_000
THREADS = 2
Bars = list[tuple[str, float, float, bool]]


def packing(out: Path, rounds: int, records: int) -> Bars:
    """Tokenized examples into rows."""
    del records
    source, took = out / "examples.arrow", out / "took.jsonl"
    lengths = mix_lengths(EXAMPLES)
    write_examples(source, lengths)
    script = ["pack_examples.py", source, out, LENGTH, took]
    default, whole, ours = "trl, 1,000 at a time", "trl, all at once", "showwork"
    contestants = {
        default: peer("trl_pack.py", source, out / "peer.arrow", LENGTH, 1000, took),
        whole: peer("trl_pack.py", source, out / "peer.arrow", LENGTH, 0, took),
        ours: [sys.executable, str(HERE / script[0]), *map(str, script[1:])],
    }
    facts = {"examples": EXAMPLES, "mean_tokens": float(lengths.mean()), "row_length": LENGTH}
    result = race("packing", contestants, rounds=rounds, facts=lambda: {**facts, "packing_alone": alone(took)})
    found = result["facts"]["packing_alone"]
    bars: Bars = [(f"packing: density, {ours}", found[ours]["density"], 0.985, True)]
    for other in (default, whole):
        bars += [
            (f"packing: times faster than {other} by {kind}", ratio(found, other, ours, key), 1.0, True)
            for kind, key in (("the clock", "pack_s"), ("CPU", "pack_cpu_s"))
        ]
    return bars


def tokenizing(out: Path, rounds: int, records: int) -> Bars:
    """Records into rows."""
    base = write_base(out / "base")
    template = {
        "system_prompt": "Think. Show work.", "max_seq_length": LENGTH, "overlong": "trim", "min_trace_tokens": 64,
        "min_kept": 1.0,
    }  # fmt: skip
    mix = write_mix(out / "mix", base, template["system_prompt"], mix_lengths(records))
    took, packed = out / "took.jsonl", out / "packed"
    theirs = peer(
        "trl_tokenize_pack.py", mix.parent / "train.parquet", out / "base/tokenizer.json", template["system_prompt"],
        out / "peer.arrow", out / "cache", LENGTH, THREADS, took,
    )  # fmt: skip
    names = ("tokens", "loss_mask", "segment_ids", "positions")
    files = {name.replace("_", "-"): packed / f"{name}.npy" for name in names}
    contestants = {
        "datasets + trl": ["bash", "-c", f'rm -rf "{out}/cache"; exec "$@"', "bash", *theirs],
        "showwork.pack": stage(
            "pack", {"name": "s", "seed": 42, "template": template}, mix=mix, base=base, **files,
            ledger=packed / "ledger.parquet", manifest=packed / "manifest.json", threads=THREADS,
        ),
    }  # fmt: skip

    def facts() -> dict[str, Any]:
        ours, other = json.loads((packed / "manifest.json").read_text())["counts"], lines(took)[-1]
        if ours["tokens"] != other["tokens"]:
            raise SystemExit(f"ours packed {ours['tokens']:,} tokens, the peer {other['tokens']:,}")
        density = {"showwork.pack": ours["density"], "datasets + trl": other["density"]}
        return {"records": records, "tokens": ours["tokens"], "rows": ours["rows"], "density": density}

    result = race("tokenize-pack", contestants, rounds=rounds, facts=facts)
    mine, peers = (result["contestants"][name] for name in ("showwork.pack", "datasets + trl"))
    memory = mine["median"]["memory_mb"] / peers["median"]["memory_mb"]
    return [
        ("tokenize and pack: times faster", mine["times_faster"]["wall_s"], 1.0, True),
        ("tokenize and pack: density", result["facts"]["density"]["showwork.pack"], 0.985, True),
        ("tokenize and pack: share of the peer's memory", memory, 1.0, False),
    ]


def lines(file: Path) -> list[dict[str, Any]]:
    """What the contestants say of themselves, a line a run."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def alone(took: Path) -> dict[str, dict[str, Any]]:
    """For each packer: density, rows, and the seconds of its calls, one a round."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines(took):
        entry = found.setdefault(line["packer"], {"rows": line["rows"], "density": line["density"]})
        for key in line.keys() - {"packer", "rows", "density"}:
            entry.setdefault(key, []).append(line[key])
    return found


def ratio(found: dict[str, dict[str, Any]], other: str, ours: str, key: str) -> float:
    """The median over the rounds of how many times longer the other took."""
    return statistics.median(b / a for a, b in zip(found[ours][key], found[other][key], strict=True))


RACES = {"packing": packing, "tokenizing": tokenizing}


def main() -> None:
    """Race, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=20_000, help="of the race with tokenizing")
    parser.add_argument("--only", choices=list(RACES))
    args = parser.parse_args()
    found: Bars = []
    for name, run in RACES.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory(dir=args.folder) as out:
                found += run(Path(out).resolve(), args.rounds, args.records)
    judge(found)


if __name__ == "__main__":
    main()
