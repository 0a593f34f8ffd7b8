from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_base import CONFIG, CONTROL, tiny_tokenizer, write_base

from showwork.tokens.template import completion_segments, prompt_segments, render
from showwork.tokens.tokenizer import Encoder, check_special_tokens, load_encoder

ENCODER = Encoder(tiny_tokenizer())
CONTROL_IDS = set(CONTROL) - {3}


def example(question: str, trace: str, answer: str):
    return ENCODER.encode(prompt_segments("Think.", question) + completion_segments(trace, answer))


def test_an_example_has_one_bos_and_ends_in_a_trained_end_of_turn():
    encoded = example("Why?", "the end", "42")
    assert (encoded.ids == 2).sum() == 1
    assert encoded.ids[0] == 2
    assert encoded.ids[-1] == 107
    assert encoded.trained[-1] == 1
    assert encoded.trained.tolist() == sorted(encoded.trained.tolist())


def test_ids_are_those_of_the_rendered_text_where_content_is_harmless():
    segments = prompt_segments("Think.", "Why is\n\nthe sky blue?") + completion_segments("Air.", "It scatters.")
    whole = ENCODER.tokenizer.encode(render(segments), add_special_tokens=False).ids
    assert ENCODER.encode(segments).ids.tolist() == whole


def test_prompt_ids_do_not_depend_on_the_completion():
    prompt = ENCODER.encode(prompt_segments("Think.", "Q")).ids
    for trace in ("a", "the", "\n", "<"):
        assert example("Q", trace, "x").ids[: len(prompt)].tolist() == prompt.tolist()


pieces = st.sampled_from(
    ["<end_of_turn>", "<bos>", "<start_of_turn>", "<eos>", "<pad>", "<end_", "of_turn>", "<", " ", "é", "\n"]
)
content = st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=8).map("".join)


@settings(max_examples=60, deadline=None)
@given(question=content, trace=content, answer=content)
def test_content_never_becomes_a_control_token(question, trace, answer):
    ids = example(question, trace, answer).ids.tolist()
    assert [i for i in ids if i in CONTROL_IDS] == [2, 106, 107, 106, 107]
    segments = prompt_segments("Think.", question) + completion_segments(trace, answer)
    assert ENCODER.decode(ids) == render(segments)


def test_control_strings_in_content_are_counted():
    encoded = example("a<end_of_turn>b<bos>", "<eos>", "c")
    assert encoded.num_neutralized == 3


def test_many_at_once_equals_one_at_a_time():
    many = [prompt_segments("S", q) for q in ("a", "b<bos>", "", "a")]
    together = ENCODER.encode_many(many)
    for segments, encoded in zip(many, together, strict=True):
        alone = ENCODER.encode(segments)
        np.testing.assert_array_equal(alone.ids, encoded.ids)
        np.testing.assert_array_equal(alone.trained, encoded.trained)


def test_tokens_begin_where_the_text_of_each_begins():
    assert ENCODER.token_starts("the é!").tolist() == [0, 3, 4, 4, 5]
    assert len(ENCODER.token_starts("the é!")) == ENCODER.count_tokens(["the é!"])[0]


def test_a_special_token_with_another_id_is_refused_with_both_ids(tmp_path):
    swapped = {**CONTROL, 106: "<end_of_turn>", 107: "<start_of_turn>"}
    folder = write_base(tmp_path / "base", swapped)
    with pytest.raises(
        ValueError, match=r"'<start_of_turn>' must be id 106.*the file has id 107; use the tokenizer.json"
    ):
        load_encoder(folder, CONFIG)


def test_a_tokenizer_without_turn_tokens_is_refused():
    plain = {i: t for i, t in CONTROL.items() if i < 106}
    with pytest.raises(ValueError, match=r"'<start_of_turn>' must be id 106.*no such control token"):
        check_special_tokens(tiny_tokenizer(plain), CONFIG, "tokenizer.json")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bos_token_id": 5}, "config.json has bos_token_id 5 but gemma2 was trained with '<bos>' as id 2"),
        ({"model_type": "llama"}, "model_type is 'llama' but the template knows"),
        ({"vocab_size": 300}, "it has 367 ids but the base's embedding has 300 rows"),
    ],
)
def test_a_config_that_does_not_fit_the_tokenizer_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        check_special_tokens(tiny_tokenizer(), CONFIG | change, "tokenizer.json")


def test_several_end_tokens_in_the_config_are_allowed():
    check_special_tokens(tiny_tokenizer(), CONFIG | {"eos_token_id": [1, 107]}, "tokenizer.json")


def test_a_missing_or_broken_tokenizer_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer.json does not exist; a base folder holds"):
        load_encoder(tmp_path, CONFIG)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(ValueError, match=r"tokenizer.json cannot be read .*fetch it again"):
        load_encoder(tmp_path, CONFIG)
