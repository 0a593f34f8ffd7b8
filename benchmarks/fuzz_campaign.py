"""Does every text, file and configuration, however broken, get an answer that a person can use?

Takes:  the repository, installed; a seed.
Leaves: benchmarks/results/<date>-fuzz.json: for the parser, the readers and the config checker how many cases were tried, how each was
        answered, how many were answered by something else than they should be. Exit status 1 for one of these.
Command: python benchmarks/fuzz_campaign.py [--parser 1000000] [--config 100000] [--readers 50000] [--jobs 2] [--seed 0]

The cases and what must hold of their answers are those of tests/fuzz; a failing one is printed with its seed and number.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from race import REPO, judge, write

sys.path.insert(0, str(REPO / "tests"))
from fuzz import config_cases, parser_cases, reader_cases

SLICE = {"parser": 25_000, "readers": 1_000, "config": 500}
"""Cases of one seed."""


def parser(seed: int, count: int) -> Iterator[Callable[[], str]]:
    for text, tags in parser_cases.cases(seed, count):
        yield lambda text=text, tags=tags: parser_cases.check(text, tags) or "parsed"


def readers(seed: int, count: int) -> Iterator[Callable[[], str]]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for layout, content in reader_cases.cases(seed, count, reader_cases.originals(folder)):
            yield (
                lambda layout=layout, content=content: (
                    f"{layout} {reader_cases.check(layout, content, folder / 'case')}"
                )
            )


def config(seed: int, count: int) -> Iterator[Callable[[], str]]:
    for case in config_cases.cases(seed, count):
        yield lambda case=case: config_cases.check(case)


def tried(kind: str, seed: int, count: int) -> tuple[Counter[str], list[str], float]:
    """Counts of the answers, the cases that got none, and CPU seconds."""
    answers: Counter[str] = Counter()
    failed: list[str] = []
    began = time.process_time()
    for number, case in enumerate({"parser": parser, "readers": readers, "config": config}[kind](seed, count)):
        try:
            answers[case()] += 1
        except Exception as problem:  # whatever it is, it is what is looked for
            failed.append(f"{kind}, seed {seed}, case {number}: {type(problem).__name__}: {str(problem)[:300]}")
    return answers, failed, time.process_time() - began


def campaign(kind: str, first_seed: int, count: int, jobs: int) -> dict[str, Any]:
    """All cases of a kind, in slices of their own seeds."""
    sizes = [min(SLICE[kind], count - at) for at in range(0, count, SLICE[kind])]
    answers: Counter[str] = Counter()
    failed: list[str] = []
    cpu_s = 0.0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for some, bad, spent in pool.map(tried, itertools.repeat(kind), itertools.count(first_seed), sizes):
            answers += some
            failed += bad
            cpu_s += spent
            print(*bad, sep="\n", end="\n" if bad else "", flush=True)
    print(f"{kind}: {count:,} tried, {len(failed)} failed, {cpu_s:.0f} CPU s", flush=True)
    return {
        "tried": sum(answers.values()) + len(failed),
        "failed": len(failed),
        "first_failed": failed[:20],
        "answers": dict(answers.most_common()),
        "cpu_s": round(cpu_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, count in (("parser", 1_000_000), ("readers", 50_000), ("config", 100_000)):
        parser.add_argument(f"--{kind}", type=int, default=count, help="cases")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the first slice; the next ones count on from it")
    args = parser.parse_args()
    kinds = {kind: campaign(kind, args.seed, getattr(args, kind), args.jobs) for kind in SLICE}
    write("fuzz", {"seed": args.seed, "slices": SLICE, "kinds": kinds})
    judge(
        [
            ("parser cases", kinds["parser"]["tried"], 1_000_000, True),
            ("config cases", kinds["config"]["tried"], 100_000, True),
            *((f"{kind} cases without a proper answer", found["failed"], 0, False) for kind, found in kinds.items()),
        ]
    )


if __name__ == "__main__":
    main()
