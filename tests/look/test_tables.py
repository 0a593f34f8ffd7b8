from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from showwork.look.tables import Tables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it's one.parquet"
    pq.write_table(pa.table({"n": range(10), "t": [f"t{i}" for i in range(10)]}), path)
    return path


def test_rows_are_numbered_from_0_as_they_stand(file):
    assert Tables([file]).rows("SELECT file_row_number AS r, n FROM $it WHERE n > 7 ORDER BY n", it=file) == [
        {"r": 8, "n": 8},
        {"r": 9, "n": 9},
    ]
    assert Tables([file]).matching(file, "t IN ('t3', 't1')").tolist() == [1, 3]


def test_lines_of_json_are_rows_too(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(f'{{"step": {i}, "loss": {5 / i}}}\n' for i in range(1, 6)))
    assert Tables([path]).matching(path, "loss < 2").tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("n > (SELECT count(*) FROM read_text('/etc/passwd'))", "file system operations are disabled"),
        ("n IN (SELECT n FROM read_parquet('{other}'))", "file system operations are disabled"),
        ("true); COPY (SELECT 1) TO '{other}'; SELECT (1", "more than one statement"),
        ("true); SET enable_external_access=true; SELECT (1", "more than one statement"),
        ("answer = 4", 'Referenced column "answer" not found'),
        ("answer =", "syntax error"),
    ],
)
def test_a_condition_reaches_no_other_file_and_is_one_condition(file, tmp_path, condition, said):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"n": [1]}), other)
    before = other.read_bytes()
    with pytest.raises(ValueError, match=r"--where ['\"]") as caught:
        Tables([file]).matching(file, condition.format(other=other))
    assert said in str(caught.value)
    assert other.read_bytes() == before


def test_a_wrong_column_is_answered_with_those_there_are(file):
    with pytest.raises(ValueError, match="the columns are n, t, and file_row_number"):
        Tables([file]).matching(file, "m = 1")


def test_a_damaged_file_is_named(file):
    file.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(ValueError, match=r"it's one.parquet: cannot be read .*delete it and run the command"):
        Tables([file]).rows("SELECT * FROM $it", it=file)
