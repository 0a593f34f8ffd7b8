"""Looks at any file that a stage left: what it is, some of its rows as a person reads them, how long its texts are.

    showwork inspect results/standardize/openo1_sft_english_20k.parquet        question, trace, answer, what was made harmless
    showwork inspect results/mix/session1/removed.parquet --where "similarity < 0.7"
    showwork inspect results/pack/session1 --rows 1                            a packed row by segment, and what bears loss
    showwork inspect results/mix/session1/manifest.json                        its counts as a tree
    showwork inspect results/train/session1/history.jsonl                      a table
    showwork inspect results/train/session1/adapter/adapter.safetensors        names and shapes

Parquet files of every stage, packed rows (their folder, an array or the ledger), JSON, JSON lines, safetensors and plain text can
be looked at; which it is is told by name and columns. `--where` is a condition in SQL over the file's columns, run by duckdb, which
can read no other file; file_row_number is the number of the row. Rows are counted from 0.

Lengths in characters are of all rows selected, in tokens of at most 2,000 of them. Where the file belongs to one of the recipe's
four sources, the percentiles that the recipe's origin published stand beside ours. Control characters are shown, not obeyed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from showwork.look.terminal import console, harmless
from showwork.look.view import File, Wanted

TEXT = (".txt", ".md", ".log", ".rst", "")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file and what is wanted of it."""
    parser.add_argument("file", type=Path, help="a file below results/, or the folder of packed rows")
    parser.add_argument(
        "--rows", type=_number, metavar="N", help="rows to show (default: 3 rows of text, 20 lines of a table)"
    )
    parser.add_argument("--start", type=_number, default=0, metavar="N", help="the first of them, of those selected")
    parser.add_argument("--seed", type=int, help="show rows at random instead, the same for the same seed")
    parser.add_argument("--where", metavar="SQL", help="select rows: \"answer = '42' AND source = 'openo1'\"")
    parser.add_argument("--id", help="select rows of which an id begins with these digits")
    parser.add_argument(
        "--width", type=_number, default=600, metavar="N", help="characters of a text to show, 0: all (default: 600)"
    )
    parser.add_argument("--no-tokens", action="store_true", help="do not count tokens")


def work(args: argparse.Namespace) -> int:
    """Look at one file.

    Raises: ValueError, FileNotFoundError: it cannot be looked at.
    """
    wanted = Wanted(args.rows, args.start, args.seed, args.where, args.id, args.width, not args.no_tokens)
    look(console(), args.file, wanted)
    return 0


def look(out: Console, path: Path, wanted: Wanted) -> None:
    """Print what a file holds, in the way that fits it.

    Raises: FileNotFoundError for a file that is not there; ValueError for a folder, or a kind of file that has no view.
    """
    if not path.exists():
        near = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        there = f"; {path.parent} holds {', '.join(near)}" if near else ""
        raise FileNotFoundError(f"{path}: no such file{there}")
    if path.is_dir() and not (path / "tokens.npy").is_file():
        raise ValueError(
            f"{path}: is a folder; name a file in it: {', '.join(sorted(p.name for p in path.iterdir())) or 'it is empty'}"
        )
    if path.is_dir() or path.suffix == ".npy" or path.name == "ledger.parquet":
        from showwork.look import packed

        packed.show(out, path if path.is_dir() else path.parent, wanted)
    elif path.suffix == ".parquet":
        from showwork.look import rows

        rows.show(out, File(path), wanted)
    elif path.suffix == ".jsonl":
        from showwork.look import trees

        _none_of(path, wanted, "id")
        trees.show_lines(out, path, wanted)
    elif path.suffix in (".json", ".safetensors"):
        from showwork.look import trees

        _none_of(path, wanted, "rows", "start", "seed", "where", "id")
        if path.suffix == ".json":
            trees.show_json(out, path, wanted)
        else:
            trees.show_tensors(out, path)
    elif path.suffix in TEXT:
        _none_of(path, wanted, "rows", "start", "seed", "where", "id")
        out.print(harmless(path.read_text("utf-8", errors="backslashreplace").rstrip("\n")), soft_wrap=True)
    else:
        raise ValueError(
            f"{path}: files of the kind {path.suffix} cannot be looked at; those that can end in .parquet, .npy, .json, .jsonl, "
            ".safetensors, .txt or .md"
        )


def _none_of(path: Path, wanted: Wanted, *options: str) -> None:
    """Refuse options that would be passed over in silence."""
    for name in options:
        if getattr(wanted, name) != getattr(Wanted, name):
            raise ValueError(f"--{name}: {path.name} has no rows that it could be asked of; leave it out")


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"is {text}, expected a number from 0")
    return number
