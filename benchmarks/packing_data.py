"""Examples and records of given token lengths, for timing the packer and the pack stage; the text is synthetic.

Takes:  a number, a seed.
Leaves: token lengths like the mix's; an Arrow file of tokenized examples; a mix (train.parquet, manifest) and a base folder with a
        Gemma-shaped tokenizer of 16,384 pieces learnt from the same text.

A mix is half long traces (median 600 tokens, 90th percentile 1,500) and half short ones (200 and 400), all cut to 24..1,024.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from generate_sources import Writer, vocabulary
from tokenizers import Encoding, Regex, Tokenizer, models, pre_tokenizers, trainers

from showwork.demo.tokenizer import build_tokenizer
from showwork.foundation.files import sha256_file, write_json
from showwork.foundation.manifest import write_manifest
from showwork.foundation.schema import RECORD
from showwork.foundation.tables import ParquetSink
from showwork.tokens.template import completion_segments, prompt_segments
from showwork.tokens.tokenizer import load_encoder

LENGTH = 1024
KINDS = {"long": (600, 1500), "short": (200, 400)}
CONFIG = {"model_type": "gemma2", "vocab_size": 256_000, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


def mix_lengths(count: int, seed: int = 0, most: int = LENGTH) -> np.ndarray:
    """[count] int32: tokens of each example, long and short ones in turn."""
    generator = np.random.Generator(np.random.PCG64(seed))
    found = np.empty(count)
    for place, (median, ninetieth) in enumerate(KINDS.values()):
        spread = np.log(ninetieth / median) / 1.2816
        mine = slice(place, None, len(KINDS))
        found[mine] = median * np.exp(generator.normal(0, spread, len(found[mine])))
    return np.clip(found, 24, most).astype(np.int32)


def write_examples(file: Path, lengths: np.ndarray) -> None:
    """An Arrow file as datasets leaves it: input_ids and labels of each example; the first third is not trained."""
    generator = np.random.Generator(np.random.PCG64(1))
    schema = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])
    with file.open("wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for start in range(0, len(lengths), 1000):
            some = lengths[start : start + 1000]
            ids = generator.integers(108, 256_000, int(some.sum()), dtype=np.int32)
            place = np.concatenate([np.arange(n) / n for n in some])
            ends = np.concatenate([[0], np.cumsum(some)]).astype(np.int32)
            columns = [pa.ListArray.from_arrays(ends, values) for values in (ids, np.where(place < 1 / 3, -100, ids))]
            stream.write_batch(pa.record_batch([columns[0], columns[1].cast(schema.field("labels").type)], schema))


def write_base(folder: Path, pieces: int = 16_384) -> Path:
    """A manifest of a base: a tokenizer of Gemma's shape, its merges learnt from the text, and its config.json."""
    texts = Writer(0, "tokenizer", vocabulary()).texts(np.random.default_rng(0), np.full(2_000, 4_000))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[A-Za-z]+|."), "isolated")
    tokenizer.train_from_iterator(
        (text.replace(" ", "▁") for text in texts), trainers.BpeTrainer(vocab_size=pieces, show_progress=False)
    )
    learnt = json.loads(tokenizer.to_str())["model"]
    gemma = json.loads(build_tokenizer(num_documents=1).to_str())
    names = sorted(gemma["model"]["vocab"], key=gemma["model"]["vocab"].get)[: 109 + 256]
    names += [piece for piece in sorted(learnt["vocab"], key=learnt["vocab"].get) if piece not in set(names)]
    gemma["model"] |= {"vocab": {name: i for i, name in enumerate(names)}, "merges": learnt["merges"]}
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(gemma, ensure_ascii=False))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    files: dict[str, Any] = {
        f.name: {"path": str(f), "bytes": f.stat().st_size, "sha256": sha256_file(f), "rows": None}
        for f in sorted(folder.iterdir())
    }
    manifest = folder.parent / "base.json"
    write_json(manifest, {"stage": "download", "name": "base", "settings": {}, "files": files, "counts": {}})
    return manifest


def write_mix(folder: Path, base: Path, system: str, lengths: np.ndarray) -> Path:
    """The manifest of a mix whose records have these token lengths or a few less; `base` is the manifest of the base."""
    folder.mkdir(parents=True)
    encoder, writer = load_encoder(base.parent / "base", CONFIG), Writer(0, "mix", vocabulary())
    empty = len(encoder.encode(prompt_segments(system, "") + completion_segments("", "")))
    with ParquetSink(folder / "train.parquet", RECORD) as sink:
        for start in range(0, len(lengths), 2000):
            some = lengths[start : start + 2000]
            texts = writer.texts(writer.block(start), some * 6.0)
            encodings = encoder.tokenizer.encode_batch(texts, add_special_tokens=False)
            sink.write(
                [
                    _record(start + i, _cut(text, encoding, int(n) - empty))
                    for i, (text, encoding, n) in enumerate(zip(texts, encodings, some, strict=True))
                ]
            )
    manifest = folder / "manifest.json"
    write_manifest(
        manifest, stage="mix", name="s", settings={}, inputs={}, files={"train": sink.file},
        counts={"train": len(lengths)}, digest=sink.digest,
    )  # fmt: skip
    return manifest


def _cut(text: str, encoding: Encoding, tokens: int) -> list[str]:
    """The first words of `text`, so many that they have about `tokens` tokens and never more: 8 are left for the joints."""
    room = max(8, tokens - 8)
    end = encoding.offsets[room][0] if len(encoding.ids) > room else len(text)
    return text[:end].split(" ")


def _record(number: int, words: list[str]) -> dict[str, Any]:
    """Question, trace and answer are 15, 70 and 15 hundredths of the words."""
    first, last = len(words) * 15 // 100, len(words) * 85 // 100
    name = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
    return {
        "record_id": name, "question_id": name, "row_id": name, "source": list(KINDS)[number % len(KINDS)], "source_row": number,
        "question": " ".join(words[:first]), "trace": " ".join(words[first:last]), "answer": " ".join(words[last:]),
    }  # fmt: skip
