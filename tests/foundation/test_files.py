"""Files are whole or absent; manifests and tables are the same bytes for the same content."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from showwork.foundation import files
from showwork.foundation.files import (
    HashingFile,
    atomic,
    canonical,
    read_json,
    scratch,
    sha256_file,
    write_json,
    write_text,
)
from showwork.foundation.manifest import describe, read_checked, read_manifest, write_manifest
from showwork.foundation.tables import LogicalDigest, ParquetSink, read_rows, write_table

SRC = Path(__file__).parents[2] / "src"
SCHEMA = pa.schema([("name", pa.string()), ("count", pa.int64())])
ROWS = [{"name": "a", "count": 1}, {"name": None, "count": 2}, {"name": "", "count": None}]


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": [2, None]}) == canonical({"a": [2, None], "b": 1}) == '{"a": [2, null], "b": 1}'


def test_error_while_writing_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_nan_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_json_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="an earlier stage should have left it, run the same command again"):
        read_json(tmp_path / "x.json")


def a_manifest(folder: Path) -> Path:
    write_text(folder / "rows.txt", "hello")
    path = folder / "manifest.json"
    write_manifest(
        path, stage="s", name="n", settings={}, inputs={}, files={"rows": folder / "rows.txt"}, counts={"rows": 1}
    )
    return path


def test_manifest_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert a_manifest(tmp_path / "a").read_bytes() == a_manifest(tmp_path / "b").read_bytes()


def test_checked_file_is_returned(tmp_path: Path) -> None:
    assert read_checked(a_manifest(tmp_path), "rows") == tmp_path / "rows.txt"


@pytest.mark.parametrize("damage", ["hellO", "hell"])
def test_damaged_file_is_set_aside_with_a_sentence(tmp_path: Path, damage: str) -> None:
    manifest = a_manifest(tmp_path)
    (tmp_path / "rows.txt").write_text(damage)
    with pytest.raises(ValueError, match="damaged since it was made: .* run the same command again to rebuild it"):
        read_checked(manifest, "rows")
    assert not (tmp_path / "rows.txt").exists()
    assert (tmp_path / "rows.txt.damaged").read_text() == damage


def test_missing_file_and_unknown_key_are_named(tmp_path: Path) -> None:
    manifest = a_manifest(tmp_path)
    with pytest.raises(ValueError, match="lists no file 'row'; it lists rows"):
        read_checked(manifest, "row")
    (tmp_path / "rows.txt").unlink()
    with pytest.raises(FileNotFoundError, match="it is gone; run the same command again"):
        read_checked(manifest, "rows")


def test_something_else_than_a_manifest_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(ValueError, match="not a manifest of a stage"):
        read_manifest(tmp_path / "x.json")


def test_table_bytes_and_digest_do_not_depend_on_how_rows_arrive(tmp_path: Path) -> None:
    whole = write_table(tmp_path / "a.parquet", SCHEMA, [ROWS])
    single = write_table(tmp_path / "b.parquet", SCHEMA, [[r] for r in ROWS])
    assert whole.digest == single.digest
    assert sha256_file(tmp_path / "a.parquet") == sha256_file(tmp_path / "b.parquet")
    assert [r for b in read_rows(tmp_path / "a.parquet") for r in b.to_pylist()] == ROWS


def test_digest_tells_null_from_empty_and_order() -> None:
    def digest(rows: list[dict[str, object]]) -> str:
        logical = LogicalDigest()
        logical.update(pa.Table.from_pylist(rows, schema=SCHEMA))
        return logical.hexdigest()

    assert len({digest(ROWS), digest(ROWS[::-1]), digest([{**r, "name": r["name"] or ""} for r in ROWS])}) == 3


def test_what_a_table_says_of_its_file_is_what_lies_on_disk(tmp_path: Path) -> None:
    sink = write_table(tmp_path / "x.parquet", SCHEMA, [ROWS] * 50)
    path = tmp_path / "x.parquet"
    assert (sink.file.path, sink.file.bytes, sink.file.sha256) == (path, path.stat().st_size, sha256_file(path))
    assert describe(sink.file, tmp_path) == describe(path, tmp_path)


def test_hashing_file_hashes_and_keeps_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FLUSH_BYTES", 1000)
    pieces = [bytes([i]) * (i * 37) for i in range(200)]
    with HashingFile(tmp_path / "x") as f:
        for piece in pieces:
            assert f.write(piece) == len(piece)
    assert (tmp_path / "x").read_bytes() == b"".join(pieces)
    assert (f.bytes, f.sha256) == (sum(map(len, pieces)), sha256_file(tmp_path / "x"))


def test_failed_table_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ParquetSink(tmp_path / "x.parquet", SCHEMA) as sink:
        sink.write(ROWS)
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_truncated_parquet_is_one_sentence(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", SCHEMA, [ROWS])
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a readable parquet file"):
        list(read_rows(tmp_path / "x.parquet"))


def test_missing_column_names_the_columns_found(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", SCHEMA, [ROWS])
    with pytest.raises(ValueError, match="no column 'nam'; it has name, count"):
        list(read_rows(tmp_path / "x.parquet", ["nam"]))


KILLED = """
import os, signal, sys
import os
import subprocess
import sys
from pathlib import Path
from showwork.foundation.files import atomic, scratch
with atomic(Path(sys.argv[1]) / "x.txt") as part, scratch(Path(sys.argv[1]), "shuffle") as folder:
    part.write_text("half")
    (folder / "bucket").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL if sys.argv[2] == "killed" else signal.SIGSTOP)
"""


def test_what_a_killed_writer_left_goes_with_the_next_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    def writer(fate: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), fate], cwd=SRC)

    writer("killed").wait()
    left = {p.name for p in tmp_path.iterdir()}
    assert len(left) == 2
    living = writer("living")
    try:
        os.waitid(os.P_PID, living.pid, os.WSTOPPED | os.WNOWAIT)
        theirs = {p.name for p in tmp_path.iterdir()}
        assert len(theirs) == 2
        assert not theirs & left
        write_text(tmp_path / "x.txt", "ours")
        with scratch(tmp_path, "shuffle"):
            pass
        assert {p.name for p in tmp_path.iterdir()} == {"x.txt", *theirs}
    finally:
        living.kill()
        living.wait()
