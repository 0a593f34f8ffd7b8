"""pack: a session's mix becomes memory-mapped rows of ids, every example whole, and a ledger of where each record went.

Takes   results/mix/<session>/manifest.json (train.parquet), results/download/base.json (tokenizer.json, config.json).
Leaves  results/pack/<session>/: tokens, loss_mask, segment_ids, positions (.npy, [rows, max_seq_length]),
        ledger.parquet, manifest.json with counts by source and the digests of mix, tokenizer and template.
Command python -m showwork.pack --settings JSON --mix M --base B --ledger L --tokens T --loss-mask K --segment-ids S
        --positions P --manifest OUT
Source  tokens/packing.py (best-fit decreasing), tokens/overlong.py (what is cut), tokens/template.py (the ids).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from showwork.foundation.files import atomic, read_json
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.schema import LEDGER
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import ParquetSink, read_rows
from showwork.tokens.base import base_folder
from showwork.tokens.fitting import joined, shortened
from showwork.tokens.overlong import OVERLONG
from showwork.tokens.packing import DTYPES, PackedArrays, best_fit_decreasing, pack, shuffle_bins
from showwork.tokens.template import completion_segments, prompt_segments, template_digest
from showwork.tokens.tokenizer import Encoded, Encoder, load_encoder, tokenizer_digest

BATCH_RECORDS = 2000


@dataclass
class Fitted:
    """What became of one record: its example, or the reason why there is none."""

    record_id: str
    source: str
    source_row: int
    example: Encoded | None
    tokens_cut: int
    reason: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command line beside --settings and --log."""
    for name in ("mix", "base"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"manifest of the {name}")
    for name in ("ledger", *DTYPES, "manifest"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True)


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Tokenizes, fits, packs and writes.

    Raises:
      ValueError: a tokenizer of another base; overlong examples under `error`; fewer records kept than `min_kept`.
    """
    template = settings["template"]
    length = template["max_seq_length"]
    folder = base_folder(args.base)
    encoder = load_encoder(folder, read_json(folder / "config.json"))
    train = read_checked(args.mix, "train")

    total = read_manifest(args.mix)["counts"].get("train", 0)
    fitted: list[Fitted] = []
    for batch in read_rows(
        train, ["record_id", "source", "source_row", "question", "trace", "answer"], batch_rows=BATCH_RECORDS
    ):
        fitted += fit(batch.to_pylist(), encoder, template, settings["name"])
        say.progress(len(fitted), max(total, len(fitted)), "records tokenized")
    counts = count(fitted)
    check_kept(settings["name"], counts["by_source"], template["min_kept"])

    kept = [i for i, one in enumerate(fitted) if one.example is not None]
    examples = [one.example for one in fitted if one.example is not None]
    rows = shuffle_bins(best_fit_decreasing([len(e) for e in examples], length), settings["seed"])
    paths = {name: getattr(args, name) for name in DTYPES}
    with written(paths, (len(rows), length)) as arrays:
        pack(rows, [e.ids for e in examples], [e.trained for e in examples], arrays)
    places = {kept[e]: (row, segment) for row, members in enumerate(rows) for segment, e in enumerate(members, start=1)}
    with ParquetSink(args.ledger, LEDGER) as ledger:
        ledger.write([ledger_row(one, *places.get(i, (-1, -1))) for i, one in enumerate(fitted)])

    counts |= {"rows": len(rows), "density": round(counts["tokens"] / (len(rows) * length), 6)}
    write_manifest(
        args.manifest,
        stage="pack",
        name=settings["name"],
        settings=settings,
        inputs={"mix": args.mix, "base": args.base},
        files=paths | {"ledger": args.ledger},
        counts=counts,
        digests={
            "mix": read_manifest(args.mix).get("digest", ""),
            "tokenizer": tokenizer_digest(folder),
            "template": template_digest(template["system_prompt"]),
            "ledger": ledger.digest,
        },
    )
    say(
        f"{counts['examples']:,} examples in {len(rows):,} rows of {length:,} tokens, {counts['density']:.1%} full; "
        f"{counts['trimmed']:,} trimmed by {counts['tokens_cut']:,} tokens, {counts['dropped']:,} records dropped"
    )


def fit(records: list[dict[str, Any]], encoder: Encoder, template: dict[str, Any], name: str) -> list[Fitted]:
    """One Fitted per record, in order; overlong ones trimmed, dropped or refused as the template says.

    Raises:
      ValueError: `overlong: error` and a record that does not fit.
    """
    room, system = template["max_seq_length"], template["system_prompt"]
    prompts = encoder.encode_many([prompt_segments(system, r["question"]) for r in records])
    completions = encoder.encode_many([completion_segments(r["trace"], r["answer"]) for r in records])

    def one(number: int) -> Fitted:
        record, prompt, completion = records[number], prompts[number], completions[number]
        whole = joined(prompt, completion)
        example: Encoded | None = whole
        cut, reason = 0, ""
        if len(whole) > room:
            if template["overlong"] == "error":
                raise ValueError(
                    f"pack {name!r}: record {record['record_id']} (source {record['source']!r}, row "
                    f"{record['source_row']}) has {len(whole):,} tokens but template.max_seq_length is {room:,} and "
                    "template.overlong is 'error'; raise max_seq_length or choose trim or drop"
                )
            example, reason = (
                (None, OVERLONG) if template["overlong"] == "drop" else shortened(record, prompt, encoder, template)
            )
            cut = len(whole) - len(example) if example is not None else 0
        return Fitted(record["record_id"], record["source"], record["source_row"], example, cut, reason)

    # Threads help because the tokenizer works outside Python's lock; map keeps the records' order.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(one, range(len(records))))


def count(fitted: list[Fitted]) -> dict[str, Any]:
    """Totals, and for each source: records, kept, whole, trimmed, tokens, tokens_cut, dropped by reason."""
    by_source: dict[str, dict[str, Any]] = {}
    for one in fitted:
        source = by_source.setdefault(
            one.source,
            {"records": 0, "kept": 0, "whole": 0, "trimmed": 0, "tokens": 0, "loss_tokens": 0, "tokens_cut": 0,
             "control_strings_neutralized": 0, "dropped": Counter()},
        )  # fmt: skip
        source["records"] += 1
        if one.example is None:
            source["dropped"][one.reason] += 1
            continue
        source["kept"] += 1
        source["trimmed" if one.tokens_cut else "whole"] += 1
        source["tokens"] += len(one.example)
        source["loss_tokens"] += int(one.example.trained.sum())
        source["tokens_cut"] += one.tokens_cut
        source["control_strings_neutralized"] += one.example.num_neutralized
    sums = ("records", "trimmed", "tokens", "loss_tokens", "tokens_cut", "control_strings_neutralized")
    totals = {key: sum(source[key] for source in by_source.values()) for key in sums}
    kept = sum(source["kept"] for source in by_source.values())
    lengths = sorted(len(one.example) for one in fitted if one.example is not None)
    return totals | {
        "examples": kept,
        "dropped": totals["records"] - kept,
        "by_source": by_source,
        "example_tokens": {f"p{p}": lengths[(len(lengths) - 1) * p // 100] for p in (0, 10, 50, 90, 100)}
        if lengths
        else {},
    }


def check_kept(name: str, by_source: dict[str, dict[str, Any]], min_kept: float) -> None:
    """Refuses a mix of which too little is left.

    Raises:
      ValueError: no record at all, or a source of which less than `min_kept` fits.
    """
    if not by_source:
        raise ValueError(
            f"pack {name!r}: the mix has no records but at least 1 is needed; look at the counts in the mix's manifest "
            "and relax what dropped them"
        )
    for source, counts in by_source.items():
        share = counts["kept"] / counts["records"]
        if share < min_kept or not counts["kept"]:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts["dropped"].items()))
            raise ValueError(
                f"pack {name!r}: source {source!r}: {counts['kept']:,} of {counts['records']:,} records fit "
                f"({share:.1%}) but template.min_kept is {min_kept:g}; dropped: {reasons}. "
                "Raise template.max_seq_length, or lower min_kept or min_trace_tokens"
            )


def ledger_row(one: Fitted, row: int, segment: int) -> dict[str, Any]:
    """One line of the ledger; row and segment are -1 for a record that was dropped."""
    return {
        "record_id": one.record_id,
        "source": one.source,
        "source_row": one.source_row,
        "packed_row": row,
        "segment": segment,
        "num_tokens": len(one.example) if one.example is not None else 0,
        "tokens_cut": one.tokens_cut,
        "reason": one.reason,
    }


@contextlib.contextmanager
def written(paths: dict[str, Path], shape: tuple[int, int]) -> Iterator[PackedArrays]:
    """Four memory-mapped npy files of zeros to fill; they take their names together, and only if nothing failed.

    Their room on the disk is taken first: a store to a mapped page that finds none would kill the process (SIGBUS).

    Raises:
      OSError: a full disk, with the file's name.
    """
    with contextlib.ExitStack() as stack:
        arrays = {}
        for name, path in paths.items():
            temporary = stack.enter_context(atomic(path))
            arrays[name] = np.lib.format.open_memmap(temporary, mode="w+", dtype=DTYPES[name], shape=shape)
            with temporary.open("r+b") as f:
                os.posix_fallocate(f.fileno(), 0, os.fstat(f.fileno()).st_size)
        yield PackedArrays(**arrays)
        for array in arrays.values():
            array.flush()


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
