"""Did a session reach what was wanted of it, by which measure, and what is the next thing to try?

Takes   the generations of the base and of the session on the same prompts, the history of the training, the share of source
        rows that made no record, thresholds.
Leaves  a verdict: every measure with its interval and whether it is met, missed or unclear; the fallback that fits.

A measure is missed only when its whole 95 % interval lies on the wrong side of its threshold, met only when it lies on the right
one. A session underperforms when a measure is missed. What fits, the first that applies:

    held-out loss above the base's             grpo_from_base   what it learned from the records hurts: learn without them
    loops, or too many source rows rejected    quality_filter   another mix, so a command to type
    right answers missed, loss still falling   more_epochs      it has not learned yet what the rows hold
    the form or right answers missed           grpo             it knows, or nearly: pay for it

Source  Wilson's interval and the paired bootstrap of learn/statistics.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from showwork.learn.statistics import paired_bootstrap, wilson

SEED = 0  # of the bootstrap: equal evaluations give equal verdicts
FALLBACKS = ("none", "grpo", "more_epochs", "quality_filter", "grpo_from_base")
TAIL = 5  # the last fifth of the training is held against the fifth before it

Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""{mode: {prompt id: row of generations}}"""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure with its 95 % interval. `wanted` is the threshold, `above` whether more is better, `found` the verdict."""

    key: str
    value: float
    low: float
    high: float
    wanted: float
    above: bool

    @property
    def found(self) -> str:
        """met | missed | unclear"""
        better, worse = (self.low, self.high) if self.above else (-self.high, -self.low)
        wanted = self.wanted if self.above else -self.wanted
        return "met" if better >= wanted else "missed" if worse < wanted else "unclear"

    def sentence(self) -> str:
        """For a person."""
        sign = "at least" if self.above else "at most"
        return (
            f"{self.key.replace('_', ' ')} is {self.value:.3f} (95 %: {self.low:.3f} to {self.high:.3f}), wanted {sign} "
            f"{self.wanted:g}: {self.found}"
        )


def verdict(
    base: Rows,
    session: Rows,
    history: Sequence[Mapping[str, Any]],
    rejected: tuple[int, int],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """The whole verdict as plain values.

    Args:
      history: lines of history.jsonl.
      rejected: source rows that made no record, and all that were looked at.
      limits: the `verdict` section of the configuration.
    """
    measures = {m.key: m for m in measured(base, session, rejected, limits)}
    falling = still_falling(history)
    applying = list(fitting(measures, falling is not None and falling >= limits["still_falling"]))
    missed = [m for m in measures.values() if m.found == "missed"]
    return {
        "underperforms": bool(missed),
        "measures": [{**dataclasses.asdict(m), "found": m.found} for m in measures.values()],
        "missed": [m.key for m in missed],
        "loss_fell_by": falling,
        "fallback": applying[0][0] if applying else "none",
        "because": applying[0][1] if applying else "no measure is missed",
        "also": [name for name, _ in applying[1:]],
    }


def measured(base: Rows, session: Rows, rejected: tuple[int, int], limits: Mapping[str, float]) -> list[Measure]:
    """The measures that the evaluations allow; right answers only where the base was asked directly."""
    greedy, before = session["greedy"], base["greedy"]
    found = [_share("well_formed", [r["well_formed"] for r in greedy.values()], limits, above=True)]
    direct = base.get("direct", {})
    both = [p for p in greedy if greedy[p]["correct"] is not None and p in direct]
    if both:
        asked = [[float(rows[p]["correct"]) for p in both] for rows in (direct, greedy)]
        gain = paired_bootstrap(*asked, seed=SEED)
        found.append(
            Measure("gain_over_direct", gain.mean, gain.low, gain.high, limits["gain_over_direct"], above=True)
        )
    found.append(_share("looping", [r["looping"] for r in greedy.values()], limits, above=False))
    scored = [p for p in greedy if greedy[p]["gold_tokens"] and before[p]["gold_tokens"]]
    if scored:
        losses = [[rows[p]["gold_loss"] / rows[p]["gold_tokens"] for p in scored] for rows in (before, greedy)]
        rise = paired_bootstrap(losses[0], losses[1], [greedy[p]["gold_tokens"] for p in scored], seed=SEED)
        found.append(Measure("loss_rise", rise.mean, rise.low, rise.high, limits["loss_rise"], above=False))
    share = wilson(*rejected)
    if share.share is not None and share.low is not None and share.high is not None:
        found.append(Measure("rejected", share.share, share.low, share.high, limits["rejected"], above=False))
    return found


def still_falling(history: Sequence[Mapping[str, Any]]) -> float | None:
    """By which share of itself the loss fell from the fifth before the last to the last fifth.

    None when that says nothing: too few steps, or a training on rewards.

    Losses of 1.0 in the last fifth but one and 0.9 in the last one give 0.1.
    """
    length = len(history) // TAIL
    if length < 1 or "reward" in history[0]:
        return None
    before, last = (_mean_loss(part) for part in (history[-2 * length : -length], history[-length:]))
    return None if before is None or last is None else round((before - last) / before, 6)


def fitting(measures: Mapping[str, Measure], falling: bool) -> list[tuple[str, str]]:
    """(fallback, why) of all that apply, the first one first."""

    def missed(key: str) -> bool:
        return key in measures and measures[key].found == "missed"

    found = []
    if missed("loss_rise"):
        found.append(("grpo_from_base", measures["loss_rise"].sentence()))
    for key in ("looping", "rejected"):
        if missed(key) and not any(name == "quality_filter" for name, _ in found):
            found.append(("quality_filter", measures[key].sentence()))
    if missed("gain_over_direct") and falling:
        found.append(("more_epochs", f"{measures['gain_over_direct'].sentence()}, and the loss was still falling"))
    for key in ("well_formed", "gain_over_direct"):
        if missed(key) and not any(name == "grpo" for name, _ in found):
            found.append(("grpo", measures[key].sentence()))
    return found


def _share(key: str, values: Sequence[bool], limits: Mapping[str, float], *, above: bool) -> Measure:
    share = wilson(sum(values), len(values))
    return Measure(key, share.share or 0.0, share.low or 0.0, share.high or 1.0, limits[key], above)


def _mean_loss(lines: Sequence[Mapping[str, Any]]) -> float | None:
    known = [(line["loss"], line["loss_tokens"]) for line in lines if line["loss"] is not None]
    return float(np.average([k[0] for k in known], weights=[k[1] for k in known])) if known else None
