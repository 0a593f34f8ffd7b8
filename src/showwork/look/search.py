"""Rows by their content: by the text of their question, or by any of their ids, whole or the beginning of it.

Takes:  the fates of a run.
Leaves: (source, row) pairs. A row that was dropped while it was sampled keeps its row id and no text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from showwork.look.fates import Fates
from showwork.look.results import Manifest
from showwork.records.formats import format_of
from showwork.records.ids import normalized, question_id
from showwork.records.neutralize import neutralize
from showwork.records.parse import Rejected
from showwork.records.paths import compile_path

Place = tuple[str, int]
IDS = {
    ("sample", "rows"): ("row_id",),
    ("sample", "dropped"): ("row_id",),
    ("standardize", "records"): ("record_id", "question_id"),
}
"""Where ids lie; those of every other file are among them."""


def by_id(fates: Fates, beginning: str) -> list[Place]:
    """The rows of which a row_id, record_id or question_id begins with these hex digits."""
    found: dict[Place, None] = {}
    for (stage, key), columns in IDS.items():
        for manifest in fates.results.built(stage):
            matches = " OR ".join(f"starts_with({column}, ?)" for column in columns)
            sql = f"SELECT source_row FROM $it WHERE {matches} ORDER BY source_row"
            rows = fates.tables.rows(sql, [beginning] * len(columns), it=manifest.file(key))
            found.update(dict.fromkeys((manifest.settings["source"], row["source_row"]) for row in rows))
    return sorted(found)


def by_text(fates: Fates, text: str) -> list[Place]:
    """The rows whose question this is, but for letter case, white space and Unicode form: records, and rejected rows."""
    wanted = question_id(neutralize(text.strip())[0])
    found: dict[Place, None] = {}
    for manifest in fates.results.built("standardize"):
        source = manifest.settings["source"]
        sql = "SELECT source_row FROM $it WHERE question_id = ?"
        records = fates.tables.rows(sql, [wanted], it=manifest.file("records"))
        found.update(dict.fromkeys((source, row["source_row"]) for row in records))
        found.update(dict.fromkeys((source, row) for row in _rejected(fates, manifest, normalized(text))))
    return sorted(found)


def _rejected(fates: Fates, manifest: Manifest, question: str) -> Iterator[int]:
    """The rejected rows of a sample that ask a question; they are kept as they came, so the source's format finds it."""
    settings = manifest.settings
    at = compile_path(format_of(settings["format"], settings.get("columns")).columns["question"])
    for row in fates.tables.rows("SELECT source_row, raw FROM $it", it=manifest.file("rejected")):
        found = at(json.loads(row["raw"]))
        if not isinstance(found, Rejected) and normalized(found) == question:
            yield row["source_row"]
