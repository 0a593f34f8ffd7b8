"""The browser of generations: what it shows, packed small enough for one page.

*Takes* the generations of each model. *Leaves* a gzipped, base64 text that page.js unpacks; texts of records thus never
stand in the HTML as markup.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from showwork.page.cells import count
from showwork.page.comparison import Evaluated

FILTERS = ("all", "well-formed", "malformed", "right", "wrong", "looping", "truncated", "improved", "worse")


def generations_section(models: Sequence[Evaluated], most_bytes: int) -> dict[str, Any]:
    """Prompts with every model's greedy completion, as many as fit into `most_bytes` of base64."""
    prompts = [_prompt(row, models) for row in models[0].modes["greedy"].values()]
    shown = len(prompts)
    payload = _packed(models, prompts)
    while len(payload) > most_bytes and shown:
        shown = min(shown - 1, shown * most_bytes // len(payload))
        payload = _packed(models, prompts[:shown])
    judged = any(p["outputs"][m.name]["right"] is not None for p in prompts for m in models)
    return {
        "payload": payload,
        "note": ""
        if shown == len(prompts)
        else f"The page holds the first {count(shown)} of {count(len(prompts))}; all are in generations.parquet.",
        "models": [m.name for m in models],
        "sources": sorted({p["source"] for p in prompts[:shown]}),
        "filters": [f for f in FILTERS if judged or f not in ("right", "wrong")],
    }


def _packed(models: Sequence[Evaluated], prompts: Sequence[dict[str, Any]]) -> str:
    text = json.dumps({"models": [m.name for m in models], "prompts": prompts}, ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _prompt(row: dict[str, Any], models: Sequence[Evaluated]) -> dict[str, Any]:
    name = row["prompt_id"]
    return {
        "question": row["question"],
        "source": row["source"],
        "gold": row["gold_answer"],
        "outputs": {m.name: _output(m.modes["greedy"][name], m.modes.get("direct", {}).get(name)) for m in models},
    }


def _output(row: dict[str, Any], direct: dict[str, Any] | None) -> dict[str, Any]:
    output = {
        "text": row["completion"],
        "formed": row["well_formed"],
        "reason": row["reason"].replace("_", " "),
        "right": row["correct"],
        "looping": row["looping"],
        "truncated": row["truncated"],
        "tokens": row["num_tokens"],
    }
    return output if direct is None else output | {"direct": {"text": direct["answer"], "right": direct["correct"]}}
