"""The page as one string: sections into the template, charts as JSON, styles, scripts and Vega inlined.

*Takes* the sections that the other modules of this package made. *Leaves* HTML that asks nothing of a network: its content
security policy forbids every request. Text of records is escaped by the template or packed as data.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

MOST_BYTES = 3_000_000
"""A page is smaller than this; the browser of generations is what gives way."""


def render(sections: Mapping[str, Any], charts: Mapping[str, Any]) -> str:
    """The page.

    Args:
        sections: session, verdict, judge, comparison, questions, generations, funnel, mix, lengths, training, export, provenance.
        charts: {name: Vega-Lite specification}; a name that is missing leaves its figure out.
    """
    titles = (
        ("result", "Result"), ("generations", "Generations"), ("data", "Data"), ("lengths", "Lengths"),
        ("training", "Training"), ("export", "Export"), ("provenance", "Provenance"),
    )  # fmt: skip
    shown = [(i, title) for i, title in titles if i in ("result", "data", "lengths") or sections.get(i)]
    return _rendered("page.html.jinja", {**sections, "sections": shown}, charts)


def render_comparison(sections: Mapping[str, Any], charts: Mapping[str, Any]) -> str:
    """The page that compares many models.

    Args:
        sections: title, sentence, lead, groups (id, title, sentence, verdicts, tables of side_by_side, seeds, judge), glossary.
        charts: {name: Vega-Lite specification}, "<group's id>-accuracy" and "<group's id>-well_formed".
    Raises: ValueError: the page would be larger than `MOST_BYTES`.
    """
    page = _rendered("compare.html.jinja", sections, charts)
    if len(page.encode()) > MOST_BYTES:
        raise ValueError(
            f"the page of {sections['title']} has {len(page.encode()):,} bytes, wanted at most {MOST_BYTES:,}; split the sweep"
        )
    return page


def _rendered(template: str, values: Mapping[str, Any], charts: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(
        **values,
        charts={name: inline_json(spec) for name, spec in charts.items()},
        style=Markup(_asset("style.css")),
        script=Markup(_asset("page.js")),
        vega=Markup(vega_bundle()),
        versions={"vega": vl_convert.get_vega_version()},
    )


def inline_json(value: Any) -> Markup:
    """JSON that may stand inside a <script> element: `<` is written as \\u003c, so no text can close the element."""
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))


@functools.cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. Raises ValueError if it could close its own <script> element."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;")
    if "</script" in bundle.lower():
        raise ValueError("the Vega bundle holds '</script', which would end it early; pin another vl-convert-python")
    return bundle


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")
