"""How many injected near duplicates are found, against the exact Jaccard similarity of the same pairs.

Takes:  clean prose of benchmarks/labelled, from which documents are put together by a seed.
Leaves: benchmarks/results/<date>-near-duplicates.json and the curve by share of words changed; exit status 1 when less than
        95 % of the pairs with 2 to 10 % of their words changed are found, or more than 0.1 % of clean documents are removed.

Clean documents are documents of their own and instances of templates: half to four fifths of an instance is its template's,
the rest its own, as in CoT-Collection.

    python benchmarks/near_duplicates.py [--threshold 0.5]

A document is changed by putting other words in the place of a share of its words. The exact similarity is computed for each
injected pair; what it does not find, at this threshold, is the price of the threshold and not of the sketches.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import numpy as np
from labels import read
from race import write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.records.duplicates import SHINGLE_WORDS, jaccard, near_duplicates, sets, shingles
from showwork.records.words import hashed

SHARES = (0.02, 0.04, 0.06, 0.08, 0.10, 0.15, 0.20, 0.25, 0.30)
PAIRS, CLEAN, TEMPLATES, INSTANCES = 120, 3000, 20, 100
FOUND, FALSE = 0.95, 0.001


def documents(count: int, seed: int) -> list[list[str]]:
    """Documents of 60 to 900 words: words drawn from all the prose, each document with words of its own it comes back to."""
    shuffler = random.Random(seed)
    words = sorted({w for t in read(prose="prose_clean.txt") for w in t.text.split()})
    made = []
    for _ in range(count):
        own = shuffler.sample(words, 120)
        size = int(np.exp(shuffler.uniform(np.log(60), np.log(900))))
        made.append([shuffler.choice(own if shuffler.random() < 0.5 else words) for _ in range(size)])
    return made


def changed(words: list[str], share: float, shuffler: random.Random) -> list[str]:
    """The document with so many of its words replaced."""
    out = words[:]
    for i in shuffler.sample(range(len(words)), round(share * len(words))):
        out[i] = f"{shuffler.choice(words)}{shuffler.randrange(10)}"
    return out


def instances(seed: int) -> list[list[str]]:
    """INSTANCES documents of each of TEMPLATES templates."""
    shuffler = random.Random(seed)
    words = sorted({w for t in read(prose="prose_clean.txt") for w in t.text.split()})
    made = []
    for _ in range(TEMPLATES):
        size = int(np.exp(shuffler.uniform(np.log(60), np.log(600))))
        fixed = round(size * shuffler.uniform(0.5, 0.8))
        begin, end = shuffler.choices(words, k=fixed // 2), shuffler.choices(words, k=fixed - fixed // 2)
        made += [[*begin, *shuffler.choices(words, k=size - fixed), *end] for _ in range(INSTANCES)]
    return made


def main() -> None:
    """Inject, search, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threshold", type=float, default=0.5)
    args = parser.parse_args()
    shuffler, curve = random.Random(7), {}
    clean = [" ".join(d) for d in documents(CLEAN, 1) + instances(2)]
    start = time.process_time()
    false = len(near_duplicates(clean, args.threshold)) / len(clean)
    speed = sum(map(len, clean)) / (time.process_time() - start) / 1e6
    within = [0, 0, 0]
    for share in SHARES:
        originals = documents(PAIRS, round(1000 * share))
        texts = [" ".join(d) for d in originals] + [" ".join(changed(d, share, shuffler)) for d in originals]
        members = sets(shingles(hashed(texts)), len(texts))
        similar = [jaccard(members[i], members[PAIRS + i]) for i in range(PAIRS)]
        exact = {PAIRS + i for i, s in enumerate(similar) if s >= args.threshold}
        found = set(near_duplicates(texts, args.threshold))
        if share <= 0.10:
            within = [within[0] + PAIRS, within[1] + len(exact), within[2] + len(found & exact)]
        curve[f"{share:.2f}"] = {
            "similarity": float(np.median(similar)), "exact_finds": len(exact) / PAIRS, "found": len(found) / PAIRS,
        }  # fmt: skip
        print(
            f"{share:4.0%} of words changed: similarity {np.median(similar):.2f}, exact finds {len(exact) / PAIRS:6.1%}, found {len(found) / PAIRS:6.1%}"
        )
    recall = within[2] / within[0]
    missed = recall < FOUND or false > FALSE
    print(
        f"threshold {args.threshold}: of {within[0]} pairs with 2 to 10 % of words changed the exact similarity finds "
        f"{within[1]}, showwork {within[2]} ({recall:.1%}); false pairs {false:.2%} of {len(clean)} documents, {TEMPLATES * INSTANCES} "
        f"of them instances of {TEMPLATES} templates; {speed:.0f} MB/s"
    )
    write("near-duplicates", {"threshold": args.threshold, "shingle_words": SHINGLE_WORDS, "pairs": within[0], "exact_finds": within[1],
         "found": within[2], "recall": recall, "false": false, "documents": len(clean), "instances_of_templates": TEMPLATES * INSTANCES,
         "mb_per_cpu_second": round(speed, 1), "curve": curve})  # fmt: skip
    sys.exit(missed)


if __name__ == "__main__":
    main()
