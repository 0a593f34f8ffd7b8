"""Readers: every row in its place in every layout; slices, batches and candidates agree with whole reads."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources.written import EACH_LAYOUT, EVERYTHING, ROWS, WRITERS, split, write_csv, write_jsonl, write_parquet

from showwork.sources.identity import RowIds, row_digest
from showwork.sources.layouts import open_source


@EACH_LAYOUT
def test_every_row_comes_back_in_order_over_several_files(layout, tmp_path):
    source = open_source(layout, split(layout, tmp_path, ROWS, 3))
    assert list(source.rows()) == list(enumerate(ROWS))
    assert source.columns == ("prompt", "response")
    assert source.num_rows == 57


@EACH_LAYOUT
def test_a_slice_is_one_based_and_inclusive(layout, tmp_path):
    source = open_source(layout, split(layout, tmp_path, ROWS, 3))
    for start, stop in [(1, 1), (7, 23), (19, 20), (57, 57), (1, 57)]:
        assert list(source.slice(start, stop)) == list(enumerate(ROWS))[start - 1 : stop]


@EACH_LAYOUT
def test_a_slice_past_the_end_is_refused_with_the_count(layout, tmp_path):
    source = open_source(layout, split(layout, tmp_path, ROWS, 2), name="glaive")
    with pytest.raises(
        ValueError, match=r"source 'glaive': has 57 rows but the slice stops at 58; lower stop to 57 or less"
    ):
        list(source.slice(50, 58))
    with pytest.raises(ValueError, match=r"rows 0 to 3 are no slice of files that begin with row 1"):
        list(source.slice(0, 3))


@EACH_LAYOUT
def test_files_from_the_middle_of_a_source_keep_its_numbering(layout, tmp_path):
    files = split(layout, tmp_path, ROWS, 3)[1:]
    source = open_source(layout, files, name="glaive", first_row=19)
    numbered = list(enumerate(ROWS))
    assert list(source.rows()) == numbered[19:]
    assert list(source.slice(25, 40)) == numbered[24:40]
    assert [i for b in source.batches(25, 40) for i in b.source_rows] == list(range(24, 40))
    assert [i for b in source.batches() for i in b.source_rows] == list(range(19, 57))
    assert [c.source_row for c in source.candidates(0, lambda: EVERYTHING)] == list(range(19, 57))
    with pytest.raises(ValueError, match=r"rows 19 to 25 are no slice of files that begin with row 20"):
        list(source.slice(19, 25))
    with pytest.raises(ValueError, match=r"source 'glaive': has 57 rows but the slice stops at 58"):
        list(source.slice(50, 58))


@EACH_LAYOUT
def test_batches_hold_the_rows_their_indexes_and_digests(layout, tmp_path):
    source = open_source(layout, split(layout, tmp_path, ROWS, 3))
    for start, stop in [(1, None), (12, 34)]:
        expected = list(enumerate(ROWS))[start - 1 : stop]
        got, digests = [], []
        for batch in source.batches(start, stop):
            assert batch.table.schema.types == [pa.large_string()] * 2
            got += zip(batch.source_rows, batch.table.to_pylist(), strict=True)
            digests += batch.digests
        assert got == expected
        assert digests == [row_digest(row) for _, row in expected]


@EACH_LAYOUT
def test_candidates_below_the_limit_do_not_depend_on_files_or_order(layout, tmp_path):
    def drawn(files, limit):
        found = open_source(layout, files).candidates(7, lambda: limit)
        return sorted((c.key, c.row["prompt"]) for c in found)

    whole = drawn(split(layout, tmp_path, ROWS, 1, "one"), EVERYTHING)
    assert [p for _, p in sorted(whole, key=lambda c: c[1])] == sorted(r["prompt"] for r in ROWS)
    limit = whole[25][0]
    parts = split(layout, tmp_path, ROWS, 4, "renamed")
    assert drawn(parts, limit) == drawn(parts[::-1], limit) == whole[:25]
    assert drawn(parts, 0) == []


@EACH_LAYOUT
def test_candidates_carry_their_source_row_and_another_seed_draws_anew(layout, tmp_path):
    source = open_source(layout, split(layout, tmp_path, ROWS, 2))
    first = list(source.candidates(1, lambda: EVERYTHING))
    assert [(c.source_row, c.row) for c in first] == list(enumerate(ROWS))
    assert source.num_rows == 57
    second = list(source.candidates(2, lambda: EVERYTHING))
    assert not {c.key for c in first} & {c.key for c in second}
    assert first[10].key == first[20].key


@EACH_LAYOUT
def test_columns_are_chosen_by_name_and_a_missing_one_names_those_found(layout, tmp_path):
    files = split(layout, tmp_path, ROWS, 2)
    assert [row for _, row in open_source(layout, files, ["response"]).rows()] == [
        {"response": r["response"]} for r in ROWS
    ]
    with pytest.raises(
        ValueError, match=r"source 'openo1': .* has no column 'question'; it has: prompt, response; name one"
    ):
        open_source(layout, files, ["question", "response"], name="openo1")


@EACH_LAYOUT
def test_a_source_without_rows_is_an_error(layout, tmp_path):
    path = tmp_path / "empty"
    {
        "csv": lambda: path.write_text("prompt,response\n"),
        "jsonl": lambda: path.write_text("\n\n"),
        "json_object": lambda: path.write_text("{ }\n"),
    }.get(layout, lambda: pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), path))()
    with pytest.raises(ValueError, match=r"source 'raiden': empty hold no rows; at least one is wanted"):
        list(open_source(layout, [path], name="raiden").rows())
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"source 'raiden': empty is empty \(0 bytes\)"):
        open_source(layout, [path], name="raiden")


def test_wrong_layouts_are_named(tmp_path):
    parquet = write_parquet(tmp_path / "p.parquet", ROWS)
    lines = write_jsonl(tmp_path / "l.jsonl", ROWS)
    table = write_csv(tmp_path / "c.csv", ROWS)
    array = tmp_path / "a.json"
    array.write_text(json.dumps(ROWS))
    with pytest.raises(
        ValueError, match=r"p.parquet holds parquet, but its layout is jsonl; correct the layout or conv"
    ):
        open_source("jsonl", [parquet])
    packed = tmp_path / "packed"
    for start, kind in [
        (gzip.compress(b"prompt,response"), "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"(\xb5/\xfd\x04", "zstd"),
        ("prompt,response".encode("utf-16"), "UTF-16 text"),
    ]:
        packed.write_bytes(start)
        with pytest.raises(ValueError, match=rf"packed holds {kind}, but its layout is csv; .* or convert the file"):
            open_source("csv", [packed])
    packed.write_text("PK,response\n1,a\n")
    assert list(open_source("csv", [packed]).rows()) == [(0, {"PK": "1", "response": "a"})]
    with pytest.raises(ValueError, match=r"l.jsonl is no whole parquet file"):
        open_source("parquet", [lines])
    with pytest.raises(ValueError, match=r"none of the first .* lines of c.csv is a JSON object"):
        open_source("jsonl", [table])
    with pytest.raises(ValueError, match=r"c.csv starts with .* layout json_object wants"):
        open_source("json_object", [table])
    with pytest.raises(ValueError, match=r"a.json starts with .* layout json_object wants"):
        open_source("json_object", [array])
    with pytest.raises(ValueError, match=r"the values in l.jsonl are no JSON objects"):
        open_source("json_object", [write_jsonl(tmp_path / "l.jsonl", ROWS[:1])])
    with pytest.raises(
        ValueError, match=r"layout 'xml' is unknown; known are csv, jsonl, json_object, parquet, datasets"
    ):
        open_source("xml", [lines])
    with pytest.raises(FileNotFoundError, match=r"gone.csv is gone; delete the manifest of its download"):
        open_source("csv", [tmp_path / "gone.csv"])
    with pytest.raises(ValueError, match=r"no files are given"):
        open_source("csv", [])


@pytest.mark.parametrize("layout", ["jsonl", "json_object", "parquet"])
def test_rows_are_estimated_within_a_tenth_before_they_are_read(layout, tmp_path):
    rows = [{"prompt": f"{i} " + "x" * (i * 37 % 1000), "response": "y"} for i in range(9000)]
    source = open_source(layout, split(layout, tmp_path, rows, 2))
    assert abs(source.estimated_rows() - 9000) < 900
    list(source.candidates(0, lambda: 0))
    assert source.estimated_rows() == 9000
    assert open_source("csv", [write_csv(tmp_path / "c", ROWS)]).estimated_rows() is None


@pytest.mark.parametrize("layout", ["csv", "jsonl", "json_object"])
def test_reading_holds_a_few_blocks_and_not_the_file(layout, tmp_path):
    rows = [{"prompt": f"{i} " + "x" * 4000, "response": "y"} for i in range(5000)]
    path = WRITERS[layout](tmp_path / "a", rows)
    del rows
    source = open_source(layout, [path])
    tracemalloc.start()
    drawn = len(list(source.candidates(0, lambda: 2**55)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < drawn < 50
    assert peak < 11_000_000 < path.stat().st_size / 1.8


# ---- identity --------------------------------------------------------------------------------------------------------


def test_row_ids_count_equal_rows_and_ignore_the_order_of_columns():
    ids = RowIds()
    first, second = ids.of({"a": "x", "b": None}), ids.of({"b": None, "a": "x"})
    assert first != second
    assert len(first) == 32
    again = RowIds()
    assert [again.of({"b": None, "a": "x"}), again.of_digest(row_digest({"a": "x", "b": None}))] == [first, second]


def test_rows_that_join_to_the_same_text_have_different_digests():
    rows = [
        {"a": "x", "b": "y"},
        {"a": "xb", "b": ""},
        {"a": "x", "b": None},
        {"a": "x"},
        {"a": "", "b": "xy"},
        {"a": None, "b": "x"},
    ]
    assert len({row_digest(r) for r in rows}) == len(rows)
