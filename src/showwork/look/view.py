"""What every view of a file has: where to print, which rows are wanted, the run that the file belongs to.

Takes:  the path of a file, the command line.
Leaves: the manifest that lists the file, the tokenizer of the run's base where it has been downloaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from showwork.foundation.extras import missing_extra
from showwork.foundation.files import read_json
from showwork.foundation.manifest import read_manifest
from showwork.look.results import Results
from showwork.look.terminal import NEUTRALIZED, cut, line, written

if TYPE_CHECKING:
    from showwork.tokens.tokenizer import Encoder


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for. `rows` None: as many as the view finds fitting; `width` 0: texts in full."""

    rows: int | None = None
    start: int = 0
    seed: int | None = None
    where: str | None = None
    id: str | None = None
    width: int = 600
    tokens: bool = True

    def of(self, selected: np.ndarray, usual: int) -> np.ndarray:
        """Those of the row numbers [n] that are to be shown: the next ones from `start`, or some at random by `seed`.

        Raises: ValueError when `start` lies behind the last one.
        """
        num = usual if self.rows is None else self.rows
        if self.seed is not None:
            draw = np.random.Generator(np.random.PCG64(self.seed))
            return np.sort(draw.choice(selected, min(num, len(selected)), replace=False))
        if self.start and self.start >= len(selected):
            raise ValueError(
                f"--start is {self.start:,} but there are {len(selected):,} rows, counted from 0; lower it"
            )
        return selected[self.start : self.start + num]


class File:
    """A file that is looked at, and what stands around it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def run(self) -> Results | None:
        """The run whose results the file is among."""
        for folder in (*self.path.parents, *self.path.resolve().parents):
            if folder.name == "results":
                return Results(folder.parent)
        return None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest that lists the file, or nothing."""
        for name in (f"{self.path.name.split('.')[0]}.json", "manifest.json"):
            path = self.path.with_name(name)
            if path.is_file() and path != self.path:
                body = read_json(path)
                if isinstance(body, dict) and self.path.name in {e.get("name") for e in body.get("files", {}).values()}:
                    return body
        return {}

    @cached_property
    def tokenizer(self) -> tuple[Encoder | None, Path | None, str]:
        """(the tokenizer of the run's base, its folder, why there is none)."""
        if self.run is None:
            return None, None, "the file lies in no run's results/"
        path = self.run.directory / "results/download/base.json"
        if not path.is_file():
            return None, None, f"the base is not there yet: {self.run.command('results/download/base.json')}"
        files = read_manifest(path)["files"]
        if "tokenizer.json" not in files or "config.json" not in files:
            return None, None, f"{path} lists no tokenizer.json and config.json"
        folder = (self.run.directory / files["tokenizer.json"]["path"]).parent
        if not (folder / "tokenizer.json").is_file():
            return None, None, f"{folder / 'tokenizer.json'} is gone"
        try:
            from showwork.tokens.tokenizer import load_encoder
        except ModuleNotFoundError as e:
            if why := missing_extra(e):
                return None, None, why
            raise
        return load_encoder(folder, read_json(folder / "config.json")), folder, ""


def block(out: Console, name: str, text: str | None, wanted: Wanted, encoder: Encoder | None) -> None:
    """Print one text under its name and length."""
    if text is None:
        out.print(Text.assemble((name, "bold cyan"), ("  null", "dim")))
        return
    size = many(len(text), "character")
    if encoder:
        size += f", {many(encoder.count_tokens([text])[0], 'token')}"
    out.print(Text.assemble((name, "bold cyan"), (f"  {size}", "dim"), (_changed(text), "yellow")))
    out.print(written(cut(text, wanted.width)), soft_wrap=True)


def many(number: int, thing: str) -> str:
    """`1 token`, `1,200 tokens`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _changed(text: str) -> str:
    """`, made harmless: ‹bos›, ‹eos› x 2` of what records/neutralize.py has written into a text."""
    counts = Counter(NEUTRALIZED.findall(text))
    said = [f"{token}{f' x {n}' if n > 1 else ''}" for token, n in counts.items()]
    return f", made harmless: {', '.join(said)}" if said else ""


def facts(row: dict[str, Any], names: Sequence[str]) -> Text:
    """`reason no_close  similarity 0.71` of the columns that hold something."""
    return Text("  ").join(
        Text.assemble((f"{name} ", "dim")).append_text(written(_value(row[name])))
        for name in names
        if row[name] is not None and row[name] != ""
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else line(str(value), 200)


def heading(out: Console, *parts: str) -> None:
    """A line that begins a row."""
    out.print()
    out.print(Text("── " + "  ".join(filter(None, parts)), "bold"), soft_wrap=True)
