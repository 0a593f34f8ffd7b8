"""Generate the demo's four sources in the layouts of the real ones, with every known defect, and record the truth of each row.

    raiden          three CSV parts: a stray index column, cells of several lines, a byte order mark in one, CRLF in one
    openo1          one JSONL, a quarter of it Chinese, with lines that are no JSON or no UTF-8
    cot_collection  one JSON object of objects, grouped by task, with literal backslash-n pairs
    glaive          parquet shards

Takes   settings {"seed", "rows": {source: rows}}.
Leaves  <folder>/<source>/…, a copy of the tiny base in <folder>/base, <folder>/truth.json, and a manifest with the sha256
        of every file. In truth.json each row has: defect (null when clean), family, expected (kept, rejected, dropped or
        duplicate), reason, and for duplicates of: [source, source_row]. Expected is what the shipped filters do: at
        standardize (rejected), or at sample (dropped) for openo1 and cot_collection, whose samples draw among good rows,
        and for rows that cannot be read at all.
Command python -m showwork.demo.sources --settings JSON --folder sources --manifest sources/manifest.json
Source  the world is `world.py`, the defects are `faults.py`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from showwork.demo import faults
from showwork.demo.faults import THINK, THOUGHT, Cells
from showwork.demo.world import FAMILIES, Puzzle, make_puzzle
from showwork.foundation.files import atomic, write_json
from showwork.foundation.manifest import write_manifest
from showwork.foundation.stage import Say, run_stage

SOURCES = ("raiden", "openo1", "cot_collection", "glaive")
LEAST_ROWS = 60
BASE = Path(__file__).parent / "base"
CSV_PARTS, SHARDS, ROWS_PER_GROUP = 3, 4, 128

# Rows in a thousand; each is there at least once, however small the source is.
TAGGED = dict.fromkeys(faults.RESPONSES, 4)
COPIES = {"exact_duplicate": 10, "near_duplicate": 10}
SHARES: dict[str, dict[str, int]] = {
    "raiden": TAGGED | COPIES | {
        "loop": 8, "empty_cell": 3, "empty_question": 2, "bad_utf8": 2, "wrong_width": 2, "control_tokens": 4,
        "prompt_na": 1, "long_cell": 0,
    },
    "openo1": TAGGED | dict.fromkeys(faults.OUTPUTS, 4) | COPIES | {
        "no_output_close": 16, "chinese": 250, "null": 3, "absent": 2, "bad_json": 1, "bad_utf8": 1, "lone_surrogate": 2,
        "control_tokens": 4, "copy_of_another": 5,
    },
    "cot_collection": COPIES | {
        "null": 4, "absent": 2, "empty_block": 4, "empty_answer": 4, "lone_surrogate": 2, "bad_utf8": 2,
        "control_tokens": 4, "literal_newlines": 30, "copy_of_another": 5,
    },
    "glaive": TAGGED | COPIES | {
        "null": 4, "bad_utf8": 2, "spanish": 4, "control_tokens": 4, "copy_of_another": 10,
    },
}  # fmt: skip
READABLE_NOT = ("bad_utf8", "bad_json", "lone_surrogate", "wrong_width")
KEPT = ("control_tokens", "prompt_na", "long_cell", "literal_newlines", "spanish")


@dataclass(slots=True)
class Row:
    """One row of a source: its cells, the puzzle it came from and the truth about it."""

    cells: Cells
    puzzle: Puzzle
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def defect(self) -> str | None:
        """The defect that the row was given, or None."""
        return self.truth["defect"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where the world goes."""
    parser.add_argument("--folder", type=Path, required=True, help="folder to fill: one folder for each source")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: dict[str, Any], say: Say) -> None:
    """Make the rows, write them in their layouts, copy the base.

    Raises: FileNotFoundError when the tiny base is not there.
    """
    made = make_rows(settings["seed"], settings["rows"])
    writers = {"raiden": write_csv, "openo1": write_jsonl, "cot_collection": write_json_object, "glaive": write_parquet}
    files = [path for name in made for path in writers[name](args.folder / name, made[name])]
    if not (BASE / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"{BASE}/model.safetensors: the tiny base is not there; make it with `python -m showwork.demo.base --out {BASE}`"
        )
    for file in sorted(BASE.iterdir()):
        with atomic(args.folder / "base" / file.name) as part:
            shutil.copyfile(file, part)
        files.append(args.folder / "base" / file.name)
    truth = {name: [row.truth for row in rows] for name, rows in made.items()}
    write_json(args.folder / "truth.json", {"seed": settings["seed"], "sources": truth})
    counts = {name: dict(Counter(row.truth["expected"] for row in rows)) for name, rows in made.items()}
    write_manifest(
        args.manifest,
        stage="demo",
        name="sources",
        settings=settings,
        inputs={},
        files={path.relative_to(args.folder).as_posix(): path for path in [*files, args.folder / "truth.json"]},
        counts={name: {"rows": len(made[name]), **count} for name, count in counts.items()},
    )
    say("; ".join(f"{name} {len(rows):,} rows" for name, rows in made.items()))


def make_rows(seed: int, num_rows: dict[str, int]) -> dict[str, list[Row]]:
    """All rows of all sources, from the seed alone.

    Raises:
        ValueError: a source that is not one of the four, or with too few rows to hold every defect.
    """
    for name, num in num_rows.items():
        if name not in SOURCES or num < LEAST_ROWS:
            raise ValueError(
                f"demo.rows: {name} is {num}, wanted at least {LEAST_ROWS} rows for each of {', '.join(SOURCES)}, so that "
                f"every defect has room; correct it in the demo's configuration"
            )
    made: dict[str, list[Row]] = {}
    for name in SOURCES:
        if name in num_rows:
            made[name] = _rows_of(Random(f"{seed} {name}"), name, num_rows[name], made)
    return made


def _rows_of(rng: Random, name: str, num: int, earlier: dict[str, list[Row]]) -> list[Row]:
    """The rows of one source; duplicates stand behind what they repeat."""
    counts = {defect: max(1, num * share // 1000) for defect, share in SHARES[name].items()}
    defects: list[str | None] = [defect for defect, count in counts.items() for _ in range(count)]
    defects += [None] * (num - len(defects))
    rng.shuffle(defects)
    puzzles = [make_puzzle(rng) for _ in range(num)]
    if name == "cot_collection":
        puzzles.sort(key=lambda puzzle: list(FAMILIES).index(puzzle.family))
    rows: list[Row] = []
    for source_row, (defect, puzzle) in enumerate(zip(defects, puzzles, strict=True)):
        of = None
        if defect in ("exact_duplicate", "near_duplicate", "copy_of_another"):
            of = _original(rng, name, rows, earlier if defect == "copy_of_another" else {})
            defect = defect if of else None
        rows.append(_row(rng, name, source_row, defect, puzzle, of))
    return rows


def _original(rng: Random, name: str, rows: list[Row], earlier: dict[str, list[Row]]) -> tuple[str, Row] | None:
    """A clean row for a duplicate to repeat: from an earlier source where there are any, else from this one."""
    source = rng.choice(list(earlier)) if earlier else name
    clean = [row for row in earlier.get(source, rows) if row.defect is None]
    return (source, rng.choice(clean)) if clean else None


def _row(
    rng: Random, name: str, source_row: int, defect: str | None, puzzle: Puzzle, of: tuple[str, Row] | None
) -> Row:
    """One row with its truth."""
    tags = THOUGHT if name == "openo1" else THINK
    reason = None
    if of:
        puzzle = faults.nearly(of[1].puzzle) if defect == "near_duplicate" else of[1].puzzle
    elif defect in ("chinese", "spanish"):
        puzzle = faults.foreign(rng, defect == "chinese")
        reason = "language" if defect == "chinese" else None
    elif defect == "control_tokens":
        puzzle = faults.with_control_tokens(rng, puzzle)
    elif defect == "prompt_na":
        puzzle = Puzzle(puzzle.family, "NA", puzzle.trace, puzzle.answer)
    elif defect == "literal_newlines":
        puzzle = Puzzle(puzzle.family, puzzle.question.replace(". ", ".\\n", 1), puzzle.trace, puzzle.answer)
    cells = faults.clean(puzzle, tags)
    if defect == "long_cell":
        cells = faults.clean(Puzzle("", puzzle.question, faults.long_text(rng, puzzle.trace), puzzle.answer), tags)
    elif defect == "loop":
        looped = Puzzle("", puzzle.question, faults.looped(rng, puzzle.trace), puzzle.answer)
        cells, reason = faults.clean(looped, tags), "loops"
    elif defect in READABLE_NOT:
        reason = defect
    elif defect == "empty_question":
        cells, reason = Cells(" ", None, None, cells.response), "empty_question"
    elif defect in ("null", "absent"):
        cells, reason = Cells(puzzle.question, puzzle.trace, None, None), "null"
    elif defect == "empty_cell":
        cells, reason = Cells(puzzle.question, None, None, ""), "no_open"
    elif name == "cot_collection" and defect in ("empty_block", "empty_answer"):
        trace, answer = ("", puzzle.answer) if defect == "empty_block" else (puzzle.trace, " ")
        cells, reason = Cells(puzzle.question, trace, answer, None), faults.RESPONSES[defect][0]
    elif defect in faults.RESPONSES or defect in faults.OUTPUTS:
        cells, reason = faults.tagged_row(rng, puzzle, tags, defect)
    drawn = name in ("openo1", "cot_collection")
    expected = "duplicate" if of else "kept" if reason is None else "rejected"
    if expected == "rejected" and (drawn or defect in READABLE_NOT):
        expected = "dropped"
    truth: dict[str, Any] = {
        "source_row": source_row,
        "defect": defect,
        "family": puzzle.family,
        "expected": expected,
        "reason": reason,
    }
    if of:
        truth["of"] = [of[0], of[1].truth["source_row"]]
    return Row(cells, puzzle, truth)


def write_csv(folder: Path, rows: list[Row]) -> list[Path]:
    """Parts with a byte order mark in the first and CRLF in the second."""
    size = -(-len(rows) // CSV_PARTS)
    paths = []
    for part in range(CSV_PARTS):
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\r\n" if part == 1 else "\n")
        writer.writerow(["", "prompt", "response"])
        for index, row in enumerate(rows[part * size : (part + 1) * size]):
            further = ["one cell too many"] if row.defect == "wrong_width" else []
            writer.writerow([index, row.cells.question, _marked(row), *further])
        data = ("\ufeff" if part == 0 else "").encode() + _spoilt(out.getvalue().encode())
        paths.append(_written(folder / f"Raiden_DSR1_Part{part + 1}.csv", data))
    return paths


def write_jsonl(folder: Path, rows: list[Row]) -> list[Path]:
    """One object a line; a row that is no JSON has lost its end."""
    lines = []
    for row in rows:
        made = {"instruction": row.cells.question, "output": _marked(row)}
        if row.defect == "absent":
            del made["output"]
        line = _spoilt(_json(made))
        lines.append(line[: len(line) // 2] if row.defect == "bad_json" else line)
    return [_written(folder / "OpenO1-SFT.jsonl", b"\n".join(lines) + b"\n")]


def write_json_object(folder: Path, rows: list[Row]) -> list[Path]:
    """`{"0": {…}, "1": {…}}` over several lines."""
    entries = []
    for index, row in enumerate(rows):
        cells = row.cells
        trace = _marked(row) if row.defect in ("lone_surrogate", "bad_utf8") else cells.trace
        made = {"source": cells.question, "target": cells.answer, "rationale": trace}
        made |= {"task": row.puzzle.family, "type": "CoT"}
        if row.defect == "absent":
            del made["target"]
        entries.append(f'"{index}": '.encode() + _spoilt(_json(made)))
    return [_written(folder / "data" / "CoT_collection_en.json", b"{" + b",\n".join(entries) + b"}\n")]


def write_parquet(folder: Path, rows: list[Row]) -> list[Path]:
    """Shards of several row groups; a text that is not UTF-8 is stored as it is."""
    size = -(-len(rows) // SHARDS)
    unchecked = pc.CastOptions(target_type=pa.string(), allow_invalid_utf8=True)
    paths = []
    for shard in range(SHARDS):
        part = rows[shard * size : (shard + 1) * size]
        columns = {
            "prompt": [(row.cells.question or "").encode() for row in part],
            "response": [None if (text := _marked(row)) is None else _spoilt(text.encode()) for row in part],
        }
        table = pa.table(
            {name: pc.cast(pa.array(cells, pa.binary()), options=unchecked) for name, cells in columns.items()}
        )
        path = folder / "data" / f"train-{shard:05d}-of-{SHARDS:05d}.parquet"
        with atomic(path) as temporary:
            pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, compression="zstd")
        paths.append(path)
    return paths


_BROKEN, _SURROGATE = "\ue000", "\ue001"
"""Stand in for a byte that is no UTF-8 and for half a surrogate pair, until a row is bytes."""


def _marked(row: Row) -> str | None:
    """The text that a source's last column holds, with a stand-in where it is to be spoilt."""
    text = row.cells.trace if row.cells.response is None else row.cells.response
    if text is None or row.defect in ("null", "absent"):
        return None
    mark = {"bad_utf8": _BROKEN, "lone_surrogate": _SURROGATE}.get(row.defect or "", "")
    return f"{text[:20]}{mark}{text[20:]}" if mark else text


def _spoilt(data: bytes) -> bytes:
    return data.replace(_BROKEN.encode(), b"\xff").replace(_SURROGATE.encode(), b"\\ud83d")


def _json(row: dict[str, str | None]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def _written(path: Path, data: bytes) -> Path:
    with atomic(path) as part:
        part.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
