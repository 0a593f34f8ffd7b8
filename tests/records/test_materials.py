"""The small parts: ids, the split, shuffling by key, percentiles; and that every example in a docstring holds."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import showwork.records
from showwork.records import shuffle
from showwork.records.ids import order_keys, question_id, record_id
from showwork.records.lengths import percentiles
from showwork.records.shuffle import Shuffle
from showwork.records.split import is_held_out

SCHEMA = pa.schema([("text", pa.large_string()), ("name", pa.string()), ("empty", pa.large_string())])


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(showwork.records.__path__)])
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"showwork.records.{name}")).failed == 0


@given(st.text(max_size=50))
def test_a_question_keeps_its_id_in_another_case_spacing_and_form(text: str) -> None:
    assert question_id(f" {text}\n") == question_id(text)
    assert question_id(unicodedata.normalize("NFC", text)) == question_id(unicodedata.normalize("NFD", text))


def test_ids_are_pinned_to_their_values() -> None:
    assert order_keys(42, ["a", "b"]).tolist() == [9_745_362_802_142_041_786, 4_764_438_991_711_194_456]
    assert record_id("q", "t", "a") == "95110db7ef6f8801e5f0be6f97ba2675"
    assert question_id("What is 2 + 2?") == question_id("what  is 2 + 2?")
    assert record_id("qt", "", "a") != record_id("q", "t", "a")


def test_a_larger_share_keeps_what_a_smaller_one_held_out() -> None:
    ids = [question_id(str(i)) for i in range(4000)]
    small, large = ({q for q in ids if is_held_out(q, share)} for share in (0.01, 0.05))
    assert small < large
    assert 140 < len(large) < 260
    assert not any(is_held_out(q, 0.0) for q in ids)


@pytest.mark.parametrize("bucket_bytes", [1 << 30, 1000])
def test_shuffling_orders_by_key_whatever_the_buckets(
    bucket_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "BUCKET_BYTES", bucket_bytes)
    names = [f"row {i}" for i in range(500)]
    keys = order_keys(1, names)
    keys[10] = keys[11]
    with Shuffle(tmp_path, SCHEMA, 20_000) as s:
        for i in range(0, 500, 70):
            rows = [{"name": n, "text": f"é {n} " * (i % 3), "empty": ""} for n in ["left out", *names[i : i + 70]]]
            s.add(pa.RecordBatch.from_pylist(rows, schema=SCHEMA), np.arange(1, len(rows)), keys[i : i + 70])
        found = [row for table in s.tables() for row in table.to_pylist()]
        assert s.rows == 500
    order = np.argsort(keys, kind="stable").tolist()
    assert found == [{"name": names[i], "text": f"é {names[i]} " * (i // 70 * 70 % 3), "empty": ""} for i in order]
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_is_null_is_no_empty_text(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pylist([{"name": "a", "text": None, "empty": ""}], schema=SCHEMA)
    with pytest.raises(ValueError, match="1 nulls, expected none"), Shuffle(tmp_path, SCHEMA, 1) as s:
        s.add(batch, np.arange(1), np.zeros(1, np.uint64))


def test_texts_that_are_all_empty_are_shuffled_too(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pylist([{"name": n, "text": "", "empty": ""} for n in "ab"], schema=SCHEMA)
    with Shuffle(tmp_path, SCHEMA, 1) as s:
        s.add(batch, np.arange(2), np.array([2, 1], np.uint64))
        assert [t.column("name").to_pylist() for t in s.tables()] == [["b", "a"]]


def test_percentiles_are_lengths_of_real_rows() -> None:
    found = percentiles([10, 1, 5, 7])
    assert (found["p1"], found["p50"], found["p99"]) == (1, 5, 10)
    assert percentiles([]) == {}
