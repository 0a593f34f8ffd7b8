"""The prose filter (no maths, no code) against a list of keywords, on texts labelled by hand.

Takes:  benchmarks/labelled/prose_*.txt.
Leaves: benchmarks/results/<date>-prose.json and a table; exit status 1 below the bars on the held-out half (recall of maths and
        code at least 90 %, clean prose lost at most 3 %).

    python benchmarks/prose.py [--mistakes]      mistakes are shown for the tuning half only
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labels import judged, read
from race import write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from showwork.records.prose import not_prose

RECALL, LOST = 0.90, 0.03
KEYWORDS = (
    "equation", "solve", "calculate", "integral", "derivative", "theorem", "triangle", "probability", "sum", "\\frac", "python",
    "javascript", "java", "c++", "sql", "html", "code", "function", "algorithm", "```", "def ", "import ", "class ",
)  # fmt: skip


def main() -> None:
    """Judge both on both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mistakes", action="store_true")
    args = parser.parse_args()
    texts = read(prose="prose_clean.txt", maths="prose_maths.txt", code="prose_code.txt")
    contestants = {
        "showwork": lambda text: not_prose("", text, "") is not None,
        "keywords": lambda text: any(word in text.lower() for word in KEYWORDS),
    }
    results = {}
    for name, flagged in contestants.items():
        for half in ("tuning", "held_out"):
            mine = [t for t in texts if t.half == half]
            results[f"{name}, {half}"] = result = judged(mine, flagged, lambda t: t.label != "prose")
            print(
                f"{name:10} {half:9} maths and code found {result['recall']:6.1%}  clean prose lost "
                f"{result['false_alarms']:6.1%}  of {len(mine)}"
            )
    if args.mistakes:
        for t in texts:
            if t.half == "tuning" and (not_prose("", t.text, "") is not None) != (t.label != "prose"):
                print(f"{t.label} {t.kind}: {not_prose('', t.text, '')}: {t.text!r}")
    write("prose", results)
    ours = results["showwork, held_out"]
    sys.exit(ours["recall"] < RECALL or ours["false_alarms"] > LOST)


if __name__ == "__main__":
    main()
