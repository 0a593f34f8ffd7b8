"""Fates in words: one line for each step of a row, and one for what came of it.

Takes:  stories (look/fates.py).
Leaves: plain text, and the targets that would have to be built to know more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from showwork.look.fates import Step, Story
from showwork.page.funnel import MEANINGS
from showwork.records.paths import REASONS

MEANS = {**REASONS, **MEANINGS, "bad_utf8": "it is not UTF-8", "lone_surrogate": "it holds half of a surrogate pair",
         "bad_json": "it is not JSON", "duplicate_key": "it gives a key twice", "not_an_object": "it is no JSON object",
         "bad_csv": "it is not CSV", "wrong_width": "it has too many or too few cells",
         "unknown_column": "it has a column that the other rows have not"}  # fmt: skip
"""Why a row is lost, by reason, whichever stage says so."""

LOST = "does not know this row, though it should: results of different runs lie side by side"
Facts = Mapping[str, Any]


def conclusions(story: Story) -> list[tuple[str, str]]:
    """[(trained | held out | lost | open | elsewhere, what came of the row)]: one for each session that it came to, or one."""
    last = [step for step in story.steps if step.stage not in ("mix", "pack", "train", "evaluate", "heldout")][-1]
    sessions = list(dict.fromkeys(step.name for step in story.steps if step.stage == "mix" and step.name))
    if not sessions:
        if (held := story.of("heldout")) and held.outcome in ("asked", "held_out"):
            last = held
        return [_conclusion(last)]
    found = []
    for session in sessions:
        steps = [step for step in story.steps if step.name == session and step.stage in ("mix", "pack", "train")]
        if steps[-1].outcome == "removed" and steps[-1].facts["reason"] == "held_out":
            found.append(_conclusion(story.of("heldout") or steps[-1]))
        else:
            found.append(_conclusion(steps[-1]))
    return list(dict.fromkeys(found))


def _conclusion(step: Step) -> tuple[str, str]:
    facts, name = step.facts, step.name
    match step.stage, step.outcome:
        case "train", "trained":
            turns = [f"{turn['step']:,}" for turn in facts["turns"]]
            return (
                "trained",
                f"trained on in {name}, step{'s' if len(turns) > 1 else ''} {_and(turns)} of {facts['steps']:,}",
            )
        case "train", "never_reached":
            return "lost", f"packed for {name}, but its training ended before its turn"
        case "train", "other_rows":
            return "open", f"packed for {name}, whose training was of other packed rows than lie there now"
        case "heldout", "asked":
            return "held out", f"held out: prompt {facts['prompt']}, which every model is asked"
        case "heldout", "held_out":
            return "held out", "held out: never trained on, and not among the prompts that are asked"
        case "sample", "outside":
            return "elsewhere", f"outside the slice of {name}"
        case "sample", "not_drawn":
            return (
                "elsewhere",
                f"not in {name}: never reached{', or over a cap' if facts['over_cap'] else ''}",
            )
        case stage, "dropped" | "rejected" | "removed":
            how = {"removed": "removed from", "rejected": "rejected at"}.get(step.outcome, "dropped at")
            return "lost", f"{how} {stage} {name}: {facts['reason']}"
        case stage, "not_built":
            return "open", {
                "sample": f"sample {name} is not built yet",
                "standardize": f"in sample {name}, which is not standardized yet",
                "pack": f"in the mix of {name}, which is not packed yet",
                "train": f"packed for {name}, which is not trained yet",
            }[stage]
        case stage, "record":
            return "open", f"a record of {name}, in no mix yet"
        case stage, _:
            return "open", f"{stage} {name} {LOST}"


def told(step: Step) -> str:
    """A step as a sentence without its stage."""
    return _SENTENCES[step.stage, step.outcome](step.facts) if step.outcome != "lost" else LOST


def _sampled(facts: Facts) -> str:
    if facts["method"] in ("random", "reservoir"):
        return f"taken: one of {facts['taken']:,} drawn of {facts['rows_in_reach']:,} rows"
    return f"taken, as every row that can be read ({facts['taken']:,} of {facts['rows_in_reach']:,})"


def _not_drawn(facts: Facts) -> str:
    stopped = (
        f"the draw stopped when {facts['taken']:,} rows had passed, after a look at {facts['looked_at']:,} of "
        f"{facts['rows_in_reach']:,}"
    )
    if over := facts["over_cap"]:
        return f"not in this sample: never reached ({stopped}), or one of {over:,} rows over the cap of their group"
    return f"not in this sample: never reached ({stopped})"


def _outside(facts: Facts) -> str:
    start, stop = facts["start"], facts["stop"]
    return f"outside the slice, which is rows {start - 1:,} to {stop - 1:,} (start {start:,}, stop {stop:,} in config.yaml)"


def _dropped(facts: Facts) -> str:
    detail = facts["detail"] or facts.get("raw") or ""
    return f"dropped: {facts['reason']}{_means(facts['reason'])}" + (f"\n“{detail[:200]}”" if detail else "")


def _rejected(facts: Facts) -> str:
    return _dropped(facts).replace("dropped", "rejected", 1)


def _record(facts: Facts) -> str:
    lengths = ", ".join(f"{text} {facts[f'{text}_characters']:,}" for text in ("question", "trace", "answer"))
    return f"record {facts['record_id']} ({lengths} characters)"


def _asked(facts: Facts) -> str:
    gold = "with this record's answer as gold" if facts["gold"] else "with another record of the same question as gold"
    return f"held out: prompt {facts['prompt']} of {facts['prompts']:,}, {gold}"


def _removed(facts: Facts) -> str:
    text = f"removed: {facts['reason']}{_means(facts['reason'])}"
    if facts["duplicate_of"]:
        other = facts["repeats"]
        where = f" ({_where(other)})" if other else ""
        does = "holds the question of" if facts["reason"] == "contaminated" else "repeats"
        text += f"\n{does} {facts['duplicate_of']}{where}"
    if facts["similarity"] is None:
        return text
    return text + (", {:.0%} of it" if facts["reason"] == "contaminated" else ", similarity {:.2f}").format(
        facts["similarity"]
    )


def _where(record: Facts) -> str:
    place = f"{record['source']}:{record['source_row']}"
    if record["stage"] == "heldout":
        return f"{place}, prompt {record['file_row_number']}"
    return f"{place}, row {record['file_row_number']:,} of mix {record['name']}"


def _packed(facts: Facts) -> str:
    cut = f", {facts['tokens_cut']:,} cut from the middle of its trace" if facts["tokens_cut"] else ", nothing cut"
    return (
        f"packed row {facts['packed_row']:,} of {facts['packed_rows']:,}, segment {facts['segment']}: "
        f"{facts['num_tokens']:,} tokens{cut}"
    )


def _trained(facts: Facts) -> str:
    turns = [
        f"{turn['step']:,} (epoch {turn['epoch']}{', skipped as not finite' if turn['skipped'] else ''})"
        for turn in facts["turns"]
    ]
    return f"trained on in step{'s' if len(turns) > 1 else ''} {_and(turns)} of {facts['steps']:,}"


def _never_reached(facts: Facts) -> str:
    return f"never trained on: its turn is step {facts['first']:,}, the training ended after step {facts['steps']:,}"


def _answered(facts: Facts) -> str:
    judged = {True: "right", False: "wrong", None: "not judged, the gold answer is long"}[facts["correct"]]
    form = "well-formed" if facts["well_formed"] else f"malformed: {facts['reason']}"
    more = "".join(f", {word}" for word in ("looping", "truncated") if facts[word])
    said = " ".join((facts["answer"] or "").split())
    return f"answers {judged} ({form}{more})" + (f": “{said[:100]}{'…' if len(said) > 100 else ''}”" if said else "")


_SENTENCES: dict[tuple[str, str], Callable[[Facts], str]] = {
    ("sample", "taken"): _sampled,
    ("sample", "not_drawn"): _not_drawn,
    ("sample", "outside"): _outside,
    ("sample", "dropped"): _dropped,
    ("standardize", "rejected"): _rejected,
    ("standardize", "record"): _record,
    ("heldout", "free"): lambda facts: "its question is not held out",
    ("heldout", "asked"): _asked,
    ("heldout", "held_out"): lambda facts: (
        f"held out, but not among the {facts['prompts']:,} prompts that are asked (share {facts['share']:g})"
    ),
    ("mix", "removed"): _removed,
    ("mix", "kept"): lambda facts: f"row {facts['position']:,} of the {facts['records']:,} in training order",
    ("pack", "dropped"): lambda facts: f"dropped: {facts['reason']}{_means(facts['reason'])}",
    ("pack", "packed"): _packed,
    ("train", "trained"): _trained,
    ("train", "never_reached"): _never_reached,
    ("train", "other_rows"): lambda facts: "trained on other packed rows than lie there now, so no step can be told",
    ("evaluate", "answered"): _answered,
    **{(stage, "not_built"): lambda facts: "not built yet" for stage in
       ("sample", "standardize", "heldout", "mix", "pack", "train", "evaluate")},
}  # fmt: skip


def _means(reason: str) -> str:
    return f" ({MEANS[reason]})" if reason in MEANS else ""


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
