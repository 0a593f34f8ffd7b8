"""The standardize stage: rows in = records + rejected, each with its reason; nothing invented, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_stages import Failed, counts, download, jsonl, rows_of, run_sample, run_standardize

from showwork.foundation.schema import RECORD
from showwork.records.ids import question_id, record_id

GOOD = {"prompt": " Why? ", "response": "<think> It is so. </think>\nBecause."}
DEFECTS: dict[str, dict[str, Any]] = {
    "no_open": {"prompt": "a", "response": "It is so.</think>Because."},
    "no_close": {"prompt": "b", "response": "<think>It is so and so and so"},
    "empty_trace": {"prompt": "c", "response": "<think>\n</think>Because."},
    "empty_answer": {"prompt": "d", "response": "<think>It is so.</think>\u00a0"},
    "several_blocks": {"prompt": "e", "response": "<think>t</think>a<think>u</think>b"},
    "nested": {"prompt": "f", "response": "<think>t<think>u</think>b"},
    "text_before": {"prompt": "g", "response": "Sure. <think>t</think>b"},
    "close_before_open": {"prompt": "h", "response": "</think><think>t"},
    "null": {"prompt": "i", "response": None},
    "empty_question": {"prompt": "", "response": "<think>t</think>b"},
    "only_control_tokens": {"prompt": "j", "response": "<think>t</think><end_of_turn>"},
}


def made(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> Path:
    sample = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows)]))
    return run_standardize(tmp_path, sample, **settings)


def records(manifest: Path) -> list[dict[str, Any]]:
    return rows_of(manifest.with_suffix(".parquet"))


def rejected(manifest: Path) -> list[dict[str, Any]]:
    return rows_of(manifest.with_suffix(".rejected.parquet"))


def test_a_row_becomes_a_record_that_knows_where_it_comes_from(tmp_path: Path) -> None:
    manifest = made(tmp_path, [GOOD])
    (row,) = rows_of(tmp_path / "results/sample/s.parquet")
    assert records(manifest) == [
        {
            "record_id": record_id("Why?", "It is so.", "Because."), "question_id": question_id("why?"), "source": "src",
            "source_row": 0, "row_id": row["row_id"], "question": "Why?", "trace": "It is so.", "answer": "Because.",
        }
    ]  # fmt: skip
    assert list(records(manifest)[0]) == RECORD.names


def test_each_injected_defect_is_rejected_with_its_reason_and_kept_whole(tmp_path: Path) -> None:
    rows = [GOOD, *DEFECTS.values(), {**GOOD, "prompt": "Another?"}]
    manifest = made(tmp_path, rows)
    found = rejected(manifest)
    assert [row["reason"] for row in found] == list(DEFECTS)
    assert [json.loads(row["raw"]) for row in found] == list(DEFECTS.values())
    assert [row["source_row"] for row in found] == list(range(1, 1 + len(DEFECTS)))
    said = counts(manifest)
    assert said["rejected"] == dict.fromkeys(sorted(DEFECTS), 1)
    assert said["rows"] == len(rows) == said["records"] + len(found)
    assert said["records"] == 2


def test_recoveries_are_made_only_when_asked_and_counted_apart(tmp_path: Path) -> None:
    rows = [GOOD, DEFECTS["no_open"], DEFECTS["text_before"]]
    asked = {"like": "think", "recover": ["no_open", "text_before"]}
    manifest = made(tmp_path, rows, format=asked)
    assert counts(manifest)["recovered"] == {"no_open": 1, "text_before": 1}
    assert counts(manifest)["records"] == 3
    assert counts(made(tmp_path, rows))["recovered"] == {}


def test_control_tokens_and_our_tags_are_counted(tmp_path: Path) -> None:
    manifest = made(
        tmp_path, [{"prompt": "What is <eos>?", "response": "<think>no <answer> yet<eos></think>It is <bos>."}]
    )
    assert counts(manifest)["neutralized"] == {"<answer>": 1, "<bos>": 1, "<eos>": 2}
    assert records(manifest)[0]["trace"] == "no ‹answer› yet‹eos›"


def test_filters_act_here_on_rows_taken_as_they_stand(tmp_path: Path) -> None:
    loop = {"prompt": "Why?", "response": f"<think>{'Wait, let me check that again. ' * 30}</think>It is."}
    manifest = made(tmp_path, [GOOD, loop], filters={"loops": True, "where": "prompt <> 'x'"})
    assert counts(manifest)["rejected"] == {"loops": 1}
    assert "let me check that again" in rejected(manifest)[0]["detail"]


def test_rows_drawn_by_the_same_filters_are_not_filtered_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same: dict[str, Any] = {"format": "think", "columns": None, "filters": {"loops": True}}
    source = download(tmp_path, [jsonl(tmp_path / "a.jsonl", [GOOD, {**GOOD, "prompt": "Who?"}])])
    sample = run_sample(tmp_path, source, method="random", n=2, seed=1, min_kept=0.5, **same)

    def refuse(text: str) -> str:
        raise AssertionError(f"looked for a loop again in {text!r}")

    monkeypatch.setattr("showwork.records.filters.find_loop", refuse)
    assert counts(run_standardize(tmp_path, sample, **same))["records"] == 2
    with pytest.raises(Failed, match="looked for a loop again"):
        run_standardize(tmp_path, sample, **{**same, "filters": {"loops": True, "length": {"max_trace": 50}}})


def test_too_few_records_fail_with_counts_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(Failed) as error:
        made(tmp_path, [GOOD, *DEFECTS.values()], min_kept=0.5)
    assert "error: standardize 's': source 'src' kept 1 of 12 rows (8.33%) but min_kept is 0.5. Rejected: close" in str(
        error.value
    )
    assert "or lower min_kept to 0.0833." in str(error.value)
    assert not list((tmp_path / "results/standardize").iterdir())


def test_no_record_at_all_is_an_error_even_when_nothing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        Failed, match=r"none of 1 rows became a record\. Rejected: no_open 1\. Check the source's format"
    ):
        made(tmp_path, [DEFECTS["no_open"]], min_kept=0.0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"format": "thnik"}, "format: unknown format 'thnik', did you mean 'think'?"),
        (
            {"format": "thought_output"},
            "source 'src' has no column 'instruction', which its format reads; it has prompt, resp",
        ),
        (
            {"columns": {"question": "q"}},
            "source 'src' has no column 'q', which its format reads; it has prompt, response; say",
        ),
        (
            {"filters": {"where": "tusk = 1"}},
            "filter 'where': source 'src' declares 'tusk = 1' but duckdb says: Binder Error",
        ),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Failed) as error:
        made(tmp_path, [GOOD], **settings)
    assert sentence in str(error.value)
    assert "Traceback" not in str(error.value)


def test_a_damaged_sample_is_named_and_set_aside(tmp_path: Path) -> None:
    sample = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / "a.jsonl", [GOOD])]))
    rows = sample.with_suffix(".parquet")
    rows.write_bytes(rows.read_bytes()[:-3])
    with pytest.raises(Failed, match=r"s\.parquet: damaged since it was made"):
        run_standardize(tmp_path, sample)
    assert rows.with_name("s.parquet.damaged").exists()


def test_what_the_prose_filter_would_drop_is_measured_where_it_is_off(tmp_path: Path) -> None:
    rows = [{"prompt": f"Why {i}?", "response": "<think>So it is, and so it was.</think>So."} for i in range(200)]
    rows += [{"prompt": f"Solve {i}.", "response": "<think>x + 1 = 3, so x = 3 - 1 = 2.</think>2"} for i in range(50)]
    assert counts(made(tmp_path, rows))["prose"] == {"measured": 250, "prose": 200, "maths": 50}
    said = counts(made(tmp_path, rows, filters={"prose": True}))
    assert said["prose"] == {}
    assert said["rejected"] == {"prose": 50}


def test_the_prose_filter_is_measured_on_a_part_of_a_large_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("showwork.standardize.MEASURED", 50)
    rows = [{"prompt": f"Why {i}?", "response": "<think>So it is, and so it was.</think>So."} for i in range(200)]
    assert 30 < counts(made(tmp_path, rows))["prose"]["measured"] < 70


def test_a_question_of_a_megabyte_passes_whole(tmp_path: Path) -> None:
    manifest = made(tmp_path, [{**GOOD, "prompt": "why " * 250_000}])
    assert len(records(manifest)[0]["question"]) == 999_999


def test_lengths_are_in_the_manifest(tmp_path: Path) -> None:
    found = json.loads(made(tmp_path, [GOOD]).read_text())["characters"]
    assert found["trace"]["p50"] == len("It is so.")


def test_files_are_the_same_bytes_at_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("showwork.standardize.SEVERAL_BYTES", 0)
    defects = list(DEFECTS.values())
    rows = [{**GOOD, "prompt": f"Why {i}?"} if i % 7 else defects[i % len(defects)] for i in range(3500)]
    sample = run_sample(tmp_path, download(tmp_path, [jsonl(tmp_path / "a.jsonl", rows)]))
    found = []
    for threads in (1, 2, 3):
        manifest = run_standardize(tmp_path, sample, name=f"t{threads}", threads=threads)
        told = json.loads(manifest.read_text())
        files = [
            path.read_bytes() for path in (manifest.with_suffix(".parquet"), manifest.with_suffix(".rejected.parquet"))
        ]
        found.append((files, {k: told[k] for k in ("counts", "characters", "digest")}))
    assert found[0] == found[1] == found[2]
    assert found[0][1]["counts"]["rows"] == 3500
