"""A byte-level stand-in for Gemma's tokenizer: 108 control and filler ids, one id per byte, a few merges."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 106: "<start_of_turn>", 107: "<end_of_turn>"}
CONFIG = {
    "model_type": "gemma2",
    "vocab_size": 400,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def tiny_tokenizer(control: dict[int, str] | None = None) -> Tokenizer:
    """Words are cut into bytes; `control` names the control tokens by id."""
    control = CONTROL if control is None else control
    names = [control.get(i, f"<unused{i}>") for i in range(108)]
    vocab = {name: i for i, name in enumerate(names)}
    for byte in sorted(ByteLevel.alphabet()):
        vocab[byte] = len(vocab)
    merges = [("t", "h"), ("th", "e"), ("<", "e")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+|\w+|[^\w\s]+"), "isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in control.values()])
    return tokenizer


def write_base(folder: Path, control: dict[int, str] | None = None, config: dict | None = None) -> Path:
    """A folder with tokenizer.json and config.json."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer(control).save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    return folder
