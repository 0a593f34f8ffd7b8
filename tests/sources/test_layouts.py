"""Readers: every row in its place, good or typed bad, in every layout; slices and candidates agree with whole reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showwork.sources.identity import RowIds, row_digest
from showwork.sources.layouts import Bad, open_source
from showwork.sources.layouts.json_object import JsonObjectSource

ROWS = [
    {"prompt": f'question {i}\nwith a "quote", 中文 and }}', "response": f"{{answer}} {i % 7}" * (i % 5 + 1)}
    for i in range(57)
]
ROWS[20] = dict(ROWS[10])
EVERYTHING = 2**64


def write_csv(path: Path, rows, newline="\r\n", bom=False, index=False) -> Path:
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator=newline)
        writer.writerow([""] * index + list(rows[0]))
        for i, row in enumerate(rows):
            writer.writerow([i] * index + ["" if v is None else v for v in row.values()])
    return path


def write_jsonl(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def write_object(path: Path, rows, first=0, **how) -> Path:
    path.write_text(json.dumps({str(i): r for i, r in enumerate(rows, first)}, **how), "utf-8")
    return path


def write_parquet(path: Path, rows, row_group_size=10) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return path


WRITERS = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "json_object": write_object,
    "parquet": write_parquet,
    "datasets": write_parquet,
}
EACH_LAYOUT = pytest.mark.parametrize("layout", WRITERS)


def split(layout: str, folder: Path, rows, parts: int, name: str = "part") -> list[Path]:
    size = -(-len(rows) // parts)
    return [WRITERS[layout](folder / f"{name}{i}", rows[i * size : (i + 1) * size]) for i in range(parts)]


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
    with pytest.raises(ValueError, match=r"p.parquet holds parquet, but its layout is jsonl; correct the layout"):
        open_source("jsonl", [parquet])
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
    with pytest.raises(FileNotFoundError, match=r"gone.csv does not exist; run the download again"):
        open_source("csv", [tmp_path / "gone.csv"])
    with pytest.raises(ValueError, match=r"no files are given"):
        open_source("csv", [])


# ---- csv -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_keeps_newlines_long_cells_and_the_text_na_behind_a_byte_order_mark_and_a_stray_index(newline, tmp_path):
    rows = [
        {"prompt": "NA", "response": "x" * 300_000},
        {"prompt": "", "response": "line\n\nline\r\nline"},
        {"prompt": 'say ""', "response": "null\x00"},
    ]
    path = write_csv(tmp_path / "a.csv", rows, newline, bom=True, index=True)
    assert [r for _, r in open_source("csv", [path]).rows()] == rows


def test_csv_bad_rows_cost_one_row_each_and_keep_their_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'prompt,response\ngood,1\nb\xffd,"2\n2"\none\n"x"y,3\na,b,c\n\nlast,"4\n"\n')
    got = [r for _, r in open_source("csv", [path]).rows()]
    assert got[0] == {"prompt": "good", "response": "1"}
    assert got[1] == Bad("bad_utf8", "byte 0xff in 'prompt' at 1", 'b\\xffd,"2\n2"\n')
    assert got[2] == Bad("wrong_width", "1 cells, header has 2", "one\n")
    assert (got[3].reason, got[3].raw) == ("bad_csv", '"x"y,3\n')
    assert got[4] == Bad("wrong_width", "3 cells, header has 2", "a,b,c\n")
    assert got[5:] == [{"prompt": "last", "response": "4\n"}]


def test_csv_that_ends_inside_a_quote_is_cut_off(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,response\na,b\nc,"d\ne')
    with pytest.raises(
        ValueError, match=r"a.csv ends inside the quoted cell of the row at line 3: it is cut off or a quote"
    ):
        list(open_source("csv", [path]).rows())


def test_csv_parts_must_agree_unless_columns_are_named(tmp_path):
    one = write_csv(tmp_path / "1.csv", [{"prompt": "a", "response": "b"}])
    two = write_csv(tmp_path / "2.csv", [{"response": "d", "prompt": "c", "extra": "e"}])
    with pytest.raises(ValueError, match=r"2.csv has a column 'extra' that 1.csv lacks; name the columns to take"):
        open_source("csv", [one, two])
    got = [r for _, r in open_source("csv", [one, two], ["prompt", "response"]).rows()]
    assert got == [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}]


# ---- json ------------------------------------------------------------------------------------------------------------

BAD_OBJECTS = {
    "bad_utf8": b'{"prompt": "\xff", "response": "b"}',
    "lone_surrogate": b'{"prompt": "\\ud800", "response": "b"}',
    "duplicate_key": b'{"prompt": "a", "prompt": "b", "response": "c"}',
    "unknown_column": b'{"prompt": "a", "late": "b"}',
}
BAD_LINES = {**BAD_OBJECTS, "bad_json": b'{"prompt": "a"', "not_an_object": b'["a"]'}


@pytest.mark.parametrize("reason", BAD_LINES)
def test_one_bad_line_costs_one_row(reason, tmp_path):
    good = b'{"prompt": "a", "response": "b"}'
    path = tmp_path / "a.jsonl"
    lines = [good] * 250 + [BAD_LINES[reason], b"", good]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    source = open_source("jsonl", [path])
    got = [r for _, r in source.rows()]
    assert [r for r in got if not isinstance(r, Bad)] == [{"prompt": "a", "response": "b"}] * 251
    assert (got[250].reason, got[250].raw) == (reason, BAD_LINES[reason].decode("utf-8", "backslashreplace"))
    assert [c.row for c in source.candidates(0, lambda: EVERYTHING)] == got


@pytest.mark.parametrize("raw", [b'{"prompt": NaN}', b'{"prompt": "a\x00"}', b"[" * 100_000, b'{"prompt": "a"} x'])
def test_what_is_no_json_is_bad_json(raw, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n' + raw)
    assert [r.reason for _, r in open_source("jsonl", [path]).rows() if isinstance(r, Bad)] == ["bad_json"]


def test_values_that_are_no_text_become_one_line_of_json(tmp_path):
    path = write_jsonl(tmp_path / "a", [{"a": None, "b": 1.5, "c": {"z": [True], "y": "é"}}, {"b": "x", "a": "y"}])
    got = [r for _, r in open_source("jsonl", [path]).rows()]
    assert got == [{"a": None, "b": "1.5", "c": '{"y": "é", "z": [true]}'}, {"a": "y", "b": "x", "c": None}]
    nested = write_parquet(tmp_path / "b", [{"a": None, "b": 1.5, "c": {"y": "é", "z": [True]}}])
    assert [r for _, r in open_source("parquet", [nested]).rows()] == got[:1]


def test_the_last_line_of_a_cut_file_is_one_bad_row(tmp_path):
    path = tmp_path / "a"
    write_jsonl(path, ROWS)
    path.write_bytes(path.read_bytes()[:-9])
    rows = [r for _, r in open_source("jsonl", [path]).rows()]
    assert rows[:-1] == ROWS[:-1]
    assert rows[-1].reason == "bad_json"


def object_rows(path: Path, piece_bytes: int, columns=None):
    return list(JsonObjectSource("cot", [path], columns, piece_bytes=piece_bytes).rows())


@pytest.mark.parametrize("how", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
@pytest.mark.parametrize("piece_bytes", [1, 50, 333, 1 << 20])
def test_the_cutter_gives_the_rows_of_json_load_at_any_piece_size(how, piece_bytes, tmp_path):
    path = write_object(tmp_path / "a.json", ROWS, **how)
    assert object_rows(path, piece_bytes) == list(enumerate(ROWS))


text = st.text(st.sampled_from('{}[]",:\\ 1a\n'), max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"a": text, "b,": text}), min_size=1, max_size=12), st.integers(1, 60), st.booleans()
)
def test_the_cutter_is_never_fooled_by_braces_and_quotes_in_text(tmp_path_factory, rows, piece_bytes, nested):
    if nested:
        rows = [{"a": {"x": {"1": row}}, "more": {"2": {"b": row["a"]}}} for row in rows]
    path = write_object(tmp_path_factory.mktemp("o") / "a.json", rows)
    expected = [
        {k: v if isinstance(v, str) else json.dumps(v, sort_keys=True, ensure_ascii=False) for k, v in r.items()}
        for r in rows
    ]
    assert [r for _, r in object_rows(path, piece_bytes)] == expected


@pytest.mark.parametrize("piece_bytes", [20, 1 << 20])
def test_an_id_that_comes_twice_is_two_rows(piece_bytes, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"1": {"a": "x"}, "2": {"a": "y"}, "2": {"a": "z"}, "4": {"a": "w"}}')
    assert [r["a"] for _, r in object_rows(path, piece_bytes)] == ["x", "y", "z", "w"]


def test_uneven_spacing_is_read_as_well(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\n{"1":{"a": "x"} ,\n"2" :  {"a":"y"}, "é":{"a":"z"} } \n')
    for piece_bytes in (8, 1 << 20):
        assert [r["a"] for _, r in object_rows(path, piece_bytes)] == ["x", "y", "z"]


@pytest.mark.parametrize("piece_bytes", [40, 1 << 20])
@pytest.mark.parametrize("reason", [*BAD_OBJECTS, "bad_json", "raw_newline", "not_an_object"])
def test_one_bad_row_of_the_object_costs_one_row(reason, piece_bytes, tmp_path):
    worse = {"bad_json": b'{"prompt": "a",, }', "raw_newline": b'{"prompt": "a\n"}', "not_an_object": b"null"}
    broken = {**BAD_OBJECTS, **worse}[reason]
    good = b'{"prompt": "a", "response": "b"}'
    path = tmp_path / "a.json"
    values = [good] * 250 + [broken, good]
    path.write_bytes(b"{" + b", ".join(b'"%d": %s' % (i, v) for i, v in enumerate(values)) + b"}")
    got = object_rows(path, piece_bytes)
    assert [i for i, r in got if isinstance(r, Bad)] == [250]
    assert len(got) == 252
    assert got[250][1].reason == reason.replace("raw_newline", "bad_json")
    assert got[250][1].raw == broken.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("piece_bytes", [30, 1 << 20])
@pytest.mark.parametrize("cut", [-1, -2, -9, -30])
def test_an_object_that_is_cut_off_is_an_error_and_not_fewer_rows(cut, piece_bytes, tmp_path):
    path = write_object(tmp_path / "a.json", ROWS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"source 'cot': a.json is cut off or no JSON from byte [\d,]+ on"):
        object_rows(path, piece_bytes)


def test_an_object_with_more_behind_it_is_an_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"1": {"a": "x"}} {"2": {"a": "y"}}')
    with pytest.raises(ValueError, match=r"a.json goes on after its closing brace"):
        object_rows(path, 1 << 20)


# ---- parquet ---------------------------------------------------------------------------------------------------------


def test_parquet_text_that_is_not_utf8_is_a_bad_row(tmp_path):
    data = [b"good", b"b\xffd", "é".encode(), b"\xed\xa0\x80"]
    broken = pa.array(data, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": broken, "response": ["1", "2", None, "4"]}), tmp_path / "a")
    source = open_source("parquet", [tmp_path / "a"])
    got = [r for _, r in source.rows()]
    assert got[0] == {"prompt": "good", "response": "1"}
    assert got[2] == {"prompt": "é", "response": None}
    assert [got[1].reason, got[3].reason] == ["bad_utf8", "bad_utf8"]
    assert got[1].detail == "byte 0xff in 'prompt' at 1"
    assert json.loads(got[1].raw) == {"prompt": "b\\xffd", "response": "2"}
    (batch,) = source.batches()
    assert list(batch.source_rows) == [0, 2]
    assert [i for i, _ in batch.bad] == [1, 3]


def test_a_cut_parquet_file_is_an_error(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"source 'glaive': a.parquet is no whole parquet file .* cut off"):
        open_source("parquet", [path], name="glaive")


def test_damage_in_a_row_group_is_one_sentence(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS * 20), path, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[40:400] = b"\x00" * 360
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"source 'glaive': a.parquet cannot be read .*; fetch or replace it"):
        list(open_source("parquet", [path], name="glaive").rows())


def test_a_slice_of_parquet_reads_only_the_row_groups_it_overlaps(tmp_path, monkeypatch):
    read = []
    original = pq.ParquetFile.iter_batches

    def spy(self, batch_size, row_groups, **kwargs):
        read.append(row_groups)
        return original(self, batch_size, row_groups=row_groups, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    files = split("parquet", tmp_path, ROWS, 3)
    source = open_source("parquet", files)
    assert len(list(source.slice(15, 25))) == 11
    assert read == [[1], [0]]


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
