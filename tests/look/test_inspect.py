from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from look.shown import run
from safetensors.numpy import save_file
from small_results import manifest, without

from showwork.foundation.files import write_json
from showwork.foundation.schema import RECORD
from showwork.foundation.tables import write_table


def rows(small, file):
    return pq.read_table(small / "results" / file).to_pylist()


def record(number: int, **texts: str) -> dict:
    ids = {name: f"{number:032x}" for name in ("record_id", "question_id", "row_id")}
    return {**ids, "source": "a", "source_row": number, "question": "Why?", "trace": "So.", "answer": "4", **texts}


def test_records_are_shown_with_all_their_texts_and_lengths(small, capsys):
    code, out, _ = run(
        capsys, "inspect", small / "results/standardize/openo1_some.parquet", "--rows", "1", "--start", "4"
    )
    assert code == 0
    one = rows(small, "standardize/openo1_some.parquet")[4]
    assert f"standardize openo1_some, {len(rows(small, 'standardize/openo1_some.parquet'))} rows" in out
    assert f"── row 4  openo1:{one['source_row']}\nrow_id {one['row_id']}  record_id {one['record_id']}" in out
    for text in ("question", "trace", "answer"):
        assert f"{text}  {len(one[text])} character" in out
        assert f"\n{one[text]}\n" in out
    assert "Length in characters, 30 rows" in out


def test_every_parquet_file_of_every_stage_can_be_looked_at(small, capsys):
    files = sorted((small / "results").rglob("*.parquet"))
    assert len(files) > 20
    for file in files:
        code, out, err = run(capsys, "inspect", file, "--rows", "2")
        assert (code, err) == (0, ""), file
        assert str(file.parent if file.name == "ledger.parquet" else file) in out


def test_every_other_file_of_every_stage_can_be_looked_at(small, capsys):
    files = [
        p for p in sorted((small / "results").rglob("*")) if p.suffix in (".json", ".jsonl", ".npy", ".safetensors")
    ]
    assert {p.suffix for p in files} == {".json", ".jsonl", ".npy", ".safetensors"}
    for file in files:
        assert run(capsys, "inspect", file)[0] == 0, file


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [0, 1, 2]),
        (("--rows", "2", "--start", "28"), [28, 29]),
        (("--rows", "4", "--start", "28"), [28, 29]),
        (("--where", "file_row_number % 10 = 3"), [3, 13, 23]),
        (("--where", "file_row_number % 10 = 3", "--start", "1", "--rows", "1"), [13]),
    ],
)
def test_the_rows_asked_for_are_shown_and_no_others(small, capsys, options, numbers):
    _, out, _ = run(capsys, "inspect", small / "results/standardize/openo1_some.parquet", "--no-tokens", *options)
    assert [int(line.split()[2]) for line in out.splitlines() if line.startswith("── row")] == numbers


def test_rows_at_random_are_the_same_for_the_same_seed(small, capsys):
    def drawn(seed):
        _, out, _ = run(
            capsys,
            "inspect",
            small / "results/standardize/all_raiden.parquet",
            "--rows",
            5,
            "--seed",
            seed,
            "--no-tokens",
        )
        return [line for line in out.splitlines() if line.startswith("── row")]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(drawn(1)) == 5


def test_a_row_is_selected_by_the_beginning_of_an_id(small, capsys):
    one = rows(small, "mix/session1/train.parquet")[7]
    _, out, _ = run(capsys, "inspect", small / "results/mix/session1/train.parquet", "--id", one["record_id"][:10])
    assert "rows, 1 of them selected" in out
    assert f"── row 7  {one['source']}:{one['source_row']}\n" in out


def test_long_texts_are_cut_with_a_mark_and_shown_whole_when_asked(tmp_path, capsys):
    path = tmp_path / "train.parquet"
    write_table(path, RECORD, [[record(0, trace="a" * 700 + "b" * 300)]])
    _, out, _ = run(capsys, "inspect", path)
    assert f"\n{'a' * 400} […400 characters…] {'b' * 200}\n" in out
    _, out, _ = run(capsys, "inspect", path, "--width", "0")
    assert f"\n{'a' * 700}{'b' * 300}\n" in out


def test_what_was_made_harmless_is_named_and_what_would_steer_is_shown(tmp_path, capsys):
    path = tmp_path / "train.parquet"
    write_table(path, RECORD, [[record(0, trace="‹bos› a ‹bos› \x1b[2J b ‹/answer› ‹other›\u202e")]])
    _, out, _ = run(capsys, "inspect", path)
    assert "made harmless: ‹bos› x 2, ‹/answer›\n" in out
    assert "‹bos› a ‹bos› ␛[2J b ‹/answer› ‹other›⟨U+202E⟩\n" in out


def test_rejected_rows_show_their_own_columns_and_every_reason_is_counted(small, capsys):
    one = next(r for r in rows(small, "standardize/all_raiden.rejected.parquet") if r["reason"] == "loops")
    file = small / "results/standardize/all_raiden.rejected.parquet"
    _, out, _ = run(capsys, "inspect", file, "--where", f"source_row = {one['source_row']}", "--width", "0")
    raw = json.loads(one["raw"])
    assert f"\n{raw['prompt']}\n" in out
    assert raw["response"] in out
    assert "reason loops" in out
    _, out, _ = run(capsys, "inspect", file)
    counted = {line.split()[1]: int(line.split()[0]) for line in out.splitlines() if line[:1].isdigit()}
    assert counted == manifest(small, "standardize", "all_raiden")["counts"]["rejected"]


def test_dropped_rows_show_the_text_that_could_not_be_read_as_it_stands(small, capsys):
    file = small / "results/sample/openo1_some.dropped.parquet"
    one = next(r for r in rows(small, "sample/openo1_some.dropped.parquet") if r["reason"] == "lone_surrogate")
    _, out, _ = run(capsys, "inspect", file, "--where", "reason = 'lone_surrogate'")
    assert one["raw"] in out
    _, out, _ = run(capsys, "inspect", file, "--where", "reason = 'language'", "--rows", "1")
    assert "its texts are not kept here: the row lies in the source" in out


def test_a_removed_record_stands_beside_the_one_it_repeats(small, capsys):
    file = small / "results/mix/session1/removed.parquet"
    one = next(r for r in rows(small, "mix/session1/removed.parquet") if r["reason"] == "near_duplicate")
    texts = {r["record_id"]: r for r in rows(small, "standardize/all_raiden.parquet")}
    _, out, _ = run(capsys, "inspect", file, "--id", one["record_id"])
    other = texts[one["duplicate_of"]]
    assert texts[one["record_id"]]["trace"] in out
    assert f"repeats raiden:{other['source_row']}, trace" in out
    assert other["trace"] in out
    _, out, _ = run(capsys, "inspect", file, "--where", "reason = 'same_record'", "--rows", "1")
    assert "word for word" in out


def test_packed_rows_are_decoded_by_segment_with_what_bears_loss(small, capsys):
    entry = rows(small, "pack/session1/ledger.parquet")[3]
    one = next(r for r in rows(small, "mix/session1/train.parquet") if r["record_id"] == entry["record_id"])
    row = entry["packed_row"]
    for path in ("", "/tokens.npy", "/ledger.parquet"):
        code, out, _ = run(
            capsys, "inspect", f"{small}/results/pack/session1{path}", "--id", one["record_id"], "--width", "0"
        )
        assert code == 0
        assert f"── packed row {row}\nsegment 1  {one['source']}:{one['source_row']}  record {one['record_id']}" in out
        mask = np.load(small / "results/pack/session1/loss_mask.npy")[row]
        segments = np.load(small / "results/pack/session1/segment_ids.npy")[row]
        shown, trained = int(((mask == 0) & (segments == 1)).sum()), int(((mask == 1) & (segments == 1)).sum())
        prompt = f"⟪bos⟫⟪start_of_turn⟫user\nThink.\n\n{one['question']}⟪end_of_turn⟫\n⟪start_of_turn⟫model\n"
        assert f"shown only  {shown} tokens\n{prompt}\nbears loss  {trained} tokens\n" in out
        if not entry["tokens_cut"]:
            assert f"<reasoning>{one['trace']}</reasoning>\n<answer>{one['answer']}</answer>⟪end_of_turn⟫\n" in out
        assert f"padding  {int((segments == 0).sum())} tokens" in out


def test_records_that_were_not_packed_are_named_with_their_reason(small, capsys):
    entry = next(r for r in rows(small, "pack/session1/ledger.parquet") if r["packed_row"] < 0)
    code, out, _ = run(capsys, "inspect", small / "results/pack/session1", "--where", "packed_row < 0")
    assert code == 0
    assert f"not packed: {entry['source']}:{entry['source_row']}  record {entry['record_id']}" in out
    assert entry["reason"] in out


def test_without_the_base_packed_rows_are_ids_and_lengths_characters_and_both_say_why(small, tmp_path, capsys):
    folder = without(small, tmp_path, "download")
    command = f"the base is not there yet: snakemake --cores 8 results/download/base.json --directory {folder}"
    _, out, _ = run(capsys, "inspect", folder / "results/pack/session1", "--rows", "1")
    assert f"Shown as ids: {command}" in out
    assert "\n2 106 " in out
    _, out, _ = run(capsys, "inspect", folder / "results/mix/session1/train.parquet")
    assert f"No lengths in tokens: {command}" in out


def test_packed_rows_of_another_tokenizer_are_not_decoded_by_this_one(small, tmp_path, capsys):
    folder = without(small, tmp_path, "nothing")
    path = folder / "results/pack/session1/manifest.json"
    body = json.loads(path.read_text())
    path.unlink()
    write_json(path, body | {"digests": body["digests"] | {"tokenizer": "other"}})
    base = folder / "base"
    base.symlink_to(small / "base")
    _, out, _ = run(capsys, "inspect", folder / "results/pack/session1", "--rows", "1")
    assert "tokenizer.json is not the one that they were packed with" in out


def test_generations_show_the_question_what_was_said_and_how_it_was_graded(small, capsys):
    _, out, _ = run(capsys, "inspect", small / "results/evaluate/base/generations.parquet", "--rows", "1")
    assert "mode greedy  reason no_open  well_formed no  correct no  looping no  truncated yes" in out
    assert "completion  1 character, 1 token\n4\n" in out


def test_a_manifest_is_a_tree_of_its_counts(small, capsys):
    _, out, _ = run(capsys, "inspect", small / "results/mix/session1/manifest.json")
    counts = manifest(small, "mix", "session1")["counts"]
    lines = out.splitlines()
    assert lines[0] == f"session1: {counts['train']} records"
    assert f"{small}/results/mix/session1/manifest.json: mix session1" in lines
    assert f"│   ├── records  {counts['records']}" in lines
    removed = ", ".join(f"{name} {n}" for name, n in sorted(counts["removed"].items()))
    assert f"│   ├── removed  {removed}" in lines
    assert "…" in next(line for line in lines if "sha256" in line)
    _, out, _ = run(capsys, "inspect", small / "results/mix/session1/manifest.json", "--width", "0")
    assert manifest(small, "mix", "session1")["files"]["train"]["sha256"] in out


def test_history_is_a_table_of_all_steps_or_of_some_from_first_to_last(small, tmp_path, capsys):
    _, out, _ = run(capsys, "inspect", small / "results/train/session1/history.jsonl")
    lines = out.splitlines()
    assert lines[0].endswith("history.jsonl: 12 lines")
    assert lines[1].split()[:3] == ["step", "grad_norm", "loss"]
    assert [line.split()[0] for line in lines[3:]] == [str(step) for step in range(1, 13)]
    assert " to " in lines[-1]
    _, out, _ = run(capsys, "inspect", small / "results/train/session1/history.jsonl", "--rows", "3")
    assert [line.split()[0] for line in out.splitlines()[3:]] == ["1", "7", "12"]
    assert "12 lines, 3 of them shown; --rows 12 shows all" in out
    _, out, _ = run(capsys, "inspect", small / "results/train/session1/history.jsonl", "--where", "step > 10")
    assert [line.split()[0] for line in out.splitlines()[3:]] == ["11", "12"]


def test_tensors_are_named_with_shapes_and_layers_of_one_shape_share_a_line(small, tmp_path, capsys):
    _, out, _ = run(capsys, "inspect", small / "results/train/session1/adapter/adapter.safetensors")
    assert "28 arrays, 1,120 numbers" in out
    line = next(line for line in out.splitlines() if "self_attn.q_proj.lora_A" in line)
    assert line.split() == [
        "base_model.model.model.layers.*.self_attn.q_proj.lora_A.weight",
        "0–1",
        "2",
        "x",
        "16",
        "F32",
    ]
    save_file({f"layers.{i}.w": np.zeros(2, np.float16) for i in (0, 1, 3)}, tmp_path / "x.safetensors")
    _, out, _ = run(capsys, "inspect", tmp_path / "x.safetensors")
    assert "layers.*.w   0–1, 3   2       F16" in out


def test_plain_text_is_printed_harmless(tmp_path, capsys):
    (tmp_path / "plan.txt").write_bytes(b"1,370 rows \x1b[2J \xff\n")
    _, out, _ = run(capsys, "inspect", tmp_path / "plan.txt")
    assert out == "1,370 rows ␛[2J \\xff\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["results/mix/session1/no.parquet"], "no.parquet: no such file; {0}/results/mix/session1 holds disjoint.json, manifest.json, removed.parquet, train.parquet"),
        (["results/mix/session1"], "results/mix/session1: is a folder; name a file in it: disjoint.json, manifest.json"),
        (["world/raiden/Raiden_DSR1_Part1.csv"], "files of the kind .csv cannot be looked at; those that can end in .parquet"),
        (["results/mix/session1/train.parquet", "--where", "answer = 'nobody says this'"], "none of its {train} rows is one of --where"),
        (["results/mix/session1/train.parquet", "--id", "ffffffffff"], "rows is one of --id 'ffffffffff'"),
        (["results/mix/session1/train.parquet", "--start", "1000"], "--start is 1,000 but there are {train} rows, counted from 0; lower it"),
        (["results/train/session1/history.jsonl", "--where", "step > 99"], "none of its 12 lines is one of --where 'step > 99'"),
        (["results/mix/session1/manifest.json", "--where", "x = 1"], "--where: manifest.json has no rows that it could be asked of; leave it out"),
        (["results/train/session1/history.jsonl", "--id", "12"], "--id: history.jsonl has no rows that it could be asked of"),
        (["results/pack/session1", "--id", "ffffffffff"], "no record in it is the one asked for"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_one_sentence_and_exit_status_1(small, capsys, argv, said):
    code, out, err = run(capsys, "inspect", small / argv[0], *argv[1:])
    train = manifest(small, "mix", "session1")["counts"]["train"]
    assert code == 1
    assert out.count("\n") <= 1
    assert said.format(small, train=train) in err
    assert err.startswith("showwork inspect: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["x.parquet", "x.safetensors", "x.json", "x.jsonl"])
def test_a_damaged_file_is_one_sentence(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"{PAR1 not what it says\n")
    code, _, err = run(capsys, "inspect", tmp_path / name)
    assert code == 1
    assert err.startswith(f"showwork inspect: {tmp_path / name}: ")
    assert err.count("\n") == 1
