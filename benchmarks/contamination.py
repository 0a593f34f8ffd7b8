"""How many records that hold an evaluation question are found, and how many clean ones are taken for such.

Takes:  clean prose of benchmarks/labelled, from which questions and records are put together by a seed.
Leaves: benchmarks/results/<date>-contamination.json and the curve by share of words changed; exit status 1 when less than
        95 % of the questions that are held word for word or with 2 % of their words changed are found, or more than 0.1 % of
        clean records are removed.

    python benchmarks/contamination.py [--share 0.5]

A third of the prompts and of the clean records are instances of the same templates, as in CoT-Collection. What is found is
compared with what a plain set of 8-word runs finds in the same texts: it takes every instance of a template for the question.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from near_duplicates import changed, documents, instances
from race import write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.records.contamination import RUN_WORDS, Contamination
from showwork.records.words import hashed

SHARES = (0.0, 0.02, 0.05, 0.10, 0.20)
PROMPTS, CLEAN = 300, 3000
FOUND, FALSE = 0.95, 0.001


def plain_set(share: float, prompts: list[list[str]], records: list[list[str]]) -> int:
    """Records that hold so much of a prompt by a set of runs of words, as such a check is usually written."""

    def grams(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + RUN_WORDS]) for i in range(len(words) - RUN_WORDS + 1)}

    asked = [g for g in map(grams, prompts) if g]
    return sum(any(len(g & held) >= share * len(g) for g in asked) for held in map(grams, records))


def main() -> None:
    """Inject, search, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.5)
    args = parser.parse_args()
    shuffler = random.Random(3)
    templated = instances(5)
    shuffler.shuffle(templated)
    questions = [d[:120] for d in documents(PROMPTS * 2 // 3, 11)] + templated[: PROMPTS // 3]
    clean = documents(CLEAN * 2 // 3, 12) + templated[PROMPTS // 3 : PROMPTS // 3 + CLEAN // 3]
    hosts = documents(PROMPTS * len(SHARES), 13)
    dirty = []
    for share in SHARES:
        for question in questions:
            host = hosts[len(dirty)]
            dirty.append([*host[: len(host) // 2], *changed(question, share, shuffler), *host[len(host) // 2 :]])
    texts = [" ".join(words) for words in clean + dirty]
    start = time.process_time()
    search = Contamination(args.share, [(str(i), " ".join(q)) for i, q in enumerate(questions)])
    for first in range(0, len(texts), 100):
        part = texts[first : first + 100]
        search.add([str(first + i) for i in range(len(part))], hashed(part))
    gone = search.found()
    speed = sum(map(len, texts)) / (time.process_time() - start) / 1e6
    false = sum(int(name) < len(clean) for name in gone)
    naive = plain_set(args.share, questions, clean)
    curve = {}
    for i, share in enumerate(SHARES):
        base = len(clean) + i * len(questions)
        hit = sum(str(base + q) in gone for q in range(len(questions)))
        curve[f"{share:.2f}"] = hit / len(questions)
        print(f"{share:4.0%} of the question's words changed: {hit} of {len(questions)} found")
    recall = (curve["0.00"] + curve["0.02"]) / 2
    print(
        f"share {args.share}: word for word or 2 % changed {recall:.1%} found; {false} of {len(clean):,} clean records removed, "
        f"by a plain set of {RUN_WORDS}-word runs {naive:,}; {speed:.0f} MB/s"
    )
    write("contamination", {"share": args.share, "run_words": RUN_WORDS, "prompts": len(questions), "clean": len(clean), "false": false,
         "false_of_a_plain_set": naive, "recall": recall, "mb_per_cpu_second": round(speed, 1), "curve": curve})  # fmt: skip
    sys.exit(recall < FOUND or false > FALSE * len(clean))


if __name__ == "__main__":
    main()
