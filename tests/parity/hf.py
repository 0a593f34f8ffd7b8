"""transformers' and peft's side of the comparison: models from our folders, logits, gradients. float32, eager, CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

transformers.utils.logging.disable_progress_bar()


def load(folder: Path) -> torch.nn.Module:
    """A Hugging Face folder as transformers loads it."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def logits(model: torch.nn.Module, tokens: np.ndarray) -> np.ndarray:
    """[L, V] of one sequence [L], alone in its batch."""
    with torch.no_grad():
        return model(torch.from_numpy(np.asarray(tokens, np.int64))[None]).logits[0].numpy()


def loss_and_gradients(
    model: torch.nn.Module, sequences: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, dict[str, np.ndarray]]:
    """Summed loss of (ids, loss_mask) sequences, each run apart, and the gradient of every trainable parameter by name.

    loss_mask[i] = 1: token i is a target, predicted from those before it.
    """
    model.zero_grad()
    total = 0.0
    for tokens, mask in sequences:
        ids = torch.from_numpy(np.asarray(tokens, np.int64))
        predicted = model(ids[None]).logits[0, :-1].log_softmax(-1)
        picked = -predicted.gather(1, ids[1:, None])[:, 0]
        loss = (picked * torch.from_numpy(np.asarray(mask[1:], np.float32))).sum()
        loss.backward()
        total += loss.item()
    named = {n: p.grad.numpy().copy() for n, p in model.named_parameters() if p.grad is not None}
    return total, named
