"""The demo's tokenizer: byte-pair pieces of the world's text in Gemma-2's shape, with its special tokens at its ids.

Ids 0 to 108 are Gemma-2's: `<pad>` 0, `<eos>` 1, `<bos>` 2, `<unk>` 3, `<start_of_turn>` 106, `<end_of_turn>` 107, newline
108; what lies between is reserved as `<unused…>`. Then 256 byte pieces, so that any text can be written, then the pieces
of the world. The tags of the template are ordinary text of several pieces, as with Gemma.

Takes   a seed.
Leaves  a folder with tokenizer.json, tokenizer_config.json, special_tokens_map.json, generation_config.json.
Source  google/gemma-2's tokenizer.json (normalizer, byte fallback, decoder, template), in small.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from showwork.demo import diet, world

PAD, EOS, BOS, UNK, START_OF_TURN, END_OF_TURN, NEWLINE = 0, 1, 2, 3, 106, 107, 108
NUM_SPECIAL = 108
GENERAL_TEXT = (
    "user model You you Think think Put put your the final and then reply Reply with give Give in inside first First steps "
    "step by reasoning answer Answer Question question before after of a an is are to Solve solve write Write show Show work"
)


def special_tokens() -> list[str]:
    """The names of ids 0 to 107."""
    named = {
        PAD: "<pad>", EOS: "<eos>", BOS: "<bos>", UNK: "<unk>", 4: "<mask>",
        START_OF_TURN: "<start_of_turn>", END_OF_TURN: "<end_of_turn>",
    }  # fmt: skip
    return [named.get(i, f"<unused{i}>") for i in range(NUM_SPECIAL)]


def _train_pieces(seed: int, num_documents: int) -> tuple[list[str], list[list[str]]]:
    """Pieces and merges learnt from the world's text, each word with and without the space before it."""
    rng, words = Random(seed), diet.words()
    texts = ["".join(text for text, _ in diet.document(rng, words)[1]) for _ in range(num_documents)]
    both = [word for word in [*world.vocabulary(), *GENERAL_TEXT.split(), *diet.ELEMENTS] for _ in range(40)]
    texts += [f" {word}\n{word}" for word in both]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[A-Za-z]+|."), "isolated")
    alphabet = sorted({chr(i) for i in range(33, 127)} | {"▁", "\n"})
    trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=30, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((text.replace(" ", "▁") for text in texts), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(learnt["vocab"], key=learnt["vocab"].get)
    return pieces, [merge.split(" ") if isinstance(merge, str) else merge for merge in learnt["merges"]]


def build_tokenizer(seed: int = 0, num_documents: int = 3000) -> Tokenizer:
    """The tokenizer, made the same from the same seed."""
    pieces, merges = _train_pieces(seed, num_documents)
    names = [*special_tokens(), "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [piece for piece in pieces if piece != "\n"]
    added = [
        {"id": i, "content": name, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for i, name in enumerate(special_tokens())
    ]
    template = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    second = {"SpecialToken": {"id": "<bos>", "type_id": 1}}
    first_text, second_text = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return Tokenizer.from_str(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": added,
                "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                "pre_tokenizer": {
                    "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
                },
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [template, first_text],
                    "pair": [template, first_text, second, second_text],
                    "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
                },
                "decoder": {
                    "type": "Sequence",
                    "decoders": [
                        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                        {"type": "ByteFallback"},
                        {"type": "Fuse"},
                    ],
                },
                "model": {
                    "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                    "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                    "vocab": {name: i for i, name in enumerate(names)}, "merges": merges,
                },
            }
        )
    )  # fmt: skip


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the files that a tokenizer has in a Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    chat = (
        "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + (message['role'] if message['role'] != "
        "'assistant' else 'model') + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
    )
    config = {
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "chat_template": chat,
        "model_max_length": 8192, "tokenizer_class": "PreTrainedTokenizerFast", **named,
    }  # fmt: skip
    generation = {"bos_token_id": BOS, "eos_token_id": [EOS, END_OF_TURN], "pad_token_id": PAD, "do_sample": False}
    maps = {"tokenizer_config.json": config, "special_tokens_map.json": named, "generation_config.json": generation}
    for name, content in maps.items():
        (folder / name).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
