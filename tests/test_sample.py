"""The sample stage: the numbers of the table, exactly; the same set whatever the order, sharding or layout of files."""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_stages import Failed, counts, download, jsonl, rows_of, run_sample
from sources.written import EACH_LAYOUT, ROWS, WRITERS

from showwork.records.selection import ALL

DRAW: dict[str, Any] = {"method": "random", "n": 20, "seed": 42, "format": "think", "filters": {}, "min_kept": 0.1}


def rows(count: int = 100, *, bad_every: int = 0, zh_every: int = 0) -> list[dict[str, Any]]:
    made = []
    for i in range(count):
        think = f"<think>Step one of {i} is easy, and so is the next one.</think>Answer {i}"
        if bad_every and i % bad_every == 0:
            think = "no tags here"
        question = f"What is the {i}th question about, and why?"
        if zh_every and i % zh_every == 1:
            question = f"请问第{i}个问题是什么意思,为什么?"
        made.append({"prompt": question, "response": think, "task": "even" if i % 2 == 0 else "odd"})
    return made


def taken(manifest: Path) -> list[dict[str, Any]]:
    return rows_of(manifest.with_suffix(".parquet"))


def dropped(manifest: Path) -> list[dict[str, Any]]:
    return rows_of(manifest.with_suffix(".dropped.parquet"))


def test_full_takes_every_row_as_it_stands(tmp_path: Path) -> None:
    made = rows(30, bad_every=7)
    manifest = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / "a.jsonl", made)]))
    found = taken(manifest)
    assert [{k: row[k] for k in ("prompt", "response", "task")} for row in found] == made
    assert [row["source_row"] for row in found] == list(range(30))
    assert len({row["row_id"] for row in found}) == 30
    assert counts(manifest) == {
        "rows_in_reach": 30, "looked_at": 30, "taken": 30, "dropped": {}, "not_reached": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("start", "stop"), [(1, 3), (4, 10), (10, 10)])
def test_first_n_counts_from_one_and_includes_both_ends(start: int, stop: int, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", rows(10))
    manifest = run_sample(tmp_path, download(tmp_path, [source]), method="first_n", start=start, stop=stop)
    assert [row["source_row"] for row in taken(manifest)] == list(range(start - 1, stop))


def test_a_slice_past_the_end_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    manifest = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(10))])
    with pytest.raises(Failed, match="source 'src': has 10 rows but the slice stops at 20; lower stop to 10 or less"):
        run_sample(tmp_path, manifest, method="first_n", start=5, stop=20)
    assert not list((tmp_path / "results/sample").iterdir())


def test_a_row_that_cannot_be_read_costs_one_row_and_is_kept_whole(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", rows(10))
    lines = source.read_bytes().splitlines(keepends=True)
    lines[3], lines[7] = b'{"prompt": "caf\xe9"}\n', b'{"prompt": \n'
    source.write_bytes(b"".join(lines))
    manifest = run_sample(tmp_path, download(tmp_path, [source]))
    assert counts(manifest)["taken"] == 8
    assert counts(manifest)["dropped"] == {"bad_json": 1, "bad_utf8": 1}
    found = dropped(manifest)
    assert [(row["source_row"], row["reason"]) for row in found] == [(3, "bad_utf8"), (7, "bad_json")]
    assert "caf" in found[0]["raw"]
    assert [row["source_row"] for row in taken(manifest)] == [0, 1, 2, 4, 5, 6, 8, 9]


def test_random_draws_among_rows_that_pass_and_its_counts_add_up(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", rows(200, bad_every=5, zh_every=4))
    manifest = run_sample(tmp_path, download(tmp_path, [source]), **{**DRAW, "filters": {"language": "en"}})
    found, out, said = taken(manifest), dropped(manifest), counts(manifest)
    assert len(found) == said["taken"] == 20
    assert not any("tags" in row["response"] or "请" in row["prompt"] for row in found)
    assert Counter(row["reason"] for row in out) == Counter(said["dropped"])
    assert said["looked_at"] == 20 + len(out)
    assert said["rows_in_reach"] == 200 == said["looked_at"] + said["not_reached"]
    assert set(said["dropped"]) == {"no_open", "language"}
    assert len({row["row_id"] for row in [*found, *out]}) == said["looked_at"]


def test_the_drawn_set_does_not_depend_on_order_or_sharding(tmp_path: Path) -> None:
    made = rows(300, bad_every=3)
    made += made[:40]
    shuffled = made[:]
    random.Random(0).shuffle(shuffled)
    whole = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / "a.jsonl", made)], "a"), "a", **DRAW)
    parts = [jsonl(tmp_path / f"part{i}.jsonl", shuffled[i::3]) for i in range(3)]
    split = run_sample(tmp_path, download(tmp_path, parts, "b"), "b", **DRAW)
    assert [row["row_id"] for row in taken(whole)] == [row["row_id"] for row in taken(split)]
    assert counts(whole) == counts(split)
    assert [row["row_id"] for row in dropped(whole)] == [row["row_id"] for row in dropped(split)]


def test_csv_and_parquet_draw_the_same_rows(tmp_path: Path) -> None:
    made = rows(120)
    with (tmp_path / "a.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "a.parquet", row_group_size=7)
    ids = [
        [
            row["row_id"]
            for row in taken(
                run_sample(tmp_path, download(tmp_path, [tmp_path / f"a.{kind}"], kind), kind, layout=kind, **DRAW)
            )
        ]
        for kind in ("csv", "parquet")
    ]
    assert ids[0] == ids[1]


def test_reservoir_reads_one_big_object_and_a_larger_sample_begins_with_the_smaller(tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text(json.dumps({str(i): row for i, row in enumerate(rows(200))}))
    manifest = download(tmp_path, [source])
    given = {**DRAW, "method": "reservoir", "layout": "json_object"}
    small = run_sample(tmp_path, manifest, "small", **given)
    large = run_sample(tmp_path, manifest, "large", **{**given, "n": 60})
    assert [r["row_id"] for r in taken(large)][:20] == [r["row_id"] for r in taken(small)]
    other = run_sample(tmp_path, manifest, "other", **{**given, "seed": 43})
    assert {r["row_id"] for r in taken(other)} != {r["row_id"] for r in taken(small)}


def test_every_row_of_a_source_is_drawn_about_equally_often(tmp_path: Path) -> None:
    manifest = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(40))])
    drawn: Counter[int] = Counter()
    for seed in range(40):
        drawn.update(r["source_row"] for r in taken(run_sample(tmp_path, manifest, **{**DRAW, "n": 10, "seed": seed})))
    chi_square = sum((drawn[i] - 10) ** 2 / 10 for i in range(40))
    assert chi_square < 39 + 4 * 9  # 39 degrees of freedom, standard deviation 8.8


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"weights": {"column": "task", "of": {"even": 5}, "other": 1}},
        {"per_task": {"column": "task", "at_most": 12}},
    ],
)
def test_the_drawn_set_is_the_same_on_one_two_and_eight_threads(extra: dict[str, Any], tmp_path: Path) -> None:
    manifest = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(500, bad_every=9))])
    before, files = pa.cpu_count(), []
    try:
        for threads in (1, 2, 8):
            pa.set_cpu_count(threads)
            made = run_sample(tmp_path, manifest, f"t{threads}", **{**DRAW, **extra})
            files.append((made.with_suffix(".parquet").read_bytes(), made.with_suffix(".dropped.parquet").read_bytes()))
    finally:
        pa.set_cpu_count(before)
    assert files[0] == files[1] == files[2]


def test_rows_of_larger_weight_are_drawn_more_often_and_weight_zero_never(tmp_path: Path) -> None:
    manifest = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(2000))])
    for of, low, high in ({"even": 9}, 0.8, 0.97), ({"even": 0}, 0, 0), ({}, 0.35, 0.65):
        given = {**DRAW, "n": 200, "weights": {"column": "task", "of": of or {"none": 1}, "other": 1}}
        made = run_sample(tmp_path, manifest, **given)
        assert low <= sum(row["task"] == "even" for row in taken(made)) / 200 <= high
        assert counts(made)["taken"] + counts(made)["not_reached"] == 2000
    large = run_sample(tmp_path, manifest, "large", **{**given, "n": 500})
    assert [r["row_id"] for r in taken(large)][:200] == [r["row_id"] for r in taken(made)]


def test_per_task_takes_at_most_so_many_of_each_and_counts_the_others(tmp_path: Path) -> None:
    made = rows(300, bad_every=10)
    for i, row in enumerate(made):
        row["task"] = f"task {i % 3 if i % 49 else 7}"
    shuffled = made[:]
    random.Random(0).shuffle(shuffled)
    given = {**DRAW, "n": 25, "per_task": {"column": "task", "at_most": 8}}
    whole = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / "a.jsonl", made)], "a"), "a", **given)
    split = [jsonl(tmp_path / f"part{i}.jsonl", shuffled[i::2]) for i in range(2)]
    again = run_sample(tmp_path, download(tmp_path, split, "b"), "b", **given)
    assert sorted(Counter(row["task"] for row in taken(whole)).values())[-3:] == [8, 8, 8]
    assert counts(whole) == counts(again)
    assert [row["row_id"] for row in taken(whole)] == [row["row_id"] for row in taken(again)]
    told = counts(whole)
    assert told["over_cap"] > 0
    assert told["looked_at"] + told["over_cap"] + told["not_reached"] == told["rows_in_reach"] == 300


def test_a_cap_that_leaves_too_few_rows_says_how_to_go_on(tmp_path: Path) -> None:
    manifest = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(100))])
    with pytest.raises(Failed, match=r"has 10 rows that pass its filters, at most 5 for each task, but n is 20\. Lower n to 10, "
                                     r"raise per_task\.at_most \(90 rows were over it\)"):  # fmt: skip
        run_sample(tmp_path, manifest, **{**DRAW, "per_task": {"column": "task", "at_most": 5}})


@pytest.mark.parametrize("key", ["weights", "per_task"])
def test_a_column_that_weights_or_a_cap_name_must_be_there(key: str, tmp_path: Path) -> None:
    manifest = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(30))])
    with pytest.raises(
        Failed, match=f"no column 'taks', which {key} names; it has prompt, response, task; say in samples.s.{key}"
    ):
        run_sample(tmp_path, manifest, **{**DRAW, key: {"column": "taks", "at_most": 5, "of": {"even": 2}, "other": 1}})


@pytest.mark.parametrize("layout", ["jsonl", "json_object"])
def test_a_wrong_guess_of_how_many_pass_changes_nothing(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rows(3000)
    for row in made[2000:]:
        row["response"] = "no tags"
    source = tmp_path / f"a.{layout}"
    source.write_text("\n".join(map(json.dumps, made)) if layout == "jsonl" else json.dumps(dict(enumerate(made))))
    manifest = download(tmp_path, [source])
    told = []
    for name, guess in (("guessed", None), ("low", lambda *_: 2**50), ("none", lambda *_: ALL)):
        if guess:
            monkeypatch.setattr("showwork.records.draw._likely_limit", guess)
        sample = run_sample(tmp_path, manifest, name, layout=layout, **{**DRAW, "n": 100})
        told.append((taken(sample), dropped(sample), counts(sample)))
    assert told[0] == told[1] == told[2]


def test_where_chooses_by_the_sources_own_columns(tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(100))])
    manifest = run_sample(tmp_path, source, **{**DRAW, "filters": {"where": "task = 'odd'"}})
    assert {row["task"] for row in taken(manifest)} == {"odd"}
    assert set(counts(manifest)["dropped"]) == {"where"}


def test_fewer_rows_than_asked_is_one_sentence_with_the_counts(tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(60, bad_every=3, zh_every=5))])
    with pytest.raises(Failed) as error:
        run_sample(tmp_path, source, **{**DRAW, "n": 50, "filters": {"language": "en"}})
    assert (
        "error: sample 's': source 'src' has 32 rows that pass its filters but n is 50. Lower n to 32, or relax: well_formed "
        "dropped 20, language 8."
    ) in str(error.value)
    assert not list((tmp_path / "results/sample").iterdir())


def test_too_small_a_share_of_the_rows_looked_at_fails_with_the_value_that_would_have_passed(tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(100, bad_every=2))])
    with pytest.raises(
        Failed, match=r"kept 20 of \d+ rows .* but min_kept is 0.9\. Dropped: no_open \d+\. .* lower min_kept to 0"
    ):
        run_sample(tmp_path, source, **{**DRAW, "min_kept": 0.9})


@pytest.mark.parametrize(
    "given", [{}, {"method": "random", "n": 1, "seed": 1, "filters": {}, "min_kept": 0.0, "format": "think"}]
)
def test_a_missing_column_is_named_with_those_found(given: dict[str, Any], tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", [{"a": "1", "b": "2"}])])
    with pytest.raises(
        Failed, match="source 'src': no column 'q', which its columns name for 'question'; it has a, b; correct"
    ):
        run_sample(tmp_path, source, columns={"question": "q", "response": "b"}, **given)


def test_a_format_whose_columns_are_not_there_is_one_sentence(tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", [{"a": "1", "b": "2"}])])
    with pytest.raises(
        Failed, match="source 'src': no column 'prompt', which its format reads; it has a, b; say in sources"
    ):
        run_sample(tmp_path, source, **DRAW)


def test_a_source_with_a_column_of_our_name_is_refused(tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", [{"row_id": "1"}])])
    with pytest.raises(Failed, match="source 'src' has a column 'row_id' of its own"):
        run_sample(tmp_path, source)


def test_a_source_that_changed_since_the_download_is_found_before_anything_is_written(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", rows(10))
    manifest = download(tmp_path, [source])
    source.write_bytes(source.read_bytes().replace(b"even", b"ever"))
    with pytest.raises(Failed, match=r"a.jsonl: sha256 is \w+, but \w+ when it was downloaded; it has changed since"):
        run_sample(tmp_path, manifest)
    assert not list((tmp_path / "results/sample").iterdir())


@pytest.mark.parametrize("kept", [0.5, 0.9])
@EACH_LAYOUT
def test_a_source_that_shrank_since_the_download_is_one_sentence_whatever_is_taken_of_it(
    layout: str, kept: float, tmp_path: Path
) -> None:
    file = WRITERS[layout](tmp_path / "a", ROWS)
    manifest, data = download(tmp_path, [file]), file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    for method, start, stop in [("full", None, None), ("first_n", 5, 50), ("random", None, None)]:
        with pytest.raises(Failed) as failed:
            run_sample(tmp_path, manifest, layout=layout, **{**DRAW, "method": method}, start=start, stop=stop)
        assert re.fullmatch(
            rf"sample s: error: \S*/a: has [\d,]+ bytes, but {len(data):,} when it was downloaded; it has changed since, delete "
            r"the manifest of its download and run the same command again\n",
            str(failed.value),
        )
    assert not (tmp_path / "results/sample").exists()


def test_an_empty_source_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(Failed, match=r"source 'src': a.jsonl is empty \(0 bytes\)"):
        run_sample(tmp_path, download(tmp_path, [tmp_path / "a.jsonl"]))


def test_the_same_run_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows(100, bad_every=9))])
    first = [p.read_bytes() for p in sorted(run_sample(tmp_path, source, **DRAW).parent.iterdir())]
    again = [p.read_bytes() for p in sorted(run_sample(tmp_path, source, **DRAW).parent.iterdir())]
    assert first == again
