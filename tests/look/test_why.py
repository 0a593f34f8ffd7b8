from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from data_stages import download, jsonl, run_sample, run_standardize
from look.shown import on_a_terminal, run
from small_results import ROWS, manifest, without

from showwork.look.why import COUNTED


def first(small, file, **equal):
    """The first row of a file of results/ with these values."""
    rows = pq.read_table(small / "results" / file).to_pylist()
    return next(row for row in rows if all(row[name] == value for name, value in equal.items()))


def test_trained_row_is_followed_from_its_source_to_its_step(small, capsys):
    row = next(
        row for row in pq.read_table(small / "results/pack/session1/ledger.parquet").to_pylist() if row["tokens_cut"]
    )
    place = f"{row['source']}:{row['source_row']}"
    code, out, _ = run(capsys, "why", place, "--directory", small)
    assert code == 0
    assert out.startswith(f"{place}  →  ")
    assert f"record {row['record_id']}" in out
    said = f"packed row {row['packed_row']} of {manifest(small, 'pack', 'session1')['counts']['rows']}, segment {row['segment']}"
    assert f"{said}: {row['num_tokens']} tokens, {row['tokens_cut']:,} cut from the middle of its trace" in out
    assert "mix session1" in out
    assert out.rstrip().endswith(COUNTED)


def test_reasons_come_with_what_they_mean_and_the_text_that_failed(small, capsys):
    row = first(small, "standardize/all_raiden.rejected.parquet", reason="no_close")
    code, out, _ = run(capsys, "why", f"raiden:{row['source_row']}", "--directory", small)
    assert code == 0
    assert "→  rejected at standardize all_raiden: no_close" in out
    assert "rejected: no_close (the tag that closes the trace is not there)" in out
    assert " ".join(row["detail"].split()) in " ".join(out.split())
    assert f"all_raiden.rejected.parquet --where 'source_row = {row['source_row']}'" in out


@pytest.mark.parametrize(
    ("file", "equal", "said"),
    [
        ("sample/openo1_some.dropped.parquet", {"reason": "language"}, "dropped: language (not English)"),
        ("sample/all_raiden.dropped.parquet", {"reason": "bad_utf8"}, "dropped: bad_utf8 (it is not UTF-8)"),
        ("mix/session1/removed.parquet", {"reason": "near_duplicate"}, "similarity 0."),
        ("mix/session1/removed.parquet", {"reason": "held_out"}, "held out"),
        ("mix/session2/removed.parquet", {"reason": "earlier_record"}, "of mix session1)"),
    ],
)
def test_each_loss_is_told_in_its_own_words(small, capsys, file, equal, said):
    row = first(small, file, **equal)
    code, out, _ = run(capsys, "why", f"{row['source']}:{row['source_row']}", "--directory", small)
    assert code == 0
    assert said in out


def test_row_that_was_not_drawn_is_told_where_the_draw_stopped(small, capsys):
    seen = {
        r["source_row"]
        for f in ("", ".dropped")
        for r in pq.read_table(small / f"results/sample/openo1_some{f}.parquet").to_pylist()
    }
    row = min(set(range(ROWS)) - seen)
    counts = manifest(small, "sample", "openo1_some")["counts"]
    _, out, _ = run(capsys, "why", f"openo1:{row}", "--directory", small)
    assert "→  not in openo1_some: never reached" in out
    assert f"the draw stopped when 30 rows had passed, after a look at {counts['looked_at']} of 100" in out


def test_row_outside_a_slice_is_told_the_slice_in_both_ways_of_counting(small, capsys):
    _, out, _ = run(capsys, "why", "glaive:95", "--directory", small)
    assert "outside the slice, which is rows 60 to 89 (start 61, stop 90 in config.yaml)" in out


def test_held_out_row_is_told_what_the_models_answered(small, capsys):
    prompt = first(small, "heldout/prompts.parquet")
    _, out, _ = run(capsys, "why", f"{prompt['source']}:{prompt['source_row']}", "--directory", small)
    assert "→  held out: prompt 0, which every model is asked" in out
    assert "answers wrong (malformed: no_open, truncated): “4”" in out


@pytest.mark.parametrize(
    ("name", "digits"), [("row_id", 32), ("record_id", 32), ("question_id", 32), ("record_id", 8), ("row_id", 10)]
)
def test_a_row_is_found_by_any_of_its_ids_whole_or_in_part(small, capsys, name, digits):
    record = first(small, "standardize/openo1_some.parquet")
    code, out, _ = run(capsys, "why", record[name][:digits], "--directory", small)
    assert code == 0
    assert out.startswith(f"openo1:{record['source_row']}  →  ")


@pytest.mark.parametrize("changed", [str, str.upper, lambda text: f"  {text.replace(' ', '  ')}"])
def test_a_row_is_found_by_its_question_however_it_is_spaced(small, capsys, changed):
    record = first(small, "standardize/glaive_first.parquet")
    code, out, _ = run(capsys, "why", "--text", changed(record["question"]), "--directory", small)
    assert code == 0
    assert f"glaive:{record['source_row']}  →  " in out


def test_a_rejected_row_is_found_by_its_question_too(small, capsys):
    row = first(small, "standardize/all_raiden.rejected.parquet", reason="loops")
    _, out, _ = run(capsys, "why", "--text", json.loads(row["raw"])["prompt"], "--directory", small)
    assert f"raiden:{row['source_row']}  →  rejected at standardize all_raiden: loops" in out


def test_rows_that_match_beyond_the_number_asked_for_are_counted(small, capsys):
    found = first(small, "mix/session1/removed.parquet", reason="same_record")
    _, out, _ = run(capsys, "why", found["record_id"], "--most", "1", "--directory", small)
    assert "1 more row matches; show all with --most 2" in out
    _, whole, _ = run(capsys, "why", found["record_id"], "--directory", small)
    assert whole.count("  →  ") == 2


def test_json_holds_every_step_and_the_command_of_what_is_not_built(small, capsys):
    record = first(small, "mix/session2/train.parquet")
    code, out, _ = run(capsys, "why", f"glaive:{record['source_row']}", "--directory", small, "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert (row["source"], row["source_row"], row["notes"]) == ("glaive", record["source_row"], [])
    assert [sample["sample"] for sample in row["samples"]] == ["glaive_first", "glaive_next"]
    steps = row["samples"][1]["steps"]
    assert [(s["stage"], s["outcome"]) for s in steps] == [
        ("sample", "taken"), ("standardize", "record"), ("heldout", "free"), ("mix", "kept"), ("pack", "not_built")
    ]  # fmt: skip
    assert steps[1]["facts"]["record_id"] == record["record_id"]
    assert steps[-1]["command"] == f"snakemake --cores 8 results/pack/session2/manifest.json --directory {small}"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["openo2:3"], "source 'openo2': there is none in {0}/results, did you mean openo1?; it holds samples of cot_collection, glaive, openo1, raiden"),
        (["openo1:100"], "openo1:100: there is no such row; source 'openo1' has 100 rows, openo1:0 to openo1:99"),
        (["openo1:-1"], "openo1:-1: there is no such row; source 'openo1' has 100 rows, openo1:0 to openo1:99"),
        (["openo1"], "'openo1' is no row; write source:row, as cot_collection:0 (the sources are cot_collection, glaive, openo1, raiden), or 6 to 32 hex digits of an id, or --text and a question"),
        (["abc"], "'abc' is no row; write source:row"),
        (["ffffffffffffffff"], "no row_id, record_id or question_id of 5 samples begins with ffffffffffffffff"),
        (["--text", "Why\x1b[2J?"], "no record and no rejected row of 5 samples asks 'Why␛[2J?'; rows that were dropped while sampling keep no text"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_sentence_and_exit_status_1(small, capsys, asked, said):
    code, out, err = run(capsys, "why", *asked, "--directory", small)
    assert (code, out) == (1, "")
    assert err.startswith(f"showwork why: {said.format(small)}")
    assert err.count("\n") == 1


def test_a_source_of_which_only_slices_were_made_does_not_deny_rows_behind_them(small, capsys):
    code, out, _ = run(capsys, "why", "glaive:5000", "--directory", small)
    assert code == 0
    assert out.startswith("glaive:5000  →  outside the slice of glaive_first")


def test_results_of_different_runs_are_noted_and_never_silently_joined(small, tmp_path, capsys):
    folder = without(small, tmp_path, "nothing")
    for file in folder.glob("results/standardize/openo1_some.*"):
        file.unlink()
    files = [
        jsonl(
            folder / "other.jsonl",
            [{"instruction": f"What is {i}?", "output": "<Thought>So.</Thought><Output>1</Output>"} for i in range(9)],
        )
    ]
    columns = {"question": "instruction", "response": "output"}
    other = run_sample(
        folder,
        download(folder, files, "openo1_some", settings={"source": "openo1"}),
        "openo1_some",
        source="openo1",
        columns=columns,
    )
    run_standardize(folder, other, "openo1_some", source="openo1", format="thought_output", columns=columns)
    code, out, _ = run(capsys, "why", "openo1:3", "--directory", folder)
    assert code == 0
    assert "→  mix session1 does not know this row, though it should: results of different runs lie side by side" in out
    assert f"Note: {folder}/results/mix/session1/manifest.json was made from another" in out


def test_lines_of_a_pipe_are_whole_and_without_colour_and_those_of_a_terminal_fit_it(small, capsys):
    row = first(small, "standardize/all_raiden.rejected.parquet", reason="no_close")
    asked = ("why", f"raiden:{row['source_row']}", "--directory", small)
    _, out, _ = run(capsys, *asked)
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())
    seen = on_a_terminal(*asked)
    assert "\x1b[1m" in seen
    assert "\x1b" not in on_a_terminal(*asked, NO_COLOR="1")
