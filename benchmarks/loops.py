"""The loop detector on nine shapes of loop and eleven sorts of text that repeat themselves for good reasons.

Takes:  the clean prose of benchmarks/labelled, from which traces and loops are made by a seed.
Leaves: benchmarks/results/<date>-loops.json and a table by shape; exit status 1 below the bars on the held-out half (recall at
        least 95 %, false alarms at most 1 %). The halves use other sentences and other seeds.

    python benchmarks/loops.py [--mistakes]      mistakes are shown for the tuning half only
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from labels import read
from race import write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.records.loops import find_loop

RECALL, FALSE_ALARMS, EACH = 0.95, 0.01, 60
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


class Material:
    """Sentences and words of one half."""

    def __init__(self, half: str, seed: int) -> None:
        self.random = random.Random(f"{half} {seed}")
        texts = [t.text for t in read(prose="prose_clean.txt") if t.half == half]
        self.sentences = [
            s for t in texts for s in re.split(r"(?<=[.?!])\s+", t) if 30 < len(s) < 160 and "\n" not in s
        ]
        self.words = sorted({w.lower() for s in self.sentences for w in re.findall("[A-Za-z]{3,}", s)})

    def prose(self, sentences: int) -> str:
        """Some sentences, none twice, in paragraphs."""
        chosen = self.random.sample(self.sentences, min(sentences, len(self.sentences)))
        return "".join(s + self.random.choice([" ", " ", " ", "\n\n"]) for s in chosen)

    def sentence(self) -> str:
        return self.random.choice(self.sentences)

    def phrase(self, size: int) -> list[str]:
        return self.random.choices(self.words, k=size)


def cut(m: Material, text: str) -> str:
    """What a limit on tokens leaves: the text ends anywhere."""
    return text[: len(text) - m.random.randrange(40)]


def varied(m: Material) -> str:
    """A phrase that comes again with one word in eight another one each time."""
    unit, out = m.phrase(16), []
    for _ in range(m.random.randint(10, 40)):
        out += [m.random.choice(m.words) if m.random.random() < 1 / 8 else w for w in unit]
    return " ".join(out)


def numbered(m: Material) -> str:
    said = m.sentence().rstrip(".?!").lower()
    return "".join(f"Step {i}: {said}. " for i in range(1, m.random.randint(12, 60)))


def spelled(m: Material) -> str:
    said = m.sentence()
    return " ".join(f"Attempt {NUMBERS[i % 12]}. {said}" for i in range(m.random.randint(12, 30)))


LOOPS: dict[str, Callable[[Material], str]] = {
    "sentence to the end": lambda m: cut(m, m.prose(20) + (m.sentence() + " ") * m.random.randint(6, 60)),
    "two sentences in turn": lambda m: cut(m, m.prose(20) + f"{m.sentence()} {m.sentence()} " * m.random.randint(5, 30)),
    "paragraph": lambda m: cut(m, m.prose(10) + (m.prose(6) + "\n\n") * m.random.randint(5, 12)),
    "few words": lambda m: cut(m, m.prose(20) + " ".join(m.phrase(m.random.randint(1, 3))) .join([" "] * m.random.randint(60, 300))),
    "in the middle": lambda m: m.prose(12) + (m.sentence() + " ") * m.random.randint(12, 40) + m.prose(12),
    "one word in eight varies": lambda m: cut(m, m.prose(15) + varied(m)),
    "numbered": lambda m: cut(m, m.prose(15) + numbered(m)),
    "numbers in words": lambda m: cut(m, m.prose(15) + spelled(m)),
    "closing tags": lambda m: m.prose(10) + "</answer>" * m.random.randint(60, 200),
}  # fmt: skip


def table(m: Material) -> str:
    head = " | ".join(m.phrase(4))
    rows = "".join(
        f"| {' | '.join(str(m.random.randrange(1000)) for _ in range(4))} |\n" for _ in range(m.random.randint(15, 60))
    )
    return f"{m.prose(8)}\n| {head} |\n|---|---|---|---|\n{rows}"


def word_table(m: Material) -> str:
    rows = "".join(
        f"| {m.random.choice(m.words)} | {m.random.choice(['yes', 'no'])} | {' '.join(m.phrase(2))} |\n"
        for _ in range(40)
    )
    return f"{m.prose(8)}\n| name | fits | remark |\n|---|---|---|\n{rows}"


def code(m: Material) -> str:
    lines = "".join(
        f"    self.assertEqual(compute({a}, {m.random.randrange(99)}), {m.random.randrange(999)})\n"
        for a in range(m.random.randint(10, 40))
    )
    return f"{m.prose(6)}\n```python\ndef test_compute(self):\n{lines}```\n{m.prose(4)}"


def fields(m: Material) -> str:
    names = m.random.sample(m.words, 20)
    body = "".join(f"  private String {n};\n  public String get{n.title()}() {{ return this.{n}; }}\n" for n in names)
    return f"{m.prose(6)}\npublic class Record {{\n{body}}}\n"


def facts(m: Material) -> str:
    names = m.random.sample(m.words, 30)
    return m.prose(6) + "".join(f"The capital of {a} is {b}. " for a, b in zip(names[::2], names[1::2], strict=True))


def results(m: Material) -> str:
    return m.prose(6) + "".join(
        f"For n = {i} the sum is {i * (i + 1) // 2}, which is fine. " for i in range(1, m.random.randint(15, 40))
    )


def song(m: Material) -> str:
    refrain = "".join(f"{' '.join(m.phrase(6))}\n" for _ in range(2))
    return "\n".join("".join(f"{' '.join(m.phrase(7))}\n" for _ in range(6)) + refrain for _ in range(5))


def json_rows(m: Material) -> str:
    rows = ", ".join(
        json.dumps({"id": i, "name": m.random.choice(m.words), "value": m.random.random()}) for i in range(30)
    )
    return f"{m.prose(6)}\n[{rows}]"


def options(m: Material) -> str:
    out = m.prose(4)
    for letter in "ABCDE":
        out += f"Option {letter} says that {' '.join(m.phrase(9))}. Does that fit? Let me check. {m.sentence()} So {letter} is out. "
    return out


def restated(m: Material) -> str:
    problem = " ".join(m.random.sample(m.sentences, 3))
    return "".join(f"Let me read the problem again: {problem}\n\n{m.prose(6)}\n\n" for _ in range(3))


HARD: dict[str, Callable[[Material], str]] = {
    "prose": lambda m: m.prose(m.random.randint(5, 60)), "table of numbers": table, "table of words": word_table,
    "test code": code, "class code": fields, "list of facts": facts, "list of results": results, "song": song,
    "json": json_rows, "options": options, "problem restated": restated,
}  # fmt: skip


def judge(shapes: dict[str, Callable[[Material], str]], half: str) -> dict[str, tuple[int, list[str]]]:
    """{shape: (texts flagged, the texts that were judged wrongly)}."""
    found = {}
    for name, make in shapes.items():
        texts = [make(Material(half, seed)) for seed in range(EACH)]
        flagged = [find_loop(t) is not None for t in texts]
        wrong = [t for t, f in zip(texts, flagged, strict=True) if f != (shapes is LOOPS)]
        found[name] = sum(flagged), wrong
    return found


def share(found: Sequence[tuple[int, list[str]]]) -> float:
    return sum(count for count, _ in found) / (EACH * len(found))


def main() -> None:
    """Judge every shape in both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mistakes", action="store_true")
    args = parser.parse_args()
    results = {}
    for half in ("tuning", "held_out"):
        loops, hard = judge(LOOPS, half), judge(HARD, half)
        for name, (count, wrong) in {**loops, **hard}.items():
            print(f"{half:9} {name:26} flagged {count:3} of {EACH}")
            if args.mistakes and half == "tuning" and wrong:
                print(f"    {find_loop(wrong[0])}: …{wrong[0][-300:]!r}")
        results[half] = {
            "recall": share(list(loops.values())), "false_alarms": share(list(hard.values())),
            "flagged": {name: count for name, (count, _) in {**loops, **hard}.items()}, "of_each": EACH,
        }  # fmt: skip
        print(f"{half}: recall {results[half]['recall']:.1%}, false alarms {results[half]['false_alarms']:.1%}")
    write("loops", results)
    sys.exit(results["held_out"]["recall"] < RECALL or results["held_out"]["false_alarms"] > FALSE_ALARMS)


if __name__ == "__main__":
    main()
