"""Models with random weights and examples of given lengths, for races of trainers; the same files go to every contestant.

Takes:  a folder.
Leaves: `<model>/` as Hugging Face has it (config.json, model.safetensors, float32), `<lengths>.npz` with the examples one after the
        other (ids, their starts, where each completion begins).

Models (Gemma 2: grouped heads, a window of 512 in every other layer, soft-caps 50 and 30, four norms)
    m16k   6 layers, width 384, feed-forward 1,536, 6 heads and 3 of keys of 64, vocabulary 16,384: 19.6 M parameters
    v256k  4 layers, width 256, feed-forward 1,024, 4 heads and 2 of keys of 64, vocabulary 262,144: 71 M, nearly all head
Lengths (log-normal, cut to 24..1,024)
    session1-like  median 600, 90th percentile 1,500 before the cut
    short          median 200, 90th percentile 400
    mix            one half of each, in turn
Ids are drawn by Zipf's law; the first third of an example is its prompt and bears no loss.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from packing_data import KINDS, mix_lengths
from safetensors.numpy import save_file

from showwork.model.config import GemmaConfig
from showwork.model.params import shapes
from showwork.tokens.packing import DTYPES, PackedArrays, best_fit_decreasing, pack, shuffle_bins

LENGTH = 1024
EXAMPLES = 20_000
PROMPT_SHARE = 3  # one in so many tokens
LENGTHS = {"mix": None, "session1-like": "long", "short": "short"}
SHAPES = {
    "m16k": {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6,
             "num_key_value_heads": 3, "vocab_size": 16_384},
    "v256k": {"num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4,
              "num_key_value_heads": 2, "vocab_size": 262_144},
}  # fmt: skip
COMMON = {
    "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "head_dim": 64, "query_pre_attn_scalar": 64,
    "sliding_window": 512, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192,
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": True, "torch_dtype": "float32",
}  # fmt: skip


def config(name: str, **changed: Any) -> dict[str, Any]:
    """config.json of a model."""
    said = {**COMMON, **SHAPES[name], **changed}
    kinds = ("sliding_attention", "full_attention")
    return {"layer_types": [kinds[i % 2] for i in range(said["num_hidden_layers"])], **said}


def write_model(folder: Path, name: str, *, post_norm: float = 0.0, **changed: Any) -> Path:
    """A model's folder; linears have variance 1 / inputs, the embedding 1 / width, norms are at their start.

    With the weights of the norms after attention and feed-forward at `post_norm` 8, the layers outweigh the tied embedding,
    which otherwise says every token again for ever.
    """
    said = config(name, **changed)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(said))
    generator = np.random.Generator(np.random.PCG64(0))
    weights = {}
    for tensor, shape in shapes(GemmaConfig.from_hf(said), said["vocab_size"]).items():
        deviation = shape[-1] ** -0.5 if len(shape) == 2 else 0.0
        raised = post_norm if "post_" in tensor else 0.0
        weights[tensor] = np.float32(raised) + generator.standard_normal(shape, np.float32) * np.float32(deviation)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_examples(file: Path, lengths: str, vocabulary: int, count: int = EXAMPLES) -> Path:
    """The examples of one of LENGTHS."""
    sizes = example_lengths(lengths, count)
    generator = np.random.Generator(np.random.PCG64(1))
    ids = (generator.zipf(1.2, int(sizes.sum())) % (vocabulary - 108) + 108).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    ids[starts[:-1]], ids[starts[1:] - 1] = 2, 107
    np.savez(file, ids=ids, starts=starts, completions=starts[:-1] + sizes // PROMPT_SHARE)
    return file


def example_lengths(lengths: str, count: int = EXAMPLES) -> np.ndarray:
    """[count] tokens of each example."""
    kind = LENGTHS[lengths]
    if kind is None:
        return mix_lengths(count)
    place = list(KINDS).index(kind)
    return mix_lengths(len(KINDS) * count)[place :: len(KINDS)]


def read_examples(file: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(ids, trained) of each example."""
    held = np.load(file)
    ids, starts, completions = held["ids"], held["starts"], held["completions"]
    found = []
    for start, stop, completion in zip(starts[:-1], starts[1:], completions, strict=True):
        found.append((ids[start:stop], (np.arange(start, stop) >= completion).astype(np.uint8)))
    return found


def rows_of(examples: list[tuple[np.ndarray, np.ndarray]], *, packed: bool, length: int = LENGTH) -> PackedArrays:
    """Packed as the pack stage packs them, or one example a row."""
    bins = [[i] for i in range(len(examples))]
    if packed:
        bins = shuffle_bins(best_fit_decreasing([len(ids) for ids, _ in examples], length), 0)
    into = PackedArrays(**{name: np.zeros((len(bins), length), kind) for name, kind in DTYPES.items()})
    pack(bins, examples, into)
    return into


def fills(lengths: str) -> dict[str, float]:
    """Share of the places that hold a token: packed, and padded to LENGTH; over all examples."""
    sizes = example_lengths(lengths)
    total = float(sizes.sum()) / LENGTH
    return {"packed": total / len(best_fit_decreasing(sizes.tolist(), LENGTH)), "padded": total / len(sizes)}
