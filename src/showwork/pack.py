"""pack: a session's mix becomes memory-mapped rows of ids, every example whole, and a ledger of where each record went.

Takes   results/mix/<session>/manifest.json (train.parquet), results/download/base.json (tokenizer.json, config.json).
Leaves  results/pack/<session>/: tokens, loss_mask, segment_ids, positions (.npy, [rows, max_seq_length]),
        ledger.parquet, manifest.json with counts by source and the digests of mix, tokenizer and template.
Command python -m showwork.pack --settings JSON --mix M --base B --ledger L --tokens T --loss-mask K --segment-ids S
        --positions P --manifest OUT --threads 2
Source  tokens/packing.py (best-fit decreasing), tokens/overlong.py (what is cut), tokens/template.py (the ids).

Records are tokenized in as many threads as are given, a batch in each; the files are the same bytes at any number. Ids wait in a
file beside the outputs until the rows are known.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from showwork.foundation.files import read_json
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.schema import LEDGER
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import ParquetSink, read_rows
from showwork.tokens.base import base_folder
from showwork.tokens.fitting import joined, shortened
from showwork.tokens.overlong import OVERLONG
from showwork.tokens.packing import DTYPES, best_fit_decreasing, shuffle_bins
from showwork.tokens.spool import spooled, write_rows
from showwork.tokens.template import completion_segments, prompt_segments, template_digest
from showwork.tokens.tokenizer import Encoded, Encoder, load_encoder, one_core_a_call, tokenizer_digest

BATCH_RECORDS = 100
"""A thread holds the library's own form of a batch, about 200 bytes a token."""

COLUMNS = ["record_id", "source", "source_row", "question", "trace", "answer"]
PLACES = ("packed_row", "segment")


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
    parser.add_argument("--threads", type=int, default=1, help="cores that tokenize")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Tokenizes, fits, packs and writes.

    Raises:
      ValueError: a tokenizer of another base; overlong examples under `error`; fewer records kept than `min_kept`.
    """
    template, name = settings["template"], settings["name"]
    length = template["max_seq_length"]
    folder = base_folder(args.base)
    one_core_a_call()
    encoder = load_encoder(folder, read_json(folder / "config.json"))
    train = read_checked(args.mix, "train")

    total = read_manifest(args.mix)["counts"].get("train", 0)
    done, ledger_parts = 0, []
    by_source: dict[str, dict[str, Any]] = {}
    with spooled(args.manifest.parent) as spool:
        batches = (batch.to_pylist() for batch in read_rows(train, COLUMNS, batch_rows=BATCH_RECORDS))
        for fitted in in_threads(lambda batch: fit(batch, encoder, template, name), batches, args.threads):
            for one in fitted:
                count(one, by_source.setdefault(one.source, nothing_counted()))
                if one.example is not None:
                    spool.append(one.example.ids, one.example.trained)
            ledger_parts.append(ledger_of(fitted))
            done += len(fitted)
            say.progress(done, max(total, done), "records tokenized")
        check_kept(name, by_source, template["min_kept"])
        rows = shuffle_bins(best_fit_decreasing(spool.lengths, length), settings["seed"])
        spool.flush()
        arrays = write_rows(rows, spool, length, {name: getattr(args, name) for name in DTYPES})
        counts = totals(by_source, np.array(spool.lengths))
    with ParquetSink(args.ledger, LEDGER) as ledger:
        ledger.write(placed(pa.Table.from_batches(ledger_parts), rows))

    counts |= {"rows": len(rows), "density": round(counts["tokens"] / (len(rows) * length), 6)}
    write_manifest(
        args.manifest,
        stage="pack",
        name=name,
        settings=settings,
        inputs={"mix": args.mix, "base": args.base},
        files={**arrays, "ledger": ledger.file},
        counts=counts,
        digests={
            "mix": read_manifest(args.mix).get("digest", ""),
            "tokenizer": tokenizer_digest(folder),
            "template": template_digest(template["system_prompt"]),
            "ledger": ledger.digest,
        },
    )
    for source, mine in by_source.items():
        say(f"{source}: {said(mine)}")
    say(
        f"{counts['examples']:,} examples in {len(rows):,} rows of {length:,} tokens, {counts['density']:.1%} full; "
        f"{counts['trimmed']:,} trimmed by {counts['tokens_cut']:,} tokens, {counts['dropped']:,} records dropped"
    )


def in_threads(
    function: Callable[[list[dict[str, Any]]], list[Fitted]], batches: Iterable[list[dict[str, Any]]], threads: int
) -> Iterator[list[Fitted]]:
    """What `function` makes of each batch, in their order; one batch more than there are threads is under way.

    Threads are enough because the tokenizer works outside Python's lock.
    """
    under_way: deque[Future[list[Fitted]]] = deque()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        try:
            for batch in batches:
                under_way.append(pool.submit(function, batch))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def fit(records: list[dict[str, Any]], encoder: Encoder, template: dict[str, Any], name: str) -> list[Fitted]:
    """One Fitted per record, in order; overlong ones trimmed, dropped or refused as the template says.

    Raises:
      ValueError: `overlong: error` and a record that does not fit.
    """
    room, system = template["max_seq_length"], template["system_prompt"]
    prompts = encoder.encode_many([prompt_segments(system, r["question"]) for r in records])
    completions = encoder.encode_many([completion_segments(r["trace"], r["answer"]) for r in records])
    fitted = []
    for record, prompt, completion in zip(records, prompts, completions, strict=True):
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
        fitted.append(Fitted(record["record_id"], record["source"], record["source_row"], example, cut, reason))
    return fitted


def nothing_counted() -> dict[str, Any]:
    """A source before its first record."""
    sums = ("records", "kept", "whole", "trimmed", "tokens", "loss_tokens", "tokens_cut", "control_strings_neutralized")
    return {**dict.fromkeys(sums, 0), "dropped": Counter()}


def count(one: Fitted, source: dict[str, Any]) -> None:
    """Adds one record to the counts of its source."""
    source["records"] += 1
    if one.example is None:
        source["dropped"][one.reason] += 1
        return
    source["kept"] += 1
    source["trimmed" if one.tokens_cut else "whole"] += 1
    source["tokens"] += len(one.example)
    source["loss_tokens"] += int(np.count_nonzero(one.example.trained))
    source["tokens_cut"] += one.tokens_cut
    source["control_strings_neutralized"] += one.example.num_neutralized


def totals(by_source: dict[str, dict[str, Any]], lengths: np.ndarray) -> dict[str, Any]:
    """The counts of all sources, those of each, and percentiles of `lengths` [n], the tokens of an example."""
    sums = ("records", "trimmed", "tokens", "loss_tokens", "tokens_cut", "control_strings_neutralized")
    found = {key: sum(source[key] for source in by_source.values()) for key in sums}
    kept, ordered = len(lengths), np.sort(lengths)
    return found | {
        "examples": kept,
        "dropped": found["records"] - kept,
        "by_source": by_source,
        "example_tokens": {f"p{p}": int(ordered[(kept - 1) * p // 100]) for p in (0, 10, 50, 90, 100)},
    }


def said(source: dict[str, Any]) -> str:
    """The counts of one source as a sentence."""
    dropped = ", ".join(f"{reason} {number:,}" for reason, number in sorted(source["dropped"].items()))
    return (
        f"{source['records']:,} records: {source['whole']:,} whole, {source['trimmed']:,} trimmed by "
        f"{source['tokens_cut']:,} tokens, {source['records'] - source['kept']:,} dropped"
        + (f" ({dropped})" if dropped else "")
    )


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


def ledger_of(fitted: Sequence[Fitted]) -> pa.RecordBatch:
    """Some lines of the ledger, before anybody knows the rows."""
    lines = [
        {
            "record_id": one.record_id,
            "source": one.source,
            "source_row": one.source_row,
            "num_tokens": len(one.example) if one.example is not None else 0,
            "tokens_cut": one.tokens_cut,
            "reason": one.reason,
        }
        for one in fitted
    ]
    return pa.RecordBatch.from_pylist(lines, pa.schema([field for field in LEDGER if field.name not in PLACES]))


def placed(ledger: pa.Table, rows: Sequence[Sequence[int]]) -> pa.Table:
    """The ledger with each record's packed row and segment; both are -1 for a record that was dropped."""
    kept = np.flatnonzero(ledger["num_tokens"].to_numpy())
    where = np.full((2, len(ledger)), -1, np.int32)
    for row, members in enumerate(rows):
        where[:, kept[members]] = np.full(len(members), row), np.arange(1, len(members) + 1)
    for name, column in zip(PLACES, where, strict=True):
        ledger = ledger.append_column(LEDGER.field(name), pa.array(column))
    return ledger.select(LEDGER.names)


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
