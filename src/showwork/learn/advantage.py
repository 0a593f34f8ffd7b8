"""How much better each rollout was than the others of its group.

Takes   rewards [P, G] of G rollouts of each of P prompts.
Leaves  advantages [P, G], whose sum over a group is zero, and which groups say nothing because all rewards are equal.
Source  DeepSeekMath (arXiv 2402.03300, section 4.1.2): (reward - mean) / standard deviation, the population's here; Dr. GRPO
        (arXiv 2503.20783) leaves the division out, because it weighs questions that are nearly always or never answered more.
"""

from __future__ import annotations

import numpy as np


def advantages(rewards: np.ndarray, *, scale_by_std: bool) -> np.ndarray:
    """Advantages [P, G] float32; exactly 0 in a group of equal rewards.

    >>> advantages(np.array([[1.0, 0.0, 0.0, 1.0], [0.3, 0.3, 0.3, 0.3]]), scale_by_std=True)
    array([[ 1., -1., -1.,  1.],
           [ 0.,  0.,  0.,  0.]], dtype=float32)

    Raises:
      ValueError: groups of one.
    """
    if rewards.shape[1] < 2:
        raise ValueError(
            f"train.grpo.group_size is {rewards.shape[1]}, wanted at least 2: an advantage compares rollouts of one "
            "prompt, and one alone has nothing to be compared with; raise it"
        )
    rewards = rewards.astype(np.float64)
    same = alike(rewards)[:, None]
    centered = rewards - rewards.mean(axis=1, keepdims=True)
    spread = np.where(same, 1.0, rewards.std(axis=1, keepdims=True)) if scale_by_std else 1.0
    return np.where(same, 0.0, centered / spread).astype(np.float32)


def alike(rewards: np.ndarray) -> np.ndarray:
    """Bool [P]: the groups whose rewards are all equal, which teach nothing."""
    return rewards.max(axis=1) == rewards.min(axis=1)
