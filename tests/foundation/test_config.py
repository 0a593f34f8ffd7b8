"""The checker: everything wrong is said at once, with its place and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from showwork.foundation.config import ConfigError, checked_config

REPO = Path(__file__).parents[2]
SCHEMA = REPO / "workflow/schemas/config.schema.yaml"
SHIPPED = REPO / "config.yaml"


def check(tmp_path: Path, edit: dict[str, str] | None = None, overlay: str = "") -> dict[str, Any]:
    """Check the shipped configuration with some of its text replaced and an overlay over it."""
    text = SHIPPED.read_text()
    for old, new in (edit or {}).items():
        assert text.count(old) >= 1, f"{old!r} is not in config.yaml"
        text = text.replace(old, new, 1)
    file, over = tmp_path / "config.yaml", tmp_path / "overlay.yaml"
    file.write_text(text)
    config = yaml.safe_load(text)
    files = [file]
    if overlay:
        over.write_text(overlay)
        files.append(over)
        merge(config, yaml.safe_load(overlay))
    return checked_config(config, files=files, schema_file=SCHEMA)


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(SHIPPED.read_text().splitlines(), 1) if text in line)


def problems(tmp_path: Path, edit: dict[str, str] | None = None, overlay: str = "") -> list[str]:
    with pytest.raises(ConfigError) as error:
        check(tmp_path, edit, overlay)
    return error.value.problems


def test_shipped_config_holds_the_recipe(tmp_path: Path) -> None:
    config = check(tmp_path)
    rows = {
        "raiden_deepseek_r1": ("full", None, None, None),
        "openo1_sft_english_20k": ("random", 20000, None, None),
        "cot_collection_10k": ("reservoir", 10000, None, None),
        "glaiveai_30k": ("first_n", None, 1, 30000),
        "glaiveai_continuation_100k": ("first_n", None, 30001, 130000),
    }
    found = {k: (s["method"], s["n"], s["start"], s["stop"]) for k, s in config["samples"].items() if k in rows}
    assert found == rows
    assert config["seed"] == 42
    assert config["template"]["max_seq_length"] == 1024
    train = config["train"]
    wanted = {"learning_rate": 2e-5, "batch_size": 2, "gradient_accumulation": 16, "warmup_steps": 100, "epochs": 1}
    assert {k: train[k] for k in wanted} == wanted
    assert (train["adapter"]["rank"], train["adapter"]["alpha"], train["adapter"]["targets"]) == (64, 64, "all-linear")
    assert train["schedule"] == "cosine"
    assert config["sessions"]["session1"]["samples"] == list(rows)[:4]
    assert config["sessions"]["session1"]["publish"] == "tunix-sft-data"
    assert config["sessions"]["session2"] == {
        "samples": ["glaiveai_continuation_100k"],
        "start_from": "session1",
        "publish": "tunix-sft-continuation-data",
        "train": {"learning_rate": 5e-6},
    }


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path) -> None:
    config = check(tmp_path, {"learning_rate: 2.0e-5": "learning_rate: 1e-4", "seed: 42": 'seed: "7"'})
    assert config["train"]["learning_rate"] == 1e-4
    assert isinstance(config["train"]["learning_rate"], float)
    assert config["seed"] == 7


def test_defaults_fill_what_an_absent_key_leaves_open(tmp_path: Path) -> None:
    config = check(tmp_path, {"  overlong: trim ": "  # "})
    assert config["template"]["overlong"] == "trim"


CASES = {
    "unknown key": (
        {"  warmup_steps: 100": "  warmupsteps: 100"},
        "warmup_steps: 100",
        "train.warmupsteps: unknown setting; did you mean 'warmup_steps'?",
    ),
    "wrong type": (
        {"batch_size: 2 ": "batch_size: two "},
        "batch_size: 2 ",
        "train.batch_size: is 'two', expected a whole number",
    ),
    "not one of": (
        {"schedule: cosine": "schedule: cosin"},
        "schedule: cosine",
        "train.schedule: is 'cosin', expected one of cosine, linear, constant, wsd; did you mean 'cosine'?",
    ),
    "dangling sample": (
        {"samples: [glaiveai_continuation_100k]": "samples: [glaiveai_continuation_100]"},
        "samples: [glaiveai_continuation_100k]",
        "sessions.session2.samples[0]: no sample 'glaiveai_continuation_100'; did you mean 'glaiveai_continuation_100k'?",
    ),
    "dangling source": (
        {"{source: openo1,": "{source: openo2,"},
        "{source: openo1,",
        "samples.openo1_sft_english_20k.source: no source 'openo2'; did you mean 'openo1'?",
    ),
    "dangling session": (
        {"start_from: session1 ": "start_from: sesion1 "},
        "start_from: session1 ",
        "sessions.session2.start_from: no session 'sesion1'; did you mean 'session1'?",
    ),
    "branch as revision": (
        {"revision: 18aab26b78af87a22a125751a2ef1aa2fa799060": "revision: main"},
        "revision: 18aab26b",
        "sources.raiden.revision: is 'main', expected a commit of 40 hex digits: a branch or tag moves and would change "
        "your data in silence. Write null and run `snakemake --cores 1 lock`, which resolves it",
    ),
    "overlapping slices": (
        {"start: 30001, stop: 130000": "start: 29001, stop: 130000"},
        "samples: [glaiveai_continuation_100k]",
        "sessions.session2.samples[0]: glaiveai_continuation_100k (rows 29,001 to 130,000) and glaiveai_30k of session1 "
        "(rows 1 to 30,000) share rows 29,001 to 30,000 of glaive; start glaiveai_continuation_100k at 30,001",
    ),
    "sample in two sessions": (
        {"samples: [glaiveai_continuation_100k]": "samples: [raiden_deepseek_r1]"},
        "samples: [glaiveai_continuation_100k]",
        "sessions.session2.samples[0]: raiden_deepseek_r1 is also in session1; a row may be in one session only",
    ),
    "impossible slice": (
        {"start: 30001, stop: 130000": "start: 30001, stop: 3000"},
        "start: 30001",
        "samples.glaiveai_continuation_100k.stop: is 3,000, expected at least start, 30,001",
    ),
    "n for a full sample": (
        {"{source: raiden, method: full}": "{source: raiden, method: full, n: 5}"},
        "{source: raiden, method: full}",
        "samples.raiden_deepseek_r1.n: method full takes no n; remove it",
    ),
    "no n for a random sample": (
        {"method: random, n: 20000}": "method: random}"},
        "method: random, n: 20000",
        "samples.openo1_sft_english_20k: method random needs n; add it",
    ),
    "unknown format": (
        {"format: thought_output": "format: though_output"},
        "format: thought_output",
        "sources.openo1.format: unknown format 'though_output', did you mean 'thought_output'?",
    ),
    "circle": (
        {"start_from: base": "start_from: session3"},
        "start_from: base",
        "sessions.session1.start_from: goes in a circle: session1 -> session3 -> session2 -> session1; one session must "
        "start from base",
    ),
    "a folder that is no session's name": (
        {"start_from: session1 ": "start_from: adapter "},
        "start_from: session1 ",
        "sessions.session2.start_from: no session 'adapter'; known: base, session1, session3, the path of a folder, with a /",
    ),
    "a group of one": (
        {"group_size: 8 ": "group_size: 1 "},
        "group_size: 8 ",
        "train.grpo.group_size: is 1, expected at least 2",
    ),
    "a choice without a verdict to read": (
        {"method: sft ": "method: auto "},
        "  session1:",
        "sessions.session1.train.method: is auto, which reads the verdict on the session that start_from names, but that is "
        "'base'; start from a session, or choose sft or grpo",
    ),
    "an unknown reward": (
        {"method: sft ": "method: grpo ", "{format: 0.2,": "{formt: 0.2,"},
        "  session1:",
        "sessions.session1.train.grpo.rewards.formt: no such reward; did you mean 'format'?",
    ),
    "a soft limit above the hard one": (
        {"method: sft ": "method: grpo ", "soft_limit_tokens: 384": "soft_limit_tokens: 512"},
        "  session1:",
        "sessions.session1.train.grpo.soft_limit_tokens: is 512, expected less than max_new_tokens, 512",
    ),
    "updates that do not fill their batches": (
        {
            "method: sft ": "method: grpo ",
            "updates_per_batch: 1 ": "updates_per_batch: 4 ",
            "max_steps: null": "max_steps: 6",
            "epochs: 1 ": "epochs: null ",
        },
        "  session1:",
        "sessions.session1.train.max_steps: is 6, expected a multiple of grpo.updates_per_batch, 4: every batch of rollouts",
    ),
    "missing block": ({"export:": "exports:"}, "# yaml-language-server", "the configuration: export missing; add it"),
    "epochs and max_steps": (
        {"max_steps: null": "max_steps: 5"},
        "  session1:",
        "sessions.session1.train: expected one of epochs, max_steps and time_budget, the others null; given: epochs, max_steps",
    ),
    "a span of time without its unit": (
        {"time_budget: null": "time_budget: 9", "epochs: 1 ": "epochs: null "},
        "  session1:",
        "sessions.session1.train.time_budget: is 9, expected a span of time above 0 with its unit, such as 9 hours, 90 minutes",
    ),
    "a span of time for rewards": (
        {"time_budget: null": "time_budget: 9 hours", "epochs: 1 ": "epochs: null ", "method: sft ": "method: grpo "},
        "  session1:",
        "sessions.session1.train.time_budget: is '9 hours', but method is grpo and only sft knows its pace beforehand",
    ),
    "question missing": (
        {'"Question: {question}\\nAnswer:"': '"Question:"'},
        "direct_prompt:",
        "evaluate.direct_prompt: is 'Question:', expected it to hold {question}",
    ),
    "questions that are not there": (
        {"  questions: {}": "  questions: {exam: nowhere.jsonl}"},
        "  questions: {}",
        "evaluate.questions.exam: nowhere.jsonl: no such file, expected one JSON object with a question on each line",
    ),
    "judge without a URL": (
        {"judge: null": 'judge: {url: "localhost:8000", model: a}'},
        "judge: null",
        "judge.url: is 'localhost:8000', expected a URL such as http://localhost:8000/v1",
    ),
    "out of bounds": (
        {"  share: 0.01": "  share: 0.9"},
        "  share: 0.01",
        "held_out.share: is 0.9, expected at most 0.5",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_problem_is_named_with_its_place_and_the_way_out(name: str, tmp_path: Path) -> None:
    edit, where, sentence = CASES[name]
    found = problems(tmp_path, edit)
    suffix = "" if name == "missing block" else f":{line_of(where)}"
    matching = [p for p in found if f"  {sentence}" in p]
    assert matching, found
    if suffix:
        assert matching[0].split("  ")[0].endswith(f"config.yaml{suffix}")


def test_a_folder_may_be_started_from(tmp_path: Path) -> None:
    config = check(tmp_path, {"start_from: session1 ": "start_from: ./adapter "})
    assert config["sessions"]["session2"]["start_from"] == "./adapter"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    edit = {
        "batch_size: 2 ": "batch_size: two ",
        "{source: openo1,": "{source: openo2,",
        "schedule: cosine": "schedul: x",
    }
    found = "\n".join(problems(tmp_path, edit))
    assert "train.batch_size" in found
    assert "train.schedul: unknown setting" in found
    assert "no source 'openo2'" in found


def test_key_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    found = problems(tmp_path, {"seed: 42": "seed: 42\nseed: 43"})
    first = line_of("seed: 42")
    assert any(
        p.endswith(f"config.yaml:{first + 1}  seed: given twice, first in line {first}; keep one") for p in found
    )


def test_problem_in_an_overlay_names_the_overlay(tmp_path: Path) -> None:
    found = problems(tmp_path, overlay="train:\n  lerning_rate: 1.0e-3\n")
    assert any("overlay.yaml:2  train.lerning_rate: unknown setting" in p for p in found)


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    broken = tmp_path / "config.yaml"
    broken.write_text("seed: 42\nmodel: {base: x\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+  not valid YAML"):
        checked_config({}, files=[broken], schema_file=SCHEMA)


def test_shipped_config_shows_every_key_of_the_schema(tmp_path: Path) -> None:
    """Every default in the schema equals what config.yaml ships, so that the two cannot drift apart."""
    config = check(tmp_path)
    schema = yaml.safe_load(SCHEMA.read_text())["properties"]
    for block in ("template", "mix", "evaluate", "verdict", "export"):
        assert set(config[block]) == set(schema[block]["properties"]), block
    assert set(config["train"]) == set(yaml.safe_load(SCHEMA.read_text())["$defs"]["train"]["properties"])


HOSTILE = {
    "itself": ("train: &a {adapter: *a}", "over.yaml:1  train.adapter: is nested more than 32 deep; write it flatter"),
    "a billion": (
        "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n"
        + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 9)),
        "the configuration: has more than 100,000 entries, aliases counted as often as they are named",
    ),
    "a function": ("seed: !!python/name:os.system", "over.yaml:1  seed: is <built-in function system>, expected text"),
    "a date": ("seed: 2024-01-01", "over.yaml:1  seed: is datetime.date(2024, 1, 1), expected text, a number"),
    "a date as key": ("2024-01-01: 1", "has the key datetime.date(2024, 1, 1), expected text or a whole number"),
    "bytes": ("seed: !!binary aGVsbG8=", "over.yaml:1  seed: is b'hello', expected text"),
    "a set": ("train: {schedule: !!set {a}}", "over.yaml:1  train.schedule: is {'a'}, expected text"),
    "no number": ("train: {learning_rate: .nan}", "over.yaml:1  train.learning_rate: is nan, expected a finite number"),
    "infinity": ("train: {clip_norm: .inf}", "over.yaml:1  train.clip_norm: is inf, expected a finite number"),
    "NUL": ('judge: {model: "a\\0b"}', "over.yaml:1  judge.model: is 'a\\x00b', expected text without NUL"),
    "a number as key": ("7: 1", "over.yaml:1  7: unknown setting"),
    "a long text": (f"seed: {'x' * 10_000}", f"over.yaml:1  seed: is '{'x' * 199}…, expected a whole number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_yaml_can_say_beyond_text_numbers_and_blocks_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    text, sentence = HOSTILE[name]
    file = tmp_path / "over.yaml"
    file.write_text(text)
    config = yaml.safe_load(SHIPPED.read_text())
    config.update(yaml.load(text, Loader=yaml.FullLoader))  # Snakemake's own loader
    with pytest.raises(ConfigError) as error:
        checked_config(config, files=[SHIPPED, file], schema_file=SCHEMA)
    assert any(sentence in problem for problem in error.value.problems), error.value.problems
    assert len(str(error.value)) < 3_000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"seed: \xff", "over.yaml  not valid YAML: 'utf-8' codec can't decode byte 0xff"),
        (b"seed: '\x07'", "over.yaml  not valid YAML: "),
        (b"seed: " + b"[" * 50_000 + b"]" * 50_000, "over.yaml  nested more than 32 deep; write it flatter"),
        (b"seed: 1\nseed: 2", "over.yaml:2  seed: given twice, first in line 1; keep one"),
    ],
)
def test_a_file_that_is_no_yaml_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "over.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        checked_config(yaml.safe_load(SHIPPED.read_text()), files=[SHIPPED, file], schema_file=SCHEMA)
    assert len(error.value.problems) == 1
    assert error.value.problems[0].startswith(sentence)


def test_no_tag_of_yaml_runs_anything(tmp_path: Path) -> None:
    """Neither in our reading of the lines nor in Snakemake's of the values."""
    text = f"seed: !!python/object/apply:os.system ['touch {tmp_path}/ran']"
    file = tmp_path / "over.yaml"
    file.write_text(text)
    checked_config(yaml.safe_load(SHIPPED.read_text()), files=[SHIPPED, file], schema_file=SCHEMA)
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.load(text, Loader=yaml.FullLoader)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["  method: sft ", "  learning_rate: 2.0e-5", "    rank: 64", "    group_size: 8 "])
def test_a_training_setting_that_is_nowhere_is_missed_before_any_job(key: str, tmp_path: Path) -> None:
    name = key.split(":")[0].strip()
    assert any(f"{name} missing; add it" in problem for problem in problems(tmp_path, {key: "    # "}))
