"""CSV parts and parquet shards: cells of any text, bad rows typed, damage named."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources.written import ROWS, split, write_csv, write_parquet

from showwork.sources.layouts import Bad, open_source
from showwork.sources.shards import local_rows

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


@pytest.mark.parametrize("name", [b"prom\xffpt", b"prompt\xed\xa0\x80"])
def test_a_csv_header_that_is_no_utf8_is_one_sentence(name, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"response," + name + b"\na,b\n")
    with pytest.raises(
        ValueError, match=r"a.csv has byte 0x(ff|ed) in its header, which is no UTF-8; convert the file"
    ):
        open_source("csv", [path])


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


def test_parquet_that_unpacks_to_a_thousand_times_its_bytes_is_refused_before_it_is_unpacked(tmp_path):
    cell, path = 300 << 20, tmp_path / "bomb.parquet"
    ends = pa.py_buffer(np.array([0, cell], np.int64).tobytes())
    bomb = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(bytes(cell))])
    table = pa.table({"prompt": bomb, "response": pa.array(["x"])})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    del table, bomb
    assert path.stat().st_size < 100_000
    for read in (lambda s: list(s.rows()), lambda s: list(s.batches()), lambda s: list(s.slice(1, 1))):
        with pytest.raises(
            ValueError,
            match=r"source 's': bomb.parquet holds [\d,]+ bytes in row group 0, column 'prompt', that unpack to "
            r"314,572,\d{3}; no text is packed so small",
        ):
            read(open_source("parquet", [path], name="s"))
    assert [row for _, row in open_source("parquet", [path], ["response"]).rows()] == [{"response": "x"}]


def test_parquet_columns_nested_a_thousand_deep_are_one_sentence(tmp_path):
    kind, path = pa.string(), tmp_path / "deep.parquet"
    for _ in range(1_000):
        kind = pa.struct([("a", kind)])
    pq.write_table(pa.table({"prompt": pa.nulls(1, kind)}), path)
    with pytest.raises(ValueError, match=r"source 's': deep.parquet is no whole parquet file \(.*too deeply nested"):
        open_source("parquet", [path], name="s")
    with pytest.raises(ValueError, match=r"mine: deep.parquet is no whole parquet file \(.*too deeply nested"):
        local_rows(path, owner="mine")


def test_parquet_columns_nested_as_deep_as_arrow_reads_are_one_line_of_json(tmp_path):
    value, path = "x", tmp_path / "nested.parquet"
    for _ in range(40):
        value = {"a": value}
    pq.write_table(pa.Table.from_pylist([{"prompt": value}]), path)
    ((_, row),) = open_source("parquet", [path]).rows()
    assert json.loads(row["prompt"]) == value
