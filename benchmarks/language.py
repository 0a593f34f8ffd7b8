"""The English filter against a CJK regular expression and lingua, on texts labelled by hand.

Takes:  benchmarks/labelled/language_*.txt; lingua where it is installed (an environment of its own: pip install
        lingua-language-detector==2.1.1).
Leaves: benchmarks/results/<date>-language.json and a table; exit status 1 below the bar of 97 % on the held-out half.

    python benchmarks/language.py [--mistakes]      mistakes are shown for the tuning half only
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from labels import judged, read

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.records.language import not_english

BAR = 0.97


def detectors() -> dict[str, Callable[[str], bool]]:
    """{name: whether a text is judged not to be English}."""
    cjk = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")
    found: dict[str, Callable[[str], bool]] = {
        "showwork": lambda text: not_english(text) is not None,
        "any CJK character": lambda text: bool(cjk.search(text)),
    }
    try:
        from lingua import Language, LanguageDetectorBuilder
    except ImportError:
        return found
    detector = LanguageDetectorBuilder.from_all_languages().build()
    found["lingua"] = lambda text: detector.detect_language_of(text) not in (Language.ENGLISH, None)
    return found


def main() -> None:
    """Judge all detectors on both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mistakes", action="store_true")
    args = parser.parse_args()
    texts = read(english="language_english.txt", foreign="language_foreign.txt")
    results = {}
    for name, flagged in detectors().items():
        flagged(texts[0].text)
        for half in ("tuning", "held_out"):
            mine = [t for t in texts if t.half == half]
            start = time.process_time()
            result = judged(mine, flagged, lambda t: t.label == "foreign")
            result["texts_per_second"] = round(len(mine) / max(time.process_time() - start, 1e-9))
            results[f"{name}, {half}"] = result
            print(
                f"{name:18} {half:9} right {result['right']:6.1%}  foreign found {result['recall']:6.1%}  English lost "
                f"{result['false_alarms']:6.1%}  of {len(mine)}  {result['texts_per_second']:,} texts/s"
            )
    if args.mistakes:
        for t in texts:
            if t.half == "tuning" and (not_english(t.text) is not None) != (t.label == "foreign"):
                print(f"{t.label} {t.kind}: {not_english(t.text)}: {t.text!r}")
    target = Path(__file__).parent / "results" / f"{datetime.date.today()}-language.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(results["showwork, held_out"]["right"] < BAR)


if __name__ == "__main__":
    main()
