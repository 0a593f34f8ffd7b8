"""The tiny base: what it reads, the command in miniature, and the shipped folder."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from showwork.demo import base, diet, exam
from showwork.demo.base import Course, diet_batches, encode, list_batches, make_base
from showwork.demo.tokenizer import BOS, END_OF_TURN, EOS, build_tokenizer
from showwork.foundation.files import read_json, sha256_file
from showwork.model.config import GemmaConfig
from showwork.model.params import load_params

SHIPPED = Path(base.__file__).parent / "base"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer(num_documents=300)


def test_few_documents_show_the_tags_and_those_end_in_end_of_turn() -> None:
    rng, words = Random(0), diet.words()
    kinds: Counter[str] = Counter()
    for _ in range(3000):
        kind, document = diet.document(rng, words)
        text = "".join(part for part, _ in document)
        kinds[kind] += 1
        assert ("<reasoning>" in text) == (kind == "tagged") == ("<answer>" in text)
        assert ("<end_of_turn>" in text) == text.endswith("<end_of_turn>") == (kind == "tagged")
        assert "<start_of_turn>" not in text
    assert 0 < kinds["tagged"] / 3000 <= 0.03
    assert set(kinds) == set(diet.SHARES)


def test_no_document_holds_two_steps_of_one_chain() -> None:
    rng, words = Random(1), diet.words()
    for _ in range(500):
        for line in "".join(part for part, _ in diet.document(rng, words)[1]).split("\n"):
            assert line.count("Begin with") <= 1
            assert not (line.startswith("Begin with") and "Two:" in line and "One:" in line)


def test_a_document_begins_with_bos_and_ends_once(tokenizer: Tokenizer) -> None:
    ids, weights = encode(tokenizer, [("Mia serves", 0.1), (" Ana.", 1.0)])
    assert ids[0] == BOS
    assert ids[-1] == EOS
    assert len(ids) == 6
    assert weights == [0.0, 0.1, 0.1, 1.0, 1.0, 1.0]
    assert encode(tokenizer, [("Mia<end_of_turn>", 1.0)])[0][-1] == END_OF_TURN


def test_lists_count_from_where_their_repetition_can_be_seen(tokenizer: Tokenizer) -> None:
    tokens, weights, _, _ = next(list_batches(0, Course("lists", 1, 8, 16), tokenizer))
    for row, counted in zip(tokens, weights, strict=True):
        size = int(np.argmax(counted)) - 1
        np.testing.assert_array_equal(row, np.resize(row[:size], 16))
        assert counted[size + 1 :].all()


def test_rows_of_the_diet_hold_whole_documents_apart(tokenizer: Tokenizer) -> None:
    tokens, weights, segments, positions = next(diet_batches(0, Course("diet", 1, 4, 144), tokenizer))
    np.testing.assert_array_equal(tokens == BOS, (positions == 0) & (segments > 0))
    assert not weights[(segments == 0) | (tokens == BOS)].any()


def test_the_command_writes_a_whole_folder_in_miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of the diet; what the exam asks is left to the test below."""
    monkeypatch.setattr(base, "COURSES", (Course("diet", 2, 2, 144),))
    for name in ("one_step", "direct", "well_formed"):
        monkeypatch.setattr(base.exam, name, lambda *_: {"asked": 0.0})
    make_base(tmp_path, seed=0, share=1.0)
    measured = read_json(tmp_path / "measured.json")
    assert measured["start"] == "random weights"
    assert measured["training_tokens"] == 2 * 2 * 144
    assert measured["sha256"]["model.safetensors"] == sha256_file(tmp_path / "model.safetensors")
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in SHIPPED.iterdir()}


def test_the_exam_finds_in_the_shipped_base_what_was_recorded() -> None:
    config = json.loads((SHIPPED / "config.json").read_text())
    cfg = GemmaConfig.from_hf(config)
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    params = load_params(SHIPPED, cfg, "float32")
    assert min(exam.one_step(params, cfg, tokenizer, 1, 20).values()) >= 0.8
    assert np.mean(list(exam.direct(params, cfg, tokenizer, 1, 20).values())) <= 0.5


def test_the_shipped_base_is_the_one_that_was_measured_and_is_small() -> None:
    measured = read_json(SHIPPED / "measured.json")
    for name, digest in measured["sha256"].items():
        assert sha256_file(SHIPPED / name) == digest
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 4_000_000
    assert min(measured["one_step_accuracy"].values()) >= 0.8
    assert np.mean(list(measured["direct_accuracy"].values())) <= 0.4
    assert measured["well_formed_in_chat"] <= 0.2


def test_the_shipped_base_has_every_trait_of_gemma_2() -> None:
    config = json.loads((SHIPPED / "config.json").read_text())
    cfg = GemmaConfig.from_hf(config)
    assert (cfg.family, cfg.attention_softcap, cfg.final_softcap) == ("gemma2", 50.0, 30.0)
    assert cfg.local == (True, False, True, False)
    assert cfg.heads == 2 * cfg.kv_heads
    assert load_params(SHIPPED, cfg, "float32")["embed"].shape == (config["vocab_size"], cfg.width)
