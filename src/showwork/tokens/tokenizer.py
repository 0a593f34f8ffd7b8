"""From segments of text to ids, in a way that no content can ever become a control token.

Takes   the folder of a base (`tokenizer.json`, `config.json`) and segments of tokens/template.py.
Leaves  ids and the mask of trained tokens, as int32 and uint8 arrays.
Source  the `tokenizers` library, whose matcher of added tokens also fires inside user text ("<end_of_turn>" typed in a
        question becomes id 107): content is therefore encoded apart and cut open wherever a control id appears.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from showwork.tokens.template import BOS, END_OF_TURN, START_OF_TURN, Segment

# Ids that the weights were trained with, by `model_type` of config.json; a tokenizer that disagrees is of another base.
_FAMILY = {"<pad>": 0, "<eos>": 1, BOS: 2}
_TURNS = {
    "gemma2": {START_OF_TURN: 106, END_OF_TURN: 107},
    "gemma3_text": {START_OF_TURN: 105, END_OF_TURN: 106},
    "gemma3": {START_OF_TURN: 105, END_OF_TURN: 106},
}
_CONFIG_KEYS = {"<pad>": "pad_token_id", "<eos>": "eos_token_id", BOS: "bos_token_id"}


@dataclass(frozen=True)
class Encoded:
    """Ids of one sequence of segments, [T] int32; `trained`, [T] uint8; the control strings found in its content."""

    ids: np.ndarray
    trained: np.ndarray
    num_neutralized: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def one_core_a_call() -> None:
    """From now on a call encodes on the core of its caller, for a stage whose own threads encode side by side."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


class Encoder:
    """Turns segments into ids with one tokenizer. Deterministic, whatever the number of cores."""

    def __init__(self, tokenizer: Tokenizer):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        names = {"<pad>", "<eos>", BOS, START_OF_TURN, END_OF_TURN}
        self.control_ids = {t.content: i for i, t in added.items() if t.special or t.content in names}
        # An unknown piece is what some tokenizers make of a rare character: a legitimate outcome of content.
        self._forbidden = np.zeros(max([tokenizer.get_vocab_size(), *added]) + 1, bool)
        self._forbidden[[i for t, i in self.control_ids.items() if t != "<unk>"]] = True

    @property
    def pad_id(self) -> int:
        """The id of `<pad>`."""
        return self.control_ids["<pad>"]

    @property
    def end_of_turn_id(self) -> int:
        """The id that ends a turn."""
        return self.control_ids[END_OF_TURN]

    def encode(self, segments: Sequence[Segment]) -> Encoded:
        """Ids of one list of segments."""
        return self.encode_many([segments])[0]

    def encode_many(self, many: Sequence[Sequence[Segment]]) -> list[Encoded]:
        """Ids of many lists of segments; the content of all of them is encoded on all cores at once.

        Raises:
          ValueError: a control segment that the tokenizer does not know as a control token.
        """
        texts = list(dict.fromkeys(s.text for segments in many for s in segments if not s.control))
        content = dict(zip(texts, self.encode_content(texts), strict=True))
        return [self._assemble(segments, content) for segments in many]

    def encode_content(self, texts: Sequence[str]) -> list[tuple[np.ndarray, int]]:
        """Ids of plain texts, [T] int32 each, none of them a control id, and the control strings found in each text."""
        batch = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        content = []
        for text, encoding in zip(texts, batch, strict=True):
            ids = np.fromiter(encoding.ids, np.int32, len(encoding))
            content.append(self._cut_open(text) if self._forbidden[ids].any() else (ids, 0))
        return content

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of ids of each plain text."""
        return [len(ids) for ids, _ in self.encode_content(texts)]

    def token_starts(self, text: str) -> np.ndarray:
        """[T]: at which character of a plain text each of its tokens begins; a control string counts as one token."""
        offsets = self.tokenizer.encode(text, add_special_tokens=False).offsets
        return np.array([start for start, _ in offsets], np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, control tokens shown by name."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def _cut_open(self, text: str) -> tuple[np.ndarray, int]:
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if self._forbidden[token]:
                if end - start < 2:
                    raise ValueError(
                        f"tokenizer: the single character {text[start:end]!r} becomes the control token id {token}, so "
                        "text with it cannot be encoded safely; use the tokenizer.json that came with the base"
                    )
                (left, found_left), (right, found_right) = (
                    self._cut_open(text[: start + 1]),
                    self._cut_open(text[start + 1 :]),
                )
                return np.concatenate([left, right]), found_left + found_right + 1
        return np.array(encoding.ids, np.int32), 0

    def _assemble(self, segments: Sequence[Segment], content: dict[str, tuple[np.ndarray, int]]) -> Encoded:
        ids, trained, neutralized = [], [], 0
        for segment in segments:
            if segment.control:
                if segment.text not in self.control_ids:
                    raise ValueError(
                        f"tokenizer: {segment.text!r} is not one of its control tokens, {', '.join(sorted(self.control_ids))}; "
                        "use the tokenizer.json that came with the base"
                    )
                piece, found = np.array([self.control_ids[segment.text]], np.int32), 0
            else:
                piece, found = content[segment.text]
            ids.append(piece)
            trained.append(np.full(len(piece), segment.trained, np.uint8))
            neutralized += found
        return Encoded(np.concatenate(ids), np.concatenate(trained), neutralized)


def load_encoder(folder: Path, config: dict) -> Encoder:
    """Reads `folder/tokenizer.json` and checks it against the base's config.json.

    Raises:
      FileNotFoundError: no tokenizer.json.
      ValueError: not a tokenizer, a special token whose id is not that of the base, more ids than the embedding's rows.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"tokenizer {path} does not exist; a base folder holds config.json, tokenizer.json and *.safetensors as "
            "published, so copy it there or name another base"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as problem:  # the library raises a bare Exception
        raise ValueError(
            f"tokenizer {path} cannot be read ({problem}); expected the tokenizer.json of a Gemma model in the form of "
            "the tokenizers library, so fetch it again"
        ) from problem
    check_special_tokens(tokenizer, config, str(path))
    return Encoder(tokenizer)


def check_special_tokens(tokenizer: Tokenizer, config: dict, name: str) -> None:
    """Refuses a tokenizer whose special ids are not those that the base was trained with.

    Raises:
      ValueError: naming the token, the id wanted and the id got.
    """
    kind = config.get("model_type")
    if kind not in _TURNS:
        raise ValueError(
            f"base: model_type is {kind!r} but the template knows the turn tokens of {', '.join(sorted(_TURNS))}; "
            "choose a Gemma 2 or Gemma 3 text base"
        )
    wanted = dict(_FAMILY) | _TURNS[kind]
    for token, key in _CONFIG_KEYS.items():
        said = config.get(key)
        if said is not None and wanted[token] not in (said if isinstance(said, list) else [said]):
            raise ValueError(
                f"base: config.json has {key} {said} but {kind} was trained with {token!r} as id {wanted[token]}; "
                "use the config.json that came with the base"
            )
    added = {t.content: i for i, t in tokenizer.get_added_tokens_decoder().items()}
    for token, number in wanted.items():
        if added.get(token) != number:
            got = f"id {added[token]}" if token in added else "no such control token"
            raise ValueError(
                f"tokenizer {name}: {token!r} must be id {number}, as {kind} was trained, but the file has {got}; "
                "use the tokenizer.json that came with the base"
            )
    rows, ids = config.get("vocab_size"), tokenizer.get_vocab_size()
    if rows is not None and ids > rows:
        raise ValueError(
            f"tokenizer {name}: it has {ids} ids but the base's embedding has {rows} rows; "
            "use the tokenizer.json that came with the base"
        )


def tokenizer_digest(folder: Path) -> str:
    """sha256 of the file, for the packed rows' manifest."""
    return hashlib.sha256((Path(folder) / "tokenizer.json").read_bytes()).hexdigest()
