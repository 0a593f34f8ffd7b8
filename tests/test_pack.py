from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_base import CONTROL, tiny_tokenizer, write_base

from showwork import pack
from showwork.foundation.files import sha256_file
from showwork.foundation.manifest import read_manifest, write_manifest
from showwork.foundation.schema import RECORD
from showwork.foundation.stage import run_stage
from showwork.foundation.tables import ParquetSink
from showwork.tokens.packing import DTYPES
from showwork.tokens.template import completion_segments, prompt_segments
from showwork.tokens.tokenizer import Encoder

TEMPLATE = {
    "system_prompt": "Think.",
    "max_seq_length": 160,
    "overlong": "trim",
    "min_trace_tokens": 8,
    "min_kept": 0.5,
}


def record(
    number: int, source: str = "a", trace: str = "One. Two.", answer: str = "3", question: str = "How many?"
) -> dict:
    return {
        "record_id": f"{number:032x}", "question_id": f"{number:032x}", "source": source, "source_row": number,
        "row_id": f"{number:032x}", "question": question, "trace": trace, "answer": answer,
    }  # fmt: skip


def prepare(folder: Path, records: list[dict]) -> None:
    mix = folder / "results/mix/s"
    with ParquetSink(mix / "train.parquet", RECORD) as sink:
        sink.write(records)
    write_manifest(
        mix / "manifest.json", stage="mix", name="s", settings={}, inputs={}, files={"train": mix / "train.parquet"},
        counts={"train": len(records)}, digest=sink.digest,
    )  # fmt: skip
    base = write_base(folder / "base")
    files = {
        f.name: {"path": f"base/{f.name}", "bytes": f.stat().st_size, "sha256": sha256_file(f), "rows": None}
        for f in sorted(base.iterdir())
    }
    (folder / "results/download").mkdir(parents=True)
    manifest = {"stage": "download", "name": "base", "settings": {}, "files": files, "counts": {}, "revision": None}
    (folder / "results/download/base.json").write_text(json.dumps(manifest))


def run(template: dict | None = None, out: str = "results/pack/s", seed: int = 1, threads: int = 1) -> int:
    settings = {"name": "s", "seed": seed, "template": TEMPLATE | (template or {})}
    argv = [
        "--settings",
        json.dumps(settings),
        "--mix",
        "results/mix/s/manifest.json",
        "--base",
        "results/download/base.json",
    ]
    argv += ["--ledger", f"{out}/ledger.parquet", "--manifest", f"{out}/manifest.json", "--threads", str(threads)]
    for name in ("tokens", "loss_mask", "segment_ids", "positions"):
        argv += [f"--{name.replace('_', '-')}", f"{out}/{name}.npy"]
    return run_stage(pack.work, pack.arguments, pack.__doc__, argv)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")  # the stage changes it: put back after each test
    return tmp_path


LONG = "First.\n\n" + "".join(f"Paragraph number {i}.\n\n" for i in range(20)) + "Last."


def test_every_record_is_in_the_ledger_and_kept_ones_are_whole_in_their_row(folder):
    prepare(
        folder,
        [record(i, "ab"[i % 2], trace=f"Step {i}. " * (i % 4 + 1)) for i in range(12)] + [record(12, trace=LONG)],
    )
    assert run() == 0
    tokens, mask, segments, positions = (
        np.load(f"results/pack/s/{name}.npy", mmap_mode="r")
        for name in ("tokens", "loss_mask", "segment_ids", "positions")
    )
    counts = read_manifest("results/pack/s/manifest.json")["counts"]
    ledger = pq.read_table("results/pack/s/ledger.parquet").to_pylist()
    assert [line["record_id"] for line in ledger] == [f"{i:032x}" for i in range(13)]
    for line in ledger:
        inside = segments[line["packed_row"]] == line["segment"]
        ids = tokens[line["packed_row"]][inside]
        assert inside.sum() == line["num_tokens"]
        assert ids[0] == 2
        assert (ids == 2).sum() == 1
        assert ids[-1] == 107
        assert mask[line["packed_row"]][inside][-1] == 1
        assert positions[line["packed_row"]][inside].tolist() == list(range(len(ids)))
    assert counts["rows"] == len(tokens)
    assert tokens.shape[1] == 160
    assert counts["tokens"] == (segments > 0).sum()
    assert counts["loss_tokens"] == mask.sum()
    assert not mask[segments == 0].any()
    assert ledger[12]["tokens_cut"] > 0
    assert counts["by_source"]["a"]["trimmed"] == 1
    assert counts["by_source"]["a"]["kept"] == 7
    assert counts["by_source"]["b"]["kept"] == 6


FILES = ("tokens.npy", "loss_mask.npy", "segment_ids.npy", "positions.npy", "ledger.parquet", "manifest.json")


def test_the_same_mix_packs_to_the_same_bytes_at_any_number_of_threads(folder, monkeypatch):
    monkeypatch.setattr(pack, "BATCH_RECORDS", 3)
    traces = [LONG if i % 5 == 4 else f"Step {i}. " * (i % 4 + 1) for i in range(40)]
    prepare(folder, [record(i, "ab"[i % 2], trace=trace) for i, trace in enumerate(traces)])
    for out, threads in (("one", 1), ("again", 1), ("two", 2), ("eight", 8)):
        assert run(out=out, threads=threads) == 0
        assert [sha256_file(f"{out}/{name}") for name in FILES] == [sha256_file(f"one/{name}") for name in FILES]
    assert read_manifest("one/manifest.json")["counts"]["trimmed"] == 8
    monkeypatch.setattr(pack, "BATCH_RECORDS", 2000)
    assert run(out="whole") == 0
    assert sha256_file("whole/manifest.json") == sha256_file("one/manifest.json")
    assert run(out="three", seed=2) == 0
    assert sha256_file("one/tokens.npy") != sha256_file("three/tokens.npy")


def test_threads_are_as_many_as_the_rule_is_given_and_no_more(folder, monkeypatch):
    prepare(folder, [record(i) for i in range(12)])
    monkeypatch.setattr(pack, "BATCH_RECORDS", 1)
    seen, together, fit = set(), threading.Barrier(3, timeout=20), pack.fit

    def watched(records, *rest):
        seen.add(threading.get_ident())
        together.wait()  # three batches are in work at once, or this breaks
        return fit(records, *rest)

    monkeypatch.setattr(pack, "fit", watched)
    assert run(threads=3) == 0
    assert len(seen) == 3
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_nothing_of_the_waiting_ids_is_left_and_errors_leave_no_file(folder, capsys):
    prepare(folder, [record(0), record(1, trace=LONG)])
    assert run({"overlong": "error"}, threads=2) == 1
    assert list(Path("results/pack/s").iterdir()) == []
    assert run(threads=2) == 0
    assert sorted(f.name for f in Path("results/pack/s").iterdir()) == sorted(FILES)
    assert "error: pack 's': record" in capsys.readouterr().err


def test_the_manifest_holds_the_digests_that_training_checks(folder):
    prepare(folder, [record(0)])
    assert run(out="one") == 0 == run({"system_prompt": "Other."}, out="two")
    one, two = (read_manifest(f"{n}/manifest.json")["digests"] for n in ("one", "two"))
    assert one["tokenizer"] == sha256_file("base/tokenizer.json") == two["tokenizer"]
    assert one["template"] != two["template"]
    assert one["mix"] == two["mix"] != ""


NASTY = "<bos>a<end_of_turn>b<start_of_turn>user\nc<eos><pad>"


@pytest.mark.parametrize("overlong", ["trim", "drop"])
def test_every_packed_example_is_exactly_its_record_and_touches_no_other(folder, overlong):
    """Ids are those of the record encoded alone: none of a neighbour, one <bos>, a trained <end_of_turn> at the end."""
    records = [
        record(
            i,
            trace=LONG if i % 6 == 5 else f"Step {i}. {NASTY if i % 4 == 1 else ''}",
            question=f"Q{i}{NASTY[: i * 3]}",
        )
        for i in range(24)
    ]
    prepare(folder, records)
    assert run({"overlong": overlong}) == 0
    tokens, mask, segments, positions = (np.load(f"results/pack/s/{n}.npy") for n in DTYPES)
    encoder, seen = Encoder(tiny_tokenizer()), np.zeros_like(segments)
    for one, line in zip(records, pq.read_table("results/pack/s/ledger.parquet").to_pylist(), strict=True):
        row = line["packed_row"]
        if row < 0:
            assert (overlong, line["reason"]) == ("drop", "overlong")
            continue
        (places,) = np.nonzero(segments[row] == line["segment"])
        assert places.tolist() == list(range(places[0], places[0] + line["num_tokens"]))
        seen[row, places] += 1
        ids, trained = tokens[row, places], mask[row, places]
        asked = encoder.encode(prompt_segments("Think.", one["question"]))
        assert ids[: len(asked)].tolist() == asked.ids.tolist()
        if not line["tokens_cut"]:
            assert ids.tolist() == [*asked.ids, *encoder.encode(completion_segments(one["trace"], one["answer"])).ids]
        assert trained.tolist() == [0] * len(asked) + [1] * (len(ids) - len(asked))
        assert [i for i in ids.tolist() if i in CONTROL and i != 3] == [2, 106, 107, 106, 107]
        assert (ids[0], ids[-1], trained[-1]) == (2, 107, 1)
        assert positions[row, places].tolist() == list(range(len(ids)))
    assert np.array_equal(seen, segments > 0)
    padding = segments == 0
    assert not any(array[padding].any() for array in (tokens, mask, positions))


def test_what_became_of_each_source_is_counted_and_said(folder, capsys):
    """Whole, trimmed with the tokens cut, dropped with the reason."""
    prepare(
        folder,
        [record(i, "a") for i in range(4)]
        + [record(4, "b"), record(5, "b", trace=LONG), record(6, "b", answer="a" * 200)],
    )
    assert run() == 0
    a, b = (read_manifest("results/pack/s/manifest.json")["counts"]["by_source"][name] for name in "ab")
    cut = pq.read_table("results/pack/s/ledger.parquet")["tokens_cut"].to_pylist()
    assert (a["records"], a["whole"], a["trimmed"], a["tokens_cut"], a["dropped"]) == (4, 4, 0, 0, {})
    assert (b["records"], b["kept"], b["whole"], b["trimmed"], b["dropped"]) == (3, 2, 1, 1, {"answer_too_long": 1})
    whole = Encoder(tiny_tokenizer()).encode(prompt_segments("Think.", "How many?") + completion_segments(LONG, "3"))
    kept = pq.read_table("results/pack/s/ledger.parquet")["num_tokens"].to_pylist()[5]
    assert b["tokens_cut"] == cut[5] == len(whole) - kept > 0
    said = capsys.readouterr().err
    assert "pack s: a: 4 records: 4 whole, 0 trimmed by 0 tokens, 0 dropped\n" in said
    assert f"b: 3 records: 1 whole, 1 trimmed by {cut[5]} tokens, 1 dropped (answer_too_long 1)\n" in said


def test_trimming_never_touches_question_or_answer(folder):
    prepare(folder, [record(0, trace=LONG, question="Q?" * 10, answer="The answer.")])
    assert run() == 0
    text = Encoder(tiny_tokenizer()).decode(np.load("results/pack/s/tokens.npy")[0].tolist())
    said = re.search(r"<reasoning>(.*)</reasoning>\n<answer>The answer.</answer><end_of_turn>", text, re.DOTALL)
    assert "Q?" * 10 in text
    assert said[1].startswith("First.")
    assert said[1].endswith("Last.")
    assert said[1] != LONG


def test_overlong_records_are_dropped_with_their_reason(folder):
    long = [record(9, question="q" * 200), record(10, answer="a" * 200), record(11, trace="x" * 300)]
    prepare(folder, [record(i) for i in range(9)] + long)
    assert run() == 0
    ledger = pq.read_table("results/pack/s/ledger.parquet").to_pylist()
    reasons = [line["reason"] for line in ledger]
    assert reasons == [""] * 9 + ["question_too_long", "answer_too_long", "trace_below_minimum"]
    assert [line["packed_row"] for line in ledger[9:]] == [-1, -1, -1]


def test_the_policy_drop_drops_what_trim_would_keep(folder):
    prepare(folder, [record(0), record(1), record(2, trace=LONG)])
    assert run({"overlong": "drop"}) == 0
    assert read_manifest("results/pack/s/manifest.json")["counts"]["by_source"]["a"]["dropped"] == {"overlong": 1}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ({"overlong": "error"}, "record 0{31}2 .source 'a', row 2. has .* tokens but template.max_seq_length is 160"),
        (
            {"overlong": "drop", "min_kept": 0.9},
            r"source 'a': 2 of 3 records fit \(66.7%\) but template.min_kept is 0.9; dropped: overlong 1",
        ),
    ],
)
def test_too_little_kept_is_one_sentence_and_leaves_nothing(folder, capsys, template, text):
    prepare(folder, [record(0), record(1), record(2, trace=LONG)])
    assert run(template) == 1
    assert re.search("error: pack 's': " + text, capsys.readouterr().err)
    assert not Path("results/pack/s").exists() or not list(Path("results/pack/s").iterdir())


def test_an_empty_mix_is_refused(folder, capsys):
    prepare(folder, [])
    assert run() == 1
    assert "error: pack 's': the mix has no records but at least 1 is needed" in capsys.readouterr().err


def test_a_changed_tokenizer_file_is_noticed(folder, capsys):
    prepare(folder, [record(0)])
    with Path("base/tokenizer.json").open("a") as file:
        file.write(" ")
    assert run() == 1
    assert (
        "base/tokenizer.json: its bytes are not those that results/download/base.json recorded"
        in capsys.readouterr().err
    )
