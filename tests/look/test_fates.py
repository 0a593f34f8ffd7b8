"""Every row of every source has a fate, and the fates add up to what the manifests count."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_results import ROWS, SAMPLES, SESSIONS, SOURCES, STEPS, manifest, without

from showwork.foundation.files import write_json
from showwork.learn.data import Order
from showwork.look.fates import OUTCOMES, Fates, Story
from showwork.look.results import Results
from showwork.look.told import conclusions, told
from showwork.look.trained import turns


@pytest.fixture(scope="module")
def stories(fates: Fates) -> dict[str, list[Story]]:
    """{sample: the story of every row of its source}"""
    found: dict[str, list[Story]] = {}
    for source in SOURCES:
        for row in fates.of(source, range(ROWS)).values():
            for story in row:
                found.setdefault(story.sample, []).append(story)
    return found


def outcomes(stories: list[Story], stage: str, name: str | None = None) -> Counter[tuple[str, str]]:
    """{(outcome, reason): rows} of a stage."""
    return Counter(
        (step.outcome, step.facts.get("reason", ""))
        for story in stories
        for step in story.steps
        if step.stage == stage and name in (None, step.name)
    )


def of_kind(found: Counter[tuple[str, str]], outcome: str) -> dict[str, int]:
    return {reason: n for (kind, reason), n in sorted(found.items()) if kind == outcome}


def test_every_row_of_every_source_has_a_story_for_every_sample_that_ends_in_a_sentence(fates, stories):
    assert set(stories) == set(SAMPLES)
    for sample, rows in stories.items():
        assert len(rows) == ROWS, sample
        for story in rows:
            assert all(step.outcome in OUTCOMES[step.stage] and told(step) for step in story.steps)
            assert [said for _, said in conclusions(story) if said]


@pytest.mark.parametrize("sample", SAMPLES)
def test_fates_add_up_to_the_counts_of_sample_and_standardize(small, stories, sample):
    sampled, counts = outcomes(stories[sample], "sample"), manifest(small, "sample", sample)["counts"]
    assert sampled["taken", ""] == counts["taken"]
    assert of_kind(sampled, "dropped") == counts["dropped"]
    assert sampled["not_drawn", ""] == counts["not_reached"]
    assert sampled["outside", ""] == ROWS - counts["rows_in_reach"]
    made, counts = outcomes(stories[sample], "standardize"), manifest(small, "standardize", sample)["counts"]
    assert made["record", ""] == counts["records"]
    assert of_kind(made, "rejected") == counts["rejected"]


@pytest.mark.parametrize("session", SESSIONS)
def test_fates_add_up_to_the_counts_of_the_mix(small, stories, session):
    counts = manifest(small, "mix", session)["counts"]
    for sample in SESSIONS[session]:
        mixed = outcomes(stories[sample], "mix", session)
        assert of_kind(mixed, "removed") == counts["samples"][sample]["removed"]
        assert mixed["kept", ""] == counts["samples"][sample]["train"]


def test_fates_add_up_to_the_counts_of_pack_by_source_and_to_the_tokens_of_every_step(small, stories):
    counts = manifest(small, "pack", "session1")["counts"]["by_source"]
    rows: dict[int, int] = {}
    tokens: Counter[int] = Counter()
    for sample in SESSIONS["session1"]:
        packed = outcomes(stories[sample], "pack", "session1")
        mine = counts[SAMPLES[sample]["source"]]
        assert packed["packed", ""] == mine["kept"]
        assert of_kind(packed, "dropped") == mine["dropped"]
        for story in stories[sample]:
            if (step := story.of("train")) and step.outcome == "trained":
                place = story.of("pack").facts
                rows[place["packed_row"]] = step.facts["turns"][0]["step"]
                tokens[rows[place["packed_row"]]] += place["num_tokens"]
    history = [json.loads(line) for line in (small / "results/train/session1/history.jsonl").read_text().splitlines()]
    assert tokens == {line["step"]: line["tokens"] for line in history}
    assert any(mine["dropped"] for mine in counts.values())
    assert len(rows) == 8 * STEPS
    assert outcomes(stories["glaive_next"], "pack", "session2") == {
        ("not_built", ""): manifest(small, "mix", "session2")["counts"]["train"]
    }


def test_every_prompt_is_the_fate_of_the_rows_that_ask_it(small, stories):
    prompts = pq.read_table(small / "results/heldout/prompts.parquet").to_pylist()
    gold = {}
    for rows in stories.values():
        for row, story in enumerate(rows):
            step = story.of("heldout")
            if step and step.outcome == "asked":
                prompt = prompts[step.facts["prompt"]]
                assert story.of("standardize").facts["question_id"] == prompt["prompt_id"]
                assert story.of("mix").facts["reason"] == "held_out"
                assert story.of("evaluate").facts["reason"] == "no_open"
                if step.facts["gold"]:
                    gold[step.facts["prompt"]] = row
    assert gold == {number: prompt["source_row"] for number, prompt in enumerate(prompts)}


def test_places_are_those_of_the_files(small, stories):
    train = pq.read_table(small / "results/mix/session1/train.parquet").to_pylist()
    tokens, segments = (np.load(small / f"results/pack/session1/{name}.npy") for name in ("tokens", "segment_ids"))
    for sample in SESSIONS["session1"]:
        for row, story in enumerate(stories[sample]):
            mixed, packed = story.of("mix"), story.of("pack")
            if mixed and mixed.outcome == "kept":
                assert train[mixed.facts["position"]]["source_row"] == row
                assert train[mixed.facts["position"]]["source"] == SAMPLES[sample]["source"]
            if packed and packed.outcome == "packed":
                place = tokens[packed.facts["packed_row"]][
                    segments[packed.facts["packed_row"]] == packed.facts["segment"]
                ]
                assert len(place) == packed.facts["num_tokens"]


def test_a_removed_record_says_where_the_one_it_repeats_lies(fates, stories):
    repeats = [
        step.facts
        for rows in stories.values()
        for s in rows
        if (step := s.of("mix")) and step.facts.get("duplicate_of")
    ]
    assert {facts["reason"] for facts in repeats} >= {"same_record", "near_duplicate", "earlier_record"}
    for facts in repeats:
        other = facts["repeats"]
        found = fates.of(other["source"], [other["source_row"]])[other["source_row"]]
        records = [step.facts["record_id"] for story in found for step in story.steps if step.stage == "standardize"]
        assert facts["duplicate_of"] in records


def test_asking_for_one_row_says_what_asking_for_all_says(fates, stories):
    for sample, rows in stories.items():
        for row in range(0, ROWS, 17):
            alone = fates.of(SAMPLES[sample]["source"], [row])[row]
            assert next(story for story in alone if story.sample == sample) == rows[row]


@pytest.mark.parametrize("steps", [3, 7, 12, 14])
def test_turns_are_the_steps_in_which_the_trainer_takes_the_row(steps):
    pack, train = trained_manifests(rows=10, steps=steps, each=4)
    found = turns(pack, train, [])
    order = Order(10, 4, train["parts"]["rows"], seed=5)
    for row in range(10):
        expected = [step + 1 for step in range(steps) if row in order.rows_at(step)]
        assert [turn["step"] for turn in found.of(row)] == expected
        assert [turn["epoch"] for turn in found.of(row)] == list(range(1, len(expected) + 1))
        assert found.first(row) <= 3


def test_a_step_that_was_skipped_is_said_to_be():
    pack, train = trained_manifests(rows=2, steps=3, each=2)
    history = [{"step": 1, "skipped": 0}, {"step": 2, "skipped": 1}, {"step": 3, "skipped": 1}]
    found = turns(pack, train, history)
    assert [turn["skipped"] for turn in found.of(0)] == [False, True, False]


def test_steps_of_a_training_of_other_packed_rows_are_not_told():
    pack, train = trained_manifests(rows=2, steps=3, each=2)
    train["parts"]["rows"] = "another"
    assert turns(pack, train, []) is None


def trained_manifests(rows: int, steps: int, each: int) -> tuple[dict[str, Any], dict[str, Any]]:
    names = ("tokens", "loss_mask", "segment_ids", "positions")
    pack = {"name": "s", "files": {name: {"sha256": name} for name in names}, "counts": {"rows": rows}}
    digest = hashlib.sha256(json.dumps(dict(zip(names, names, strict=True)), sort_keys=True).encode()).hexdigest()
    settings = {"seed": 5, "train": {"batch_size": each, "gradient_accumulation": 1}}
    train = {"name": "s", "settings": settings, "counts": {"steps": steps}, "parts": {"rows": digest}}
    return pack, train


@pytest.mark.parametrize(
    ("missing", "stage", "command"),
    [
        (
            ("sample", "standardize", "heldout", "mix", "pack", "train", "evaluate"),
            "sample",
            "results/sample/all_raiden.json",
        ),
        (
            ("standardize", "heldout", "mix", "pack", "train", "evaluate"),
            "standardize",
            "results/standardize/all_raiden.json",
        ),
        (("heldout", "mix", "pack", "train", "evaluate"), "heldout", "results/heldout/prompts.json"),
        (("mix", "pack", "train", "evaluate"), "mix", "data"),
        (("pack", "train", "evaluate"), "pack", "results/pack/session1/manifest.json"),
        (("train",), "train", "results/train/session1/manifest.json"),
    ],
)
def test_a_stage_that_is_not_built_is_said_with_the_command_that_builds_it(
    small, tmp_path, stories, missing, stage, command
):
    from showwork.look.why import command as builds

    row = next(
        i for i, story in enumerate(stories["all_raiden"]) if (step := story.of("train")) and step.outcome == "trained"
    )
    results = Results(without(small, tmp_path, *missing))
    story = Fates(results).of("raiden", [row])[row][0]
    step = next(step for step in story.steps if step.outcome == "not_built")
    assert step.stage == stage
    assert builds(results, step) == f"snakemake --cores 8 {command} --directory {tmp_path}"
    assert told(step) == "not built yet"


def test_a_row_that_a_cap_may_have_passed_over_is_not_called_unreached_alone(small, tmp_path):
    folder = without(small, tmp_path, "nothing")
    path = folder / "results/sample/openo1_some.json"
    body = json.loads(path.read_text())
    body["counts"] |= {"not_reached": 11, "over_cap": 30}
    path.unlink()
    write_json(path, body)
    every = [story for rows in Fates(Results(folder)).of("openo1", range(ROWS)).values() for story in rows]
    step = next(step for story in every for step in story.steps if step.outcome == "not_drawn")
    assert "one of 30 rows over the cap of their group" in told(step)


def test_what_is_older_than_its_input_is_noted(small, tmp_path):
    folder = without(small, tmp_path, "nothing")
    assert Results(folder).older() == []
    path = folder / "results/standardize/openo1_some.json"
    body = json.loads(path.read_text())
    path.unlink()
    write_json(path, body | {"digest": "another"})
    notes = Results(folder).older()
    assert [note.split(" was made")[0] for note in notes] == [
        str(folder / f"results/{p}") for p in ("heldout/prompts.json", "mix/session1/manifest.json")
    ]
    assert f"snakemake --cores 8 results/mix/session1/manifest.json --directory {folder}" in notes[1]


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_file_that_is_not_as_listed_is_named_and_left_alone(small, tmp_path, damage):
    folder = without(small, tmp_path, "nothing")
    path = folder / "results/mix/session1/train.parquet"
    body = path.read_bytes()
    path.unlink()
    if damage == "short":
        path.write_bytes(body[:100])
    with pytest.raises(
        (ValueError, FileNotFoundError),
        match=r"train\.parquet: (manifest.json lists it but it is gone|has 100 bytes but)",
    ):
        Fates(Results(folder)).of("raiden", [0])
    assert path.exists() == (damage == "short")


def test_a_folder_without_results_is_told_how_to_get_some(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=f"no such folder; .*snakemake --cores 8 data --directory {tmp_path}"):
        Results(tmp_path)
