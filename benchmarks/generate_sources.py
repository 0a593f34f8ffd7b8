"""The four sources at their real sizes and in their real layouts, for timing; the text is synthetic.

Takes:  a folder, a scale (1.0: 62,925 / 77,685 / 1,837,928 / 300,000 rows, about 6 GB), a seed.
Leaves: raiden/Raiden_DSR1_Part1.csv … Part7.csv, openo1/OpenO1-SFT.jsonl (and clean.jsonl, the same without the lines that
        are no UTF-8: the datasets library stops at them), cot/CoT_collection_en.json, glaive/train-0000k-of-00006.parquet,
        counts.json. Equal arguments give equal bytes.

    python benchmarks/generate_sources.py work/benchmark --scale 1

Words are drawn by Zipf's law from common English words and made-up ones, so that compression, tokens and near-duplicates
are not those of real text; sizes, lengths and layouts are (medians of facts published by the sources' users).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = {"raiden": 62_925, "openo1": 77_685, "cot": 1_837_928, "glaive": 300_000}
BLOCK = 2_000
DUPLICATED, UNCLOSED, CHINESE = 0.002, 0.01, 0.25
BAD_LINES = 8
COMMON = [
    "the",
    "of",
    "and",
    "to",
    "a",
    "in",
    "is",
    "it",
    "that",
    "for",
    "as",
    "with",
    "be",
    "this",
    "are",
    "on",
    "by",
    "or",
    "at",
    "from",
    "an",
    "we",
    "can",
    "which",
    "if",
    "not",
    "have",
    "so",
    "then",
    "one",
    "two",
    "all",
    "has",
    "will",
    "each",
    "its",
    "was",
    "but",
    "let",
    "use",
    "when",
    "number",
    "first",
    "more",
    "other",
    "value",
    "means",
    "than",
    "about",
    "same",
    "time",
    "there",
    "only",
    "into",
    "find",
    "some",
    "how",
    "what",
    "they",
    "their",
    "also",
    "these",
    "given",
    "would",
    "our",
    "since",
    "step",
    "where",
    "no",
    "new",
    "most",
    "should",
    "between",
    "answer",
    "any",
    "because",
    "problem",
    "set",
    "both",
    "case",
    "question",
    "order",
    "need",
    "being",
    "now",
    "function",
    "equal",
    "following",
    "different",
    "must",
    "after",
    "point",
    "think",
    "work",
    "next",
    "sum",
    "part",
    "over",
    "line",
    "form",
    "data",
    "made",
    "way",
    "such",
    "many",
    "however",
    "long",
    "while",
    "second",
    "might",
    "consider",
    "check",
    "way",
    "through",
    "example",
    "result",
    "right",
    "left",
    "total",
    "begin",
    "end",
    "start",
    "people",
    "water",
    "light",
    "high",
    "low",
    "large",
    "small",
    "true",
    "false",
    "correct",
    "wait",
    "again",
    "maybe",
    "perhaps",
    "compute",
    "write",
    "read",
    "system",
    "state",
    "process",
    "show",
    "therefore",
    "thus",
    "suppose",
    "know",
    "known",
    "three",
    "four",
]
CHINESE_WORDS = [chr(c) + chr(c + 37) for c in range(0x4E10, 0x4E10 + 600)]
ENDINGS = np.array(["", "", "", "", "", "", "", "", "", ",", ".", ".\n"], object)


def vocabulary() -> np.ndarray:
    """20,000 words, the most frequent first; made-up ones are of one to four syllables."""
    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "er", "ing", "al", "on")]
    made = dict.fromkeys(COMMON)
    while len(made) < 20_000:
        made["".join(rng.choice(syllables, rng.integers(1, 5)))] = None
    return np.array(list(made), object)


class Writer:
    """Texts of given lengths, block by block from (seed, source, block)."""

    def __init__(self, seed: int, source: str, words: np.ndarray) -> None:
        self._key = [seed, *source.encode()]
        ranks = np.arange(1, len(words) + 1) ** -1.0
        places = np.searchsorted(np.cumsum(ranks) / ranks.sum(), (np.arange(1 << 16) + 0.5) / (1 << 16))
        self._table = words[places]
        self._chinese = np.array(CHINESE_WORDS, object)

    def block(self, index: int) -> np.random.Generator:
        """The random numbers of one block."""
        return np.random.default_rng([*self._key, index])

    def texts(self, rng: np.random.Generator, characters: np.ndarray, *, chinese: bool = False) -> list[str]:
        """One text of about each length."""
        per_word = 2 if chinese else 5.9
        counts = np.maximum(1, (characters / per_word).astype(int))
        total = int(counts.sum())
        if chinese:
            words = self._chinese[rng.integers(0, len(self._chinese), total)]
        else:
            words = self._table[rng.integers(0, 1 << 16, total)] + ENDINGS[rng.integers(0, len(ENDINGS), total)]
        flat = words.tolist()
        ends = np.cumsum(counts).tolist()
        joiner = "" if chinese else " "
        return [joiner.join(flat[end - count : end]) for end, count in zip(ends, counts.tolist(), strict=True)]


def lengths(rng: np.random.Generator, median: float, spread: float, count: int) -> np.ndarray:
    """Characters, log-normal about a median; `spread` is the ratio of the 90th percentile to it."""
    return median * np.exp(rng.normal(0, np.log(spread) / 1.2816, count))


def blocks(rows: int) -> Iterator[tuple[int, int]]:
    """(index, rows) of the blocks that make up `rows`."""
    for index, start in enumerate(range(0, rows, BLOCK)):
        yield index, min(BLOCK, rows - start)


def pairs(
    writer: Writer, index: int, count: int, median: float, spread: float, tags: tuple[str, str, str, str]
) -> list:
    """[question, response] rows: a trace in tags and an answer, with unclosed and doubled rows among them."""
    rng = writer.block(index)
    questions = writer.texts(rng, lengths(rng, 160, 3, count))
    traces = writer.texts(rng, lengths(rng, median * 0.75, spread, count))
    answers = writer.texts(rng, lengths(rng, median * 0.25, spread, count))
    unclosed, doubled = rng.random((2, count))
    open_trace, close_trace, open_answer, close_answer = tags
    made = []
    for i, (question, trace, answer) in enumerate(zip(questions, traces, answers, strict=True)):
        close = "" if unclosed[i] < UNCLOSED else close_trace
        made.append([question, f"{open_trace}{trace}{close}{open_answer}{answer}{close_answer}"])
        if i and doubled[i] < DUPLICATED:
            made[i] = made[i - 1]
    return made


THINK = ("<think>\n", "\n</think>\n\n", "", "")


def raiden(folder: Path, rows: int, writer: Writer) -> None:
    """Seven CSV parts."""
    per_part = -(-rows // 7)
    every = (row for index, count in blocks(rows) for row in pairs(writer, index, count, 9_769, 2.3, THINK))
    for part in range(1, 8):
        with (folder / f"Raiden_DSR1_Part{part}.csv").open("w", encoding="utf-8", newline="") as f:
            out = csv.writer(f)
            out.writerow(["prompt", "response"])
            out.writerows(itertools.islice(every, min(per_part, rows - per_part * (part - 1))))


def openo1(folder: Path, rows: int, writer: Writer) -> None:
    """One JSONL, a quarter Chinese, eight lines that are no UTF-8; and its twin without these."""
    tags = ("<Thought>\n", "\n</Thought>\n", "<Output>\n", "\n</Output>")
    bad = set(np.linspace(0, rows - 1, BAD_LINES + 2).astype(int)[1:-1].tolist())
    with (folder / "OpenO1-SFT.jsonl").open("wb") as f, (folder / "clean.jsonl").open("wb") as clean:
        at = 0
        for index, count in blocks(rows):
            made = pairs(writer, index, count, 4_120, 1.85, tags)
            rng = writer.block(10**6 + index)
            chinese = rng.random(count) < CHINESE
            sizes = lengths(rng, 1_400, 1.85, int(chinese.sum()))
            other = iter(writer.texts(rng, sizes, chinese=True))
            for i, (question, response) in enumerate(made):
                if chinese[i]:
                    text = next(other)
                    question, response = text[:60], f"<Thought>\n{text}\n</Thought>\n<Output>\n{text[:99]}\n</Output>"
                line = json.dumps({"instruction": question, "output": response}, ensure_ascii=False).encode() + b"\n"
                if at in bad:
                    f.write(line[:40] + b"\xff" + line[40:])
                else:
                    f.write(line)
                    clean.write(line)
                at += 1


def cot(folder: Path, rows: int, writer: Writer) -> None:
    """One object of objects, ids as text."""
    with (folder / "CoT_collection_en.json").open("w", encoding="utf-8") as f:
        f.write("{")
        at = 0
        for index, count in blocks(rows):
            rng = writer.block(index)
            sources = writer.texts(rng, lengths(rng, 560, 2.6, count))
            rationales = writer.texts(rng, lengths(rng, 238, 2.4, count))
            targets = writer.texts(rng, lengths(rng, 6, 6, count))
            for source, rationale, target in zip(sources, rationales, targets, strict=True):
                row = {"source": source, "target": target, "rationale": rationale, "task": f"task{at // 2000}"}
                f.write(f'{", " if at else ""}"{at}": {json.dumps(row | {"type": "CoT"})}')
                at += 1
        f.write("}")


def glaive(folder: Path, rows: int, writer: Writer) -> None:
    """Six parquet shards with row groups of 1,000 rows."""
    per_shard = -(-rows // 6)
    every = (row for index, count in blocks(rows) for row in pairs(writer, index, count, 7_078, 1.33, THINK))
    for shard in range(6):
        path = folder / f"train-{shard:05d}-of-00006.parquet"
        with pq.ParquetWriter(path, pa.schema([("prompt", pa.string()), ("response", pa.string())])) as out:
            left = min(per_shard, rows - per_shard * shard)
            while left > 0:
                some = list(itertools.islice(every, min(1000, left)))
                columns = [list(column) for column in zip(*some, strict=True)]
                out.write_table(pa.table(columns, names=["prompt", "response"]), row_group_size=1000)
                left -= len(some)


def main() -> None:
    """Write the sources that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--only", choices=ROWS, action="append")
    args = parser.parse_args()
    words = vocabulary()
    counts = {}
    for name in args.only or ROWS:
        folder = args.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = max(10, int(ROWS[name] * args.scale))
        {"raiden": raiden, "openo1": openo1, "cot": cot, "glaive": glaive}[name](
            folder, rows, Writer(args.seed, name, words)
        )
        counts[name] = {"rows": rows, "bytes": {p.name: p.stat().st_size for p in sorted(folder.iterdir())}}
        print(name, json.dumps(counts[name]), flush=True)
    (args.folder / "counts.json").write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main()
