"""What became of rows of a source, in every sample and every session: read from results/ and from nothing else.

Takes:  the results of a run, a source, rows of it by number (`source_row`, from 0).
Leaves: for each row one Story for each sample of the source: steps in the order of the stages, each with an outcome of OUTCOMES
        and its facts. All rows asked for at once are looked up together.

The outcomes add up to the counts of the manifests: that many rows of a sample are taken, dropped for each reason, and so on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from showwork.look.results import PROMPTS, Manifest, Results
from showwork.look.tables import ROW, Tables, listed
from showwork.look.trained import Turns, turns
from showwork.records.split import is_held_out

OUTCOMES = {
    "sample": ("not_built", "outside", "not_drawn", "dropped", "taken"),
    "standardize": ("not_built", "rejected", "record"),
    "heldout": ("not_built", "asked", "held_out", "free"),
    "mix": ("not_built", "removed", "kept"),
    "pack": ("not_built", "dropped", "packed"),
    "train": ("not_built", "trained", "never_reached", "other_rows"),
    "evaluate": ("not_built", "answered"),
}
"""What can be said of a row by each stage; `lost` where files of different runs lie side by side and none of them has it."""

KEYS = {"sample": ("rows", "dropped"), "standardize": ("records", "rejected"), "heldout": ("prompts",),
        "mix": ("train", "removed"), "pack": ("ledger",), "evaluate": ("generations",)}  # fmt: skip
SHOWN_CHARACTERS = 300
Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What one stage did with a row. `name` is of the sample, the session or the model."""

    stage: str
    name: str
    outcome: str
    facts: Row = field(default_factory=dict)


@dataclass
class Story:
    """One row on its way through one sample."""

    sample: str
    steps: list[Step] = field(default_factory=list)

    def add(self, stage: str, name: str, outcome: str, **facts: Any) -> None:
        """The next step."""
        self.steps.append(Step(stage, name, outcome, facts))

    def of(self, stage: str) -> Step | None:
        """The last step of a stage, if the row came that far."""
        return next((step for step in reversed(self.steps) if step.stage == stage), None)


class Fates:
    """`Fates(results).of("openo1", [1234])[1234]` is the list of the row's stories."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._turns: dict[str, Turns | None] = {}

    @cached_property
    def tables(self) -> Tables:
        """Reads the files that the manifests list, and no others."""
        return Tables(
            manifest.file(key) for stage, keys in KEYS.items() for manifest in self.results.built(stage) for key in keys
        )

    def num_rows(self, source: str) -> int | None:
        """How many rows a source has, where a sample of it was made that looked at all of them."""
        for sample in self.results.sources()[source]:
            manifest = self.results.manifest("sample", sample)
            if manifest and manifest.settings["method"] != "first_n":
                return manifest.counts["rows_in_reach"]
        return None

    def of(self, source: str, rows: Sequence[int]) -> dict[int, list[Story]]:
        """{row: its stories, one for each sample of the source} for rows that the source has."""
        stories: dict[int, list[Story]] = {row: [] for row in rows}
        for sample in self.results.sources()[source]:
            mine = {row: Story(sample) for row in stories}
            self._through(source, sample, mine)
            for row, story in mine.items():
                stories[row].append(story)
        return stories

    def _through(self, source: str, sample: str, stories: dict[int, Story]) -> None:
        manifest = self.results.manifest("sample", sample)
        if manifest is None:
            _all(stories, "sample", sample, "not_built")
            return
        taken = self._sampled(manifest, stories)
        manifest = self.results.manifest("standardize", sample)
        if manifest is None:
            _all(taken, "standardize", sample, "not_built")
            return
        records = self._standardized(manifest, taken)
        self._held_out(records)
        sessions = self.results.sessions(sample)
        if not sessions:
            _all(records, "mix", "", "not_built")
        for session in sessions:
            self._mixed(source, sample, session, records)

    def _sampled(self, manifest: Manifest, stories: dict[int, Story]) -> dict[int, Story]:
        settings, name = manifest.settings, manifest.name
        start, stop = settings["start"], settings["stop"]
        inside = {r: s for r, s in stories.items() if stop is None or start <= r + 1 <= stop}
        _all({r: s for r, s in stories.items() if r not in inside}, "sample", name, "outside", start=start, stop=stop)
        found = self._find(manifest, "rows", "source_row, row_id", "source_row", inside)
        dropped = self._find(manifest, "dropped", "source_row, row_id, reason, detail, raw", "source_row", inside)
        drawn = {
            k: manifest.counts.get(k, 0) for k in ("rows_in_reach", "looked_at", "taken", "not_reached", "over_cap")
        }
        taken = {}
        for row, story in inside.items():
            if row in found:
                story.add("sample", name, "taken", row_id=found[row]["row_id"], method=settings["method"], **drawn)
                taken[row] = story
            elif row in dropped:
                story.add("sample", name, "dropped", **_without(dropped[row], "source_row"))
            elif drawn["not_reached"] or drawn["over_cap"]:
                story.add("sample", name, "not_drawn", **drawn)
            else:
                story.add("sample", name, "lost")
        return taken

    def _standardized(self, manifest: Manifest, stories: dict[int, Story]) -> dict[int, Story]:
        texts = ", ".join(f"length({text}) AS {text}_characters" for text in ("question", "trace", "answer"))
        columns = f"source_row, row_id, record_id, question_id, left(question, {SHOWN_CHARACTERS}) AS question, {texts}"
        found = self._find(manifest, "records", columns, "source_row", stories)
        rejected = self._find(manifest, "rejected", "source_row, row_id, reason, detail, raw", "source_row", stories)
        records = {}
        for row, story in stories.items():
            row_id = story.steps[-1].facts["row_id"]
            if _is(found.get(row), row_id=row_id):
                story.add("standardize", manifest.name, "record", **_without(found[row], "source_row", "row_id"))
                records[row] = story
            elif _is(rejected.get(row), row_id=row_id):
                story.add("standardize", manifest.name, "rejected", **_without(rejected[row], "source_row", "row_id"))
            else:
                story.add("standardize", manifest.name, "lost")
        return records

    def _held_out(self, stories: dict[int, Story]) -> None:
        manifest = self.results.manifest("heldout", PROMPTS)
        if manifest is None:
            _all(stories, "heldout", PROMPTS, "not_built")
            return
        questions = {_record(story)["question_id"] for story in stories.values()}
        prompts = self._find(manifest, "prompts", f"{ROW}, prompt_id, record_id", "prompt_id", questions)
        share, total = manifest.settings["share"], manifest.counts["prompts"]
        asked = {}
        for row, story in stories.items():
            record = _record(story)
            if prompt := prompts.get(record["question_id"]):
                own = prompt["record_id"] == record["record_id"]
                story.add("heldout", PROMPTS, "asked", prompt=prompt[ROW], prompts=total, gold=own)
                asked[row] = story
            elif is_held_out(record["question_id"], share):
                story.add("heldout", PROMPTS, "held_out", prompts=total, share=share)
            else:
                story.add("heldout", PROMPTS, "free")
        self._evaluated(asked)

    def _evaluated(self, stories: dict[int, Story]) -> None:
        if stories and not self.results.names("evaluate"):
            _all(stories, "evaluate", "base", "not_built")
        questions = sorted({_record(story)["question_id"] for story in stories.values()})
        for manifest in self.results.built("evaluate") if questions else ():
            sql = f"SELECT * EXCLUDE ({ROW}) FROM $it WHERE prompt_id IN {listed(questions)} AND mode = 'greedy'"
            said = {row["prompt_id"]: row for row in self.tables.rows(sql, it=manifest.file("generations"))}
            for story in stories.values():
                if answer := said.get(_record(story)["question_id"]):
                    keep = ("answer", "reason", "well_formed", "correct", "looping", "truncated")
                    story.add("evaluate", manifest.name, "answered", **{k: answer[k] for k in keep})

    def _mixed(self, source: str, sample: str, session: str, stories: dict[int, Story]) -> None:
        manifest = self.results.manifest("mix", session)
        assert manifest is not None
        removed = self._find(manifest, "removed", "* EXCLUDE (sample)", "source_row", stories, sample=sample)
        train = self._find(manifest, "train", f"{ROW}, source_row, record_id", "source_row", stories, source=source)
        repeated = self._records(session, {row["duplicate_of"] for row in removed.values()} - {""})
        kept = {}
        for row, story in stories.items():
            record_id = _record(story)["record_id"]
            if _is(removed.get(row), record_id=record_id):
                gone = removed[row]
                other = repeated.get(gone["duplicate_of"])
                facts = {k: gone[k] for k in ("reason", "duplicate_of", "similarity")}
                story.add("mix", session, "removed", **facts, repeats=other)
            elif _is(train.get(row), record_id=record_id):
                story.add("mix", session, "kept", position=train[row][ROW], records=manifest.counts["train"])
                kept[row] = story
            else:
                story.add("mix", session, "lost")
        self._packed(source, session, kept)

    def _records(self, session: str, records: set[str]) -> dict[str, Row]:
        """{record id: where that record lies}: in this mix, an earlier one, or among the held-out prompts."""
        found: dict[str, Row] = {}
        places = [("heldout", PROMPTS, "prompts")]
        places += [("mix", name, "train") for name in self.results.names("mix") if name != session]
        for stage, name, key in [*places, ("mix", session, "train")]:
            manifest = self.results.manifest(stage, name)
            if manifest and records:
                rows = self._find(manifest, key, f"record_id, source, source_row, {ROW}", "record_id", records)
                found |= {i: {"stage": stage, "name": name, **_without(row, "record_id")} for i, row in rows.items()}
        return found

    def _packed(self, source: str, session: str, stories: dict[int, Story]) -> None:
        manifest = self.results.manifest("pack", session)
        if manifest is None:
            _all(stories, "pack", session, "not_built")
            return
        ledger = self._find(manifest, "ledger", f"* EXCLUDE (source, {ROW})", "source_row", stories, source=source)
        packed = {}
        for row, story in stories.items():
            if not _is(ledger.get(row), record_id=_record(story)["record_id"]):
                story.add("pack", session, "lost")
            elif ledger[row]["packed_row"] < 0:
                story.add("pack", session, "dropped", reason=ledger[row]["reason"])
            else:
                place = _without(ledger[row], "source_row", "record_id", "reason")
                story.add("pack", session, "packed", **place, packed_rows=manifest.counts["rows"])
                packed[row] = story
        self._trained(session, manifest, packed)

    def _trained(self, session: str, pack: Manifest, stories: dict[int, Story]) -> None:
        manifest = self.results.manifest("train", session)
        if manifest is None:
            _all(stories, "train", session, "not_built")
            return
        when = self._order(session, pack, manifest)
        if when is None:
            _all(stories, "train", session, "other_rows")
            return
        for story in stories.values():
            row = story.steps[-1].facts["packed_row"]
            found = when.of(row)
            facts = {"turns": found, "steps": when.steps, "first": when.first(row)}
            story.add("train", session, "trained" if found else "never_reached", **facts)

    def _order(self, session: str, pack: Manifest, train: Manifest) -> Turns | None:
        if session not in self._turns:
            history = train.file("history").read_text("utf-8").splitlines() if train.counts["skipped"] else []
            self._turns[session] = turns(pack.body, train.body, map(json.loads, history))
        return self._turns[session]

    def _find(self, manifest: Manifest, key: str, columns: str, by: str, wanted: Any, **equal: str) -> dict[Any, Row]:
        """{value of column `by`: its row} of a file, for the values wanted; `equal` are further conditions."""
        if not wanted:
            return {}
        conditions = "".join(f" AND {name} = ?" for name in equal)
        sql = f"SELECT {columns} FROM $it WHERE {by} IN {listed(wanted)}{conditions}"
        rows = self.tables.rows(sql, list(equal.values()), it=manifest.file(key))
        return {row[by]: row for row in rows}


def _is(row: Row | None, **ids: str) -> bool:
    """Whether a row was found, and is the one that has these ids: a number alone may be another run's."""
    return row is not None and all(row[name] == value for name, value in ids.items())


def _record(story: Story) -> Row:
    step = story.of("standardize")
    assert step is not None
    return step.facts


def _all(stories: dict[int, Story], stage: str, name: str, outcome: str, **facts: Any) -> None:
    for story in stories.values():
        story.add(stage, name, outcome, **facts)


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
