"""Joins one session's samples: no duplicates, nothing held out, nothing an earlier session saw, shuffled by a seed.

Takes:  the records of the session's samples, the mixes of the sessions before it, the held-out prompts, the user's own questions
        (evaluate.questions).
Leaves: results/mix/<session>/train.parquet (the records in training order), removed.parquet (every other record, why, and what it
        repeats), disjoint.json (the certificate, from the written file), manifest.json with the provenance tree.

    python -m showwork.mix --settings JSON --records results/standardize/a.json … --earlier results/mix/session1/manifest.json …
        --heldout results/heldout/prompts.json --train … --removed … --disjoint … --manifest …

Records in = train + removed. Equal records, and equal questions with equal answers, are duplicates always; near duplicates by
MinHash and exact Jaccard (records/duplicates.py) above the threshold; a record that holds a good part of an evaluation question,
the user's own among them, is contaminated (records/contamination.py). The order is that of a hash of seed and record id.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from showwork.foundation.files import write_json
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.overlap import Behind, ahead
from showwork.foundation.schema import RECORD
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import ParquetSink, read_rows, text_views
from showwork.records import tree
from showwork.records.certificate import KINDS, certificate
from showwork.records.contamination import Contamination
from showwork.records.ids import order_keys, question_id
from showwork.records.keeping import Earlier, Exact
from showwork.records.near import NearSearch, texts_of
from showwork.records.questions import all_questions
from showwork.records.shuffle import Shuffle
from showwork.records.words import hashed

REMOVED = pa.schema(
    [
        ("sample", pa.string()), ("source", pa.string()), ("source_row", pa.int64()), ("row_id", pa.string()),
        ("record_id", pa.string()), ("question_id", pa.string()), ("reason", pa.string()), ("duplicate_of", pa.string()),
        ("similarity", pa.float64()),
    ]
)  # fmt: skip
"""One record that is not trained on. `duplicate_of` is the id of the record that it repeats, of the prompt whose question it
holds, or `<file>:<id>` of such a question of the user's own; "" where there is none; `similarity` is the Jaccard similarity, or the share of the question that it holds."""

BATCH_ROWS = 500
"""Records looked at a time: more is no faster and holds more texts in memory."""
AT_ONCE = 100
"""Texts hashed at a time: what they need stays in the processor's cache."""
IDS = ("source", "source_row", "row_id", "record_id", "question_id")
Settings = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument(
        "--records", type=Path, nargs="+", required=True, help="manifests of the session's samples, in its order"
    )
    parser.add_argument(
        "--earlier", type=Path, nargs="*", default=[], help="manifests of the mixes of earlier sessions"
    )
    parser.add_argument("--heldout", type=Path, required=True, help="manifest of the held-out prompts")
    parser.add_argument("--train", type=Path, required=True, help="parquet to write: the records in training order")
    parser.add_argument("--removed", type=Path, required=True, help="parquet to write: the records removed")
    parser.add_argument("--disjoint", type=Path, required=True, help="certificate to write")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Join, remove, shuffle, certify.

    Raises: ValueError when no record is left, or a source's licence is not allowed.
    """
    allow(settings, say)
    samples = {m["name"]: (m, path) for path in args.records for m in [read_manifest(path)]}
    with ThreadPoolExecutor(2) as pool:  # hashing lets go of the interpreter
        checked = pool.map(lambda path: read_checked(path, "records"), (path for _, path in samples.values()))
        files = dict(zip(samples, checked, strict=True))
    prompts = read_checked(args.heldout, "prompts")
    before = {read_manifest(path)["name"]: read_checked(path, "train") for path in args.earlier}
    own = [(f"{name}:{q.id}", q.question) for name, q in all_questions(settings.get("questions", {}))]
    own_ids = {question_id(question): name for name, question in reversed(own)}
    rules = _rules(settings["share"], prompts, before, own_ids)
    looks = Looks(settings["duplicates"], prompts, before, own)
    removed: dict[str, Counter[str]] = defaultdict(Counter)
    total, looked_at = sum(m["counts"]["records"] for m, _ in samples.values()), 0
    with (
        ParquetSink(args.train, RECORD) as train,
        ParquetSink(args.removed, REMOVED) as out,
        Shuffle(args.train.parent, RECORD, sum(_unpacked_bytes(f) for f in files.values())) as shuffle,
    ):
        with Behind(depth=1) as later:
            for name, file in files.items():
                for batch in ahead(read_rows(file, batch_rows=BATCH_ROWS), depth=2):
                    kept, ids = _exactly_new(name, batch, rules, out, removed[name])
                    looks.add(name, file, batch, kept)
                    later(shuffle.add, batch, kept, order_keys(settings["seed"], ids))
                    say.progress(looked_at := looked_at + batch.num_rows, total, "records looked at")
        found = looks.found()
        with Behind(depth=1) as later:
            for table in shuffle.tables():
                later(train.write, _without(found, table, out, removed))
        if not train.rows:
            raise ValueError(
                f"mix {settings['name']!r}: none of {total:,} records is left, "
                f"{', '.join(f'{r} {n:,}' for r, n in sum(removed.values(), Counter()).most_common())}; "
                "give the session other samples or raise mix.threshold"
            )
    reasons = sum(removed.values(), Counter())
    branches = {name: tree.branch(m, removed[name]) for name, (m, _) in samples.items()}
    _certify(args, settings, before, prompts, reasons, own_ids)
    drawn = tree.lines(settings["name"], branches)
    write_manifest(
        args.manifest,
        stage="mix",
        name=settings["name"],
        settings=settings,
        inputs={**{n: p for n, (_, p) in samples.items()}, "heldout": args.heldout, **_named(args.earlier)},
        files={"train": train.file, "removed": out.file, "disjoint": args.disjoint},
        counts={"records": total, "train": train.rows, "removed": dict(sorted(reasons.items())), "samples": branches},
        digest=train.digest,
        tree=drawn,
        **looks.report(),
    )
    for line in drawn:
        say(line)


class Looks:
    """The two searches that look into texts: for what repeats another nearly, and for what holds an evaluation question.

    Words are hashed once for both. A contaminated record is gone, so nothing is removed as a repeat of it.
    """

    def __init__(
        self, asked: Settings, prompts: Path, before: dict[str, Path], own: Sequence[tuple[str, str]] = ()
    ) -> None:
        """`own` are the user's own questions: (name, question)."""
        self._samples: dict[str, str] = {}
        self._near = NearSearch(asked["threshold"]) if asked["near"] else None
        self._contamination = None
        if asked["decontamination"] is not None:
            asked_of_all = zip(_column(prompts, "record_id"), _column(prompts, "question"), strict=True)
            self._contamination = Contamination(asked["decontamination"], [*asked_of_all, *own])
        if self._near:
            self._near.refer("near_held_out", prompts)
            for file in before.values():
                self._near.refer("near_earlier", file)

    def add(self, sample: str, file: Path, batch: pa.RecordBatch, rows: np.ndarray) -> None:
        """Look at the records of a sample that stand at `rows`, int [n], of a batch; they lie in `file`."""
        if not (self._near or self._contamination):
            return
        batch = batch.take(pa.array(rows))
        for start in range(0, batch.num_rows, AT_ONCE):
            part = batch.slice(start, AT_ONCE)
            ids, words = part.column("record_id").to_pylist(), hashed(texts_of(part))
            if self._contamination:
                self._samples.update(dict.fromkeys(self._contamination.add(ids, words), sample))
            if self._near:
                self._near.add(sample, file, ids, words)

    def found(self) -> dict[str, dict[str, Any]]:
        """{record id: sample, reason, duplicate_of, similarity} of every record to remove."""
        held = self._contamination.found() if self._contamination else {}
        contaminated = {
            name: {"sample": self._samples[name], "reason": "contaminated", "duplicate_of": hit.prompt, "similarity": hit.share}
            for name, hit in held.items()
        }  # fmt: skip
        return {**(self._near.found(held) if self._near else {}), **contaminated}

    def report(self) -> dict[str, Any]:
        """How each search was made and what it looked at, for the manifest; null where there was none."""
        return {
            "duplicates": self._near.report() if self._near else None,
            "decontamination": self._contamination.report() if self._contamination else None,
        }


def allow(settings: Settings, say: Say) -> None:
    """Say what is noted beside a licence.

    Raises: ValueError when a source's licence is not on the list.
    """
    for source, entry in settings["licenses"].items():
        if entry["license"] not in settings["allowed"]:
            raise ValueError(
                f"mix {settings['name']!r}: source {source!r} is under {entry['license']!r} but mix.licenses allows "
                f"{', '.join(settings['allowed'])}; add {entry['license']} there if you may use it, or leave its samples out"
            )
        if entry.get("note"):
            say(f"note on the licence of {source} ({entry['license']}): {entry['note']}")


def _rules(share: float, prompts: Path, before: dict[str, Path], own: dict[str, str]) -> Exact:
    earlier = Earlier()
    for file in before.values():
        for batch in read_rows(file, ["row_id", "record_id", "question_id"], batch_rows=10_000):
            earlier.add(*(column.to_pylist() for column in batch.columns))
    return Exact(share, _column(prompts, "prompt_id"), earlier, own)


def _exactly_new(
    sample: str, batch: pa.RecordBatch, rules: Exact, out: ParquetSink, removed: Counter[str]
) -> tuple[np.ndarray, list[str]]:
    """int64[n] places and the ids of the records that no exact rule removes; the others are written to `out`."""
    names, questions, row_ids = (batch.column(name).to_pylist() for name in ("record_id", "question_id", "row_id"))
    verdicts = rules(names, questions, row_ids, text_views(batch.column("answer")))
    gone = [i for i, (reason, _) in enumerate(verdicts) if reason]
    if gone:
        rows = batch.select(IDS).take(pa.array(gone, pa.int64())).to_pylist()
        out.write(
            [
                {**row, "sample": sample, "reason": verdicts[i][0], "duplicate_of": verdicts[i][1], "similarity": None}
                for i, row in zip(gone, rows, strict=True)
            ]
        )
        removed.update(verdicts[i][0] for i in gone)
    kept = [i for i, (reason, _) in enumerate(verdicts) if not reason]
    return np.array(kept, np.int64), [names[i] for i in kept]


def _without(
    found: dict[str, dict[str, Any]], table: pa.Table, out: ParquetSink, removed: dict[str, Counter[str]]
) -> pa.Table:
    """The table without the records `found`, which are written to `out`."""
    ids = table.column("record_id").to_pylist()
    gone = [i for i, name in enumerate(ids) if name in found]
    if not gone:
        return table
    rows = table.select(IDS).take(pa.array(gone)).to_pylist()
    out.write([{**row, **found[row["record_id"]]} for row in rows])
    for row in rows:
        why = found[row["record_id"]]
        removed[why["sample"]][why["reason"]] += 1
    return table.filter(pa.array([name not in found for name in ids]))


def _certify(
    args: argparse.Namespace,
    settings: Settings,
    before: dict[str, Path],
    prompts: Path,
    reasons: Counter[str],
    own: Iterable[str],
) -> None:
    """Write the certificate from what the files hold."""
    proof = certificate(
        settings["name"],
        _ids(args.train),
        {name: _ids(file) for name, file in before.items()},
        set(_column(prompts, "prompt_id")),
        settings["share"],
        reasons,
        own,
    )
    write_json(args.disjoint, proof)


def _ids(file: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for batch in read_rows(file, KINDS, batch_rows=10_000):
        for kind in KINDS:
            found[kind].update(batch.column(kind).to_pylist())
    return found


def _column(file: Path, name: str) -> Iterator[str]:
    for batch in read_rows(file, [name], batch_rows=10_000):
        yield from batch.column(0).to_pylist()


def _unpacked_bytes(file: Path) -> int:
    footer = pq.read_metadata(file)
    return sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))


def _named(manifests: Sequence[Path]) -> dict[str, Path]:
    return {f"earlier {read_manifest(path)['name']}": path for path in manifests}


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
