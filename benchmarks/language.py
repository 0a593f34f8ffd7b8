"""The English filter against a CJK regular expression and lingua, on texts labelled by hand.

Takes:  benchmarks/labelled/language_*.txt; the peers' environment (`make peers`).
Leaves: benchmarks/results/<date>-language.json and a table; exit status 1 below the bar of 97 % on the held-out half.

    python benchmarks/language.py [--mistakes]      mistakes are shown for the tuning half only
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labels import judged, read
from race import peer, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.records.language import not_english

BAR = 0.97


def one_by_one(flagged: Callable[[str], bool]) -> Callable[[Sequence[str]], tuple[list[bool], float]]:
    """Texts -> (which are judged not to be English, CPU seconds)."""

    def judge(texts: Sequence[str]) -> tuple[list[bool], float]:
        flagged(texts[0])  # loads what there is to load
        start = time.process_time()
        return [flagged(text) for text in texts], time.process_time() - start

    return judge


def lingua(texts: Sequence[str]) -> tuple[list[bool], float]:
    """The same by lingua, in the peers' environment."""
    said = subprocess.run(
        peer("lingua_english.py"), input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    told = json.loads(said.stdout)
    return told["flags"], told["seconds"]


CJK = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")
DETECTORS = {
    "showwork": one_by_one(lambda text: not_english(text) is not None),
    "any CJK character": one_by_one(lambda text: bool(CJK.search(text))),
    "lingua": lingua,
}


def main() -> None:
    """Judge all detectors on both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mistakes", action="store_true")
    args = parser.parse_args()
    texts = read(english="language_english.txt", foreign="language_foreign.txt")
    results = {}
    for name, detect in DETECTORS.items():
        flags, seconds = detect([t.text for t in texts])
        told = dict(zip((t.text for t in texts), flags, strict=True))
        for half in ("tuning", "held_out"):
            mine = [t for t in texts if t.half == half]
            result = judged(mine, told.__getitem__, lambda t: t.label == "foreign")
            result["texts_per_second"] = round(len(texts) / max(seconds, 1e-9))
            results[f"{name}, {half}"] = result
            print(
                f"{name:18} {half:9} right {result['right']:6.1%}  foreign found {result['recall']:6.1%}  English lost "
                f"{result['false_alarms']:6.1%}  of {len(mine)}  {result['texts_per_second']:,} texts/s"
            )
    if args.mistakes:
        for t in texts:
            if t.half == "tuning" and (not_english(t.text) is not None) != (t.label == "foreign"):
                print(f"{t.label} {t.kind}: {not_english(t.text)}: {t.text!r}")
    write("language", results)
    sys.exit(results["showwork, held_out"]["right"] < BAR)


if __name__ == "__main__":
    main()
