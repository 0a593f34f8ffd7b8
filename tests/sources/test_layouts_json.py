"""JSON lines and the one big object: a bad row costs one row, a cut file is an error, no text fools the cutter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.written import EVERYTHING, ROWS, write_jsonl, write_object, write_parquet

from showwork.sources.layouts import Bad, open_source
from showwork.sources.layouts.json_object import JsonObjectSource

# ---- json ------------------------------------------------------------------------------------------------------------

BAD_OBJECTS = {
    "bad_utf8": b'{"prompt": "\xff", "response": "b"}',
    "lone_surrogate": b'{"prompt": "\\ud800", "response": "b"}',
    "duplicate_key": b'{"prompt": "a", "prompt": "b", "response": "c"}',
    "unknown_column": b'{"prompt": "a", "late": "b"}',
}
BAD_OBJECTS |= {
    "bad_utf8 surrogate": b'{"prompt": "\xed\xa0\x80", "response": "b"}',
    "lone_surrogate below": b'{"prompt": {"a": ["\\udfff"]}, "response": "b"}',
    "lone_surrogate key": b'{"\\ud800": "a", "response": "b"}',
    "bad_json huge float": b'{"prompt": [-1e999], "response": "b"}',
    "bad_json huge integer": b'{"prompt": ' + b"9" * 5000 + b"}",
    "bad_json deep arrays": b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bad_json deep objects": b'{"prompt": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
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
    assert (got[250].reason, got[250].raw) == (reason.split()[0], BAD_LINES[reason].decode("utf-8", "backslashreplace"))
    assert [c.row for c in source.candidates(0, lambda: EVERYTHING)] == got


@pytest.mark.parametrize("raw", [b'{"prompt": NaN}', b'{"prompt": "a\x00"}', b"[" * 100_000, b'{"prompt": "a"} x'])
def test_what_is_no_json_is_bad_json(raw, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n' + raw)
    assert [r.reason for _, r in open_source("jsonl", [path]).rows() if isinstance(r, Bad)] == ["bad_json"]


@pytest.mark.parametrize(("layout", "data"), [("jsonl", b"{}\n{}\n"), ("json_object", b'{"1": {}, "2": {}}')])
def test_objects_that_hold_nothing_are_no_rows(layout, data, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"check its layout"):
        open_source(layout, [path])


def test_ids_that_are_no_utf8_or_lone_surrogates_are_no_part_of_the_rows(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b'{"\xff": {"a": "x"}, "\\ud800": {"a": "y"}, "3": {"a": "z"}}')
    assert [r["a"] for _, r in object_rows(path, 1 << 20)] == ["x", "y", "z"]


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
    assert got[250][1].reason == reason.replace("raw_newline", "bad_json").split()[0]
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


@pytest.mark.parametrize("column", ['say "so"', "back\\slash", "line\nbreak", "bell\x07", "<script>", "\u202e"])
@pytest.mark.parametrize("layout", ["jsonl", "json_object"])
def test_a_column_may_have_any_name(layout, column, tmp_path):
    rows = [{column: "a", "b": "x"}, {column: "c"}]
    path = (write_jsonl if layout == "jsonl" else write_object)(tmp_path / "a", rows)
    assert [r for _, r in open_source(layout, [path]).rows()] == [rows[0], {column: "c", "b": None}]
