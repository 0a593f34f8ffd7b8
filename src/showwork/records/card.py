"""The data card and the NOTICE of a published dataset.

Takes:  the manifest of a mix, the licences as the configuration states them, where the sources lie.
Leaves: README.md with the YAML header that the hub and `datasets` read, and a NOTICE that credits every source, shows each
        licence as its card states it and any second statement beside it, and says what was changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from showwork.records.keeping import REASONS

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)

Licenses = Mapping[str, Mapping[str, Any]]
Origins = Mapping[str, Mapping[str, Any]]


def data_card(
    name: str, mix: Mapping[str, Any], licenses: Licenses, origins: Origins, columns: Mapping[str, Sequence[str]]
) -> str:
    """README.md of dataset `name`; `columns` are those of each sample."""
    counts, settings = mix["counts"], mix["settings"]
    header = {
        "pretty_name": name,
        "language": ["en"],
        "license": _one_or_all(sorted({entry["license"] for entry in licenses.values()})),
        "task_categories": ["text-generation"],
        "tags": ["reasoning", "chain-of-thought", "sft"],
        "size_categories": [next((label for limit, label in _SIZES if counts["train"] < limit), "10M<n<100M")],
        "source_datasets": [f"extended|{entry['hub']}" for entry in origins.values() if entry["hub"]] or ["original"],
        "configs": [
            {"config_name": "mix", "default": True, "data_files": [{"split": "train", "path": "data/train.parquet"}]},
            *(
                {"config_name": s, "data_files": [{"split": "train", "path": f"samples/{s}.parquet"}]}
                for s in counts["samples"]
            ),
        ],
    }
    removed = "".join(
        f"| {reason} | {counts['removed'][reason]:,} | {meaning} |\n"
        for reason, meaning in REASONS.items()
        if reason in counts["removed"]
    )
    sources = "".join(
        f"| {source} | {_linked(origins[source])} | `{origins[source]['revision'] or 'not pinned'}` | {entry['license']}"
        f"{'; see NOTICE' if entry.get('note') else ''} |\n"
        for source, entry in licenses.items()
    )
    shown = "".join(f"| {s} | {b['taken']:,} | {', '.join(columns[s])} |\n" for s, b in counts["samples"].items())
    tree = "\n".join(mix["tree"])
    return f"""---
{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---

# {name}

{counts["train"]:,} records of `question`, `trace` (the reasoning, without tags) and `answer`, in training order, and the
samples they were made of, in the columns of their sources.

```python
from datasets import load_dataset

mix = load_dataset("OWNER/{name}", split="train")                                   # the records
rows = load_dataset("OWNER/{name}", "{next(iter(counts["samples"]))}", split="train")  # a sample as it stands in its source
```

## From source to record

```text
{tree}
```

| source | where | revision | licence |
|---|---|---|---|
{sources}
Each record names its source, the row there (`source_row`, from 0 in the revision's file order) and ids by content: `row_id`
(the row's own columns), `record_id` (question, trace and answer), `question_id` (the question in small letters, white space
and Unicode form evened out). Control tokens of Gemma and the tags of our own template that stood inside a text are written with
‹ › instead of < >.

| sample | rows | columns |
|---|--:|---|
{shown}
## What was left out of the mix

{f"| reason | records | meaning |{chr(10)}|---|--:|---|{chr(10)}{removed}" if removed else "Nothing."}
Questions whose hash falls below a share of {settings["share"]:g} are held out for evaluation, here and in every other session.
Order and choice follow from seed {settings["seed"]}. The licences of the sources apply to their rows: see NOTICE.
"""


def notice(name: str, licenses: Licenses, origins: Origins) -> str:
    """NOTICE of dataset `name`."""
    parts = [
        f"{name}\n\nThis dataset is made of rows of the sources below. Rows were selected, and their texts were divided into "
        "question, trace\nand answer; records that repeat others or are held out for evaluation were left out. The licence of "
        "each source applies to\nits rows.\n"
    ]
    for source, entry in licenses.items():
        origin = origins[source]
        where = f"https://huggingface.co/datasets/{origin['hub']}" if origin["hub"] else "a local folder"
        parts.append(
            f"{source}\n  source:   {where}\n  revision: {origin['revision'] or 'not pinned'}\n"
            f"  licence:  {entry['license']} (as the dataset's card states it)\n"
            + (f"  note:     {entry['note']}\n" if entry.get("note") else "")
        )
    return "\n".join(parts)


def _one_or_all(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def _linked(origin: Mapping[str, Any]) -> str:
    return f"[{origin['hub']}](https://huggingface.co/datasets/{origin['hub']})" if origin["hub"] else "a local folder"
