"""The page's first sentence and its tiles: what the session did to the base, in numbers that hold.

*Takes* the two evaluations. *Leaves* one sentence, a line of context, tiles. A difference is claimed only when its
95 % interval leaves out zero; otherwise the sentence says that none was shown.
"""

from __future__ import annotations

from typing import Any

from showwork.learn.statistics import Difference
from showwork.page.cells import percent, points
from showwork.page.comparison import MEASURES, Evaluated, Measure, difference, headline_gain, measured, shown

BY_KEY = {measure.key: measure for measure in MEASURES}


def verdict_sentence(base: Evaluated, session: Evaluated) -> str:
    """One sentence: form first, then right answers against the base asked directly, or the held-out loss."""
    formed = measured(session.metrics["total"], BY_KEY["well_formed"])
    before = measured(base.metrics["total"], BY_KEY["well_formed"])
    form = (
        f"{session.name} writes {percent(formed['share'])} of {formed['total']} held-out answers in the form asked for "
        f"({base.name} {percent(before['share'])})"
    )
    gain = headline_gain(base, session)
    if gain is not None:
        right = measured(session.metrics["total"], BY_KEY["accuracy"])
        return f"{form} and gets {percent(right['share'])} right, {_against(gain, base.name)}."
    loss = difference(base, session, BY_KEY["loss"])
    if loss is None:
        return f"{form}."
    write = "fell" if loss.high < 0 else "rose" if loss.low > 0 else "did not clearly move"
    values = [measured(e.metrics["total"], BY_KEY["loss"]) for e in (base, session)]
    return f"{form}; the held-out loss {write}: {values[0]:.3f} before, {values[1]:.3f} after."


def _against(gain: Difference, base: str) -> str:
    interval = f"95\N{NARROW NO-BREAK SPACE}%: {points(gain.low)} to {points(gain.high)}"
    if gain.low > 0:
        return f"{100 * gain.mean:.0f} points more than {base} asked directly ({interval})"
    if gain.high < 0:
        return f"{-100 * gain.mean:.0f} points fewer than {base} asked directly ({interval})"
    return f"which is not shown to differ from {base} asked directly ({interval})"


def tiles(base: Evaluated, session: Evaluated) -> list[dict[str, Any]]:
    """The measures a reader looks for first; green or red only where the paired difference is clear."""
    found = []
    for key in ("well_formed", "accuracy", "stop_probability", "looping", "truncated", "loss"):
        measure = BY_KEY[key]
        now = shown(measured(session.metrics["total"], measure), measure.kind)
        was = shown(measured(base.metrics["total"], measure), measure.kind)
        if now["text"] == "–":
            continue
        interval = f"{now['under']}, " if now["under"] else ""
        found.append(
            {
                "name": measure.label,
                "value": now["text"],
                "was": f"{interval}{base.name} {was['text']}",
                "kind": _kind(difference(base, session, measure), measure),
            }
        )
    return found


def _kind(change: Difference | None, measure: Measure) -> str:
    if change is None or change.low <= 0 <= change.high:
        return ""
    return "good" if change.mean * measure.better > 0 else "bad"
