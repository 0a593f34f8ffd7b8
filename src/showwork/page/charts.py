"""The report's charts as Vega-Lite specifications, one function each.

*Takes* small lists of plain values. *Leaves* specifications as dicts, drawn in the browser by the one inlined Vega
bundle. Colours are names of the page's CSS colours ("--before"), which page.js fills in for the light or dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

SERIES = tuple(f"--series-{i}" for i in range(1, 7))
Values = Sequence[dict[str, Any]]
Spec = dict[str, Any]


def _chart(values: Values, height: int | None = None) -> alt.Chart:
    sized = {"width": "container"} | ({} if height is None else {"height": height})
    return alt.Chart(alt.Data(values=list(values))).properties(**sized)


def _spec(chart: alt.TopLevelMixin) -> Spec:
    """The specification without Altair's own configuration; the page brings the theme."""
    spec = chart.to_dict()
    spec.pop("config", None)
    return spec


def _colours(names: Sequence[str], field: str = "source") -> alt.Color:
    colours = [SERIES[i % len(SERIES)] for i in range(len(names))]
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(names), range=colours), title=None)


def intervals(values: Values, models: Sequence[str], row: str) -> Spec:
    """Shares with their intervals, one line per `row`, the models side by side on it.

    Args:
        values: {row: name, "model", "share", "low", "high"} in percent.
        models: the first is drawn in the colour of "before".
    """
    rows = list(dict.fromkeys(v[row] for v in values))
    colours = ["--before", *SERIES][: len(models)]
    y = alt.Y(
        f"{row}:N",
        sort=rows,
        title=None,
        axis=alt.Axis(labelLimit=170, grid=False, labelColor="--ink", labelFontSize=13),
    )
    offset = alt.YOffset("model:N", sort=list(models))
    colour = alt.Color("model:N", scale=alt.Scale(domain=list(models), range=colours), title=None)
    x = alt.X("low:Q", scale=alt.Scale(domain=[0, 100]), title="percent", axis=alt.Axis(tickCount=6))
    tooltip = [alt.Tooltip(f"{row}:N"), "model:N", alt.Tooltip("share:Q", format=".1f"),
               alt.Tooltip("low:Q", format=".1f"), alt.Tooltip("high:Q", format=".1f")]  # fmt: skip
    chart = _chart(values, height=(20 * len(models) + 14) * len(rows))
    lines = chart.mark_rule(strokeWidth=3, opacity=0.45).encode(x=x, x2="high:Q", y=y, yOffset=offset, color=colour)
    dots = chart.mark_point(filled=True, size=85, opacity=1).encode(
        x="share:Q", y=y, yOffset=offset, color=colour, tooltip=tooltip
    )
    return _spec(lines + dots)


def ladder(values: Values) -> Spec:
    """One share of many models with its interval, a line each: {"model", "share", "low", "high"} in percent; the first is grey."""
    names = [v["model"] for v in values]
    y = alt.Y("model:N", sort=names, title=None, axis=alt.Axis(labelLimit=230, grid=False, labelColor="--ink"))
    x = alt.X("low:Q", scale=alt.Scale(domain=[0, 100]), title="percent", axis=alt.Axis(tickCount=6))
    colours = alt.Scale(domain=names, range=["--before", *["--series-1"] * (len(names) - 1)])
    colour = alt.Color("model:N", scale=colours, legend=None)
    number = [alt.Tooltip(f"{field}:Q", format=".1f") for field in ("share", "low", "high")]
    chart = _chart(values, height=max(60, 26 * len(names)))
    lines = chart.mark_rule(strokeWidth=3, opacity=0.45).encode(x=x, x2="high:Q", y=y, color=colour)
    dots = chart.mark_point(filled=True, size=85, opacity=1)
    return _spec(lines + dots.encode(x="share:Q", y=y, color=colour, tooltip=["model:N", *number]))


def funnel(values: Values, fates: Sequence[str]) -> Spec:
    """Where the selected rows of each sample went: {"sample", "fate", "rows", "share"}, one stacked bar per sample."""
    # Kept rows in calm colours, losses in warm ones, by the order of `fates`.
    colours = ["--series-1", "--series-1-soft", "--series-3", "--series-2", "--series-5", "--before"]
    samples = list(dict.fromkeys(v["sample"] for v in values))
    return _spec(
        _chart(values, height=34 * len(samples))
        .mark_bar(size=20)
        .encode(
            x=alt.X("share:Q", stack="zero", title="percent of the selected rows", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y(
                "sample:N", sort=samples, title=None, axis=alt.Axis(labelLimit=190, labelColor="--ink", grid=False)
            ),
            color=alt.Color("fate:N", scale=alt.Scale(domain=list(fates), range=colours[: len(fates)]), title=None),
            order="order:Q",
            tooltip=["sample:N", "fate:N", alt.Tooltip("rows:Q", format=","), alt.Tooltip("share:Q", format=".2f")],
        )
    )


def mix(values: Values, sources: Sequence[str]) -> Spec:
    """Two stacked bars, records and trained tokens: {"of", "source", "share", "count"} in percent."""
    bars = list(dict.fromkeys(v["of"] for v in values))
    return _spec(
        _chart(values, height=34 * len(bars))
        .mark_bar(size=20)
        .encode(
            x=alt.X("share:Q", stack="zero", title="percent", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("of:N", sort=bars, title=None, axis=alt.Axis(labelColor="--ink", grid=False)),
            color=_colours(sources),
            tooltip=["of:N", "source:N", alt.Tooltip("count:Q", format=","), alt.Tooltip("share:Q", format=".1f")],
        )
    )


def length_bins(lengths: dict[str, np.ndarray], max_length: int, num_bins: int = 40) -> list[dict[str, Any]]:
    """Histogram of token counts by source, up to twice `max_length`; the last bin holds everything longer.

    Args:
        lengths: for each source, [examples] tokens before anything was cut.
    """
    top = max((int(v.max()) for v in lengths.values() if len(v)), default=1)
    edge = min(2 * max_length, max(top, max_length) + 1)
    step = max(1, -(-edge // num_bins))
    bins = -(-edge // step)
    values = []
    for source, tokens in lengths.items():
        counts = np.bincount(np.minimum(tokens // step, bins - 1), minlength=bins)
        values += [
            {"source": source, "from": i * step, "to": (i + 1) * step, "examples": int(n)}
            for i, n in enumerate(counts)
            if n
        ]
    return values


def lengths(values: Values, sources: Sequence[str], max_length: int) -> Spec:
    """The histogram of `length_bins`, with a line at `max_length`."""
    bars = (
        _chart(values, height=230)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X(
                "from:Q",
                bin="binned",
                title="tokens",
                axis=alt.Axis(tickCount=10, format=",d"),
                scale=alt.Scale(zero=True),
            ),
            x2="to:Q",
            y=alt.Y("examples:Q", stack="zero", title="examples"),
            color=_colours(sources),
            tooltip=["source:N", "from:Q", "to:Q", alt.Tooltip("examples:Q", format=",")],
        )
    )
    line = (
        alt.Chart(alt.Data(values=[{"at": max_length}]))
        .mark_rule(strokeWidth=2, strokeDash=[5, 3], color="--ink")
        .encode(x="at:Q")
    )
    return _spec(bars + line)


def fill(values: Values) -> Spec:
    """How full rows are: {"how", "percent"}."""
    return _spec(
        _chart(values, height=150)
        .mark_bar(size=22, color="--series-1")
        .encode(
            x=alt.X("percent:Q", title="percent of a row", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("how:N", sort=None, title=None, axis=alt.Axis(grid=False, labelColor="--ink", labelFontSize=13)),
            tooltip=["how:N", alt.Tooltip("percent:Q", format=".1f")],
        )
    )


def segments(values: Values) -> Spec:
    """Packed rows by how many examples they hold: {"examples", "rows"}."""
    return _spec(
        _chart(values, height=150)
        .mark_bar(color="--series-1", width={"band": 0.7})
        .encode(
            x=alt.X("examples:O", title="examples in the row", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("rows:Q", title="packed rows"),
            tooltip=["examples:O", alt.Tooltip("rows:Q", format=",")],
        )
    )


CURVE_TITLES = {
    "loss": "nats per token", "learning_rate": "learning rate", "grad_norm": "norm", "tokens_per_s": "tokens per second",
    "share_moved": "share", "reward": "reward", "length": "tokens", "kl": "nats per token", "entropy": "nats per token",
    "same_reward_groups": "share of groups", "clip_share": "share of tokens",
}  # fmt: skip


LOG_FROM = 20
"""A loss that falls by more than this factor is drawn on a logarithmic axis; a linear one would show a step and a floor."""


def curve(values: Values, field: str) -> Spec:
    """One quantity over optimizer steps; where values have a "smooth" it is drawn strongly over the faint line."""
    strong = "smooth" in values[0]
    known = [v[field] for v in values if v[field] > 0]
    log = (field == "grad_norm" and len(known) == len(values)) or (
        field == "loss" and max(known) > LOG_FROM * min(known)
    )
    scale = (
        alt.Scale(type="log", nice=False)
        if log
        else alt.Scale(type="linear", zero=field not in ("loss", "reward", "length"))
    )
    number = {"learning_rate": "~e", "tokens_per_s": "~s"}.get(field, "~g")
    numbers = alt.Axis(tickCount=5, labelExpr=f"abs(datum.value) < 1e-12 ? '0' : format(datum.value, '{number}')")
    x = alt.X("step:Q", title="optimizer step", axis=alt.Axis(grid=False, tickCount=6), scale=alt.Scale(nice=False))
    y = alt.Y(f"{field}:Q", title=CURVE_TITLES[field], scale=scale, axis=numbers)
    base = _chart(values, height=180)
    layers = [
        base.mark_line(strokeWidth=1 if strong else 1.8, opacity=0.4 if strong else 1, color="--series-1").encode(
            x=x, y=y
        )
    ]
    if strong:
        layers.append(base.mark_line(strokeWidth=2.4, color="--series-1").encode(x=x, y=alt.Y("smooth:Q", scale=scale)))
    # A wide invisible point under the pointer makes the values of a thin line readable.
    tooltip = [alt.Tooltip("step:Q", format=","), alt.Tooltip(f"{field}:Q", format=".4g")]
    layers.append(base.mark_point(size=120, opacity=0).encode(x=x, y=alt.Y(f"{field}:Q", scale=scale), tooltip=tooltip))
    return _spec(alt.layer(*layers))


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Centred moving median over `share` of the curve (at least 5 points); the ends use what there is.

    >>> smoothed([0.0, 9.0, 3.0, 2.0, 1.0, 0.0, 0.0])
    [3.0, 2.5, 2.0, 2.0, 1.0, 0.5, 0.0]

    A median, because one bad step would lift a mean for the whole width of the window.
    """
    half = max(2, int(len(values) * share / 2))
    return [round(float(np.median(values[max(0, i - half) : i + half + 1])), 6) for i in range(len(values))]
