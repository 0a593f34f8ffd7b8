"""The demo's tokenizer: Gemma's ids, one piece a word, and any text there and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from showwork.demo.tokenizer import build_tokenizer, write_tokenizer
from showwork.demo.world import vocabulary
from showwork.tokens.tokenizer import load_encoder

SPECIAL = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<start_of_turn>": 106, "<end_of_turn>": 107, "\n": 108}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer(num_documents=300)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_special_tokens_have_gemmas_ids(tokenizer: Tokenizer) -> None:
    assert {name: tokenizer.token_to_id(name) for name in SPECIAL} == SPECIAL
    for name, number in SPECIAL.items():
        assert ids_of(tokenizer, name) == [number]


def test_a_word_of_the_world_is_one_piece_with_and_without_a_space(tokenizer: Tokenizer) -> None:
    for word in vocabulary():
        assert [len(ids_of(tokenizer, word)), len(ids_of(tokenizer, f" {word}"))] == [1, 1], word


def test_tags_are_ordinary_text_of_several_pieces(tokenizer: Tokenizer) -> None:
    for tag in ("<reasoning>", "</reasoning>", "<answer>", "</answer>"):
        assert len(ids_of(tokenizer, tag)) >= 3
        assert min(ids_of(tokenizer, tag)) > SPECIAL["\n"]


@pytest.mark.parametrize(
    "text", ["Hello, world!", "小明在前面。", "naïve ☕ 😀", "a  b\tc\n\nd", "‹end_of_turn› ▁", " x", ""]
)
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    found = tokenizer.decode(ids_of(tokenizer, text), skip_special_tokens=False)
    assert found == text.replace("▁", " ")  # as with Gemma, that sign is how a space is written


def test_bos_is_added_once_unless_told_otherwise(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("Mia").ids == [2, *ids_of(tokenizer, "Mia")]


def test_the_folder_is_what_the_encoder_of_the_stages_accepts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_tokenizer(tokenizer, tmp_path)
    config = {
        "model_type": "gemma2",
        "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": 2,
        "eos_token_id": [1, 107],
    }
    assert load_encoder(tmp_path, config).end_of_turn_id == 107
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<eos>"
