"""Prompts asked, rollouts written, paid and compared: everything of a batch before the policy learns from it.

Takes   a session's records, the template, the settings of `train.grpo`, weights for the sampler.
Leaves  `Batch`: micro-batches for learn/learner.py and the batch's numbers. A function of the batch's number and the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from showwork.foundation.manifest import read_checked, read_manifest
from showwork.foundation.tables import read_rows
from showwork.learn.advantage import advantages, alike
from showwork.learn.grade import grade, is_short
from showwork.learn.groups import Draw, micro_batches
from showwork.learn.grpo import shares
from showwork.learn.reward import Attempt, pay, reward_functions, weighted
from showwork.learn.rollout import Request, Rollout, generate
from showwork.learn.session import Session
from showwork.model.config import GemmaConfig
from showwork.tokens.template import prompt_segments
from showwork.tokens.tokenizer import Encoder

COLUMNS = ["record_id", "source", "question", "answer"]


@dataclass(frozen=True)
class Prompts:
    """What can be asked. `records` have COLUMNS; `ids` are their prompts; `left_out` counts records by reason."""

    records: list[dict[str, Any]]
    ids: list[np.ndarray]
    num_records: int
    left_out: dict[str, int]
    digest: str

    def __len__(self) -> int:
        return len(self.records)


def read_prompts(mix: Path, encoder: Encoder, settings: Mapping[str, Any], how: Mapping[str, Any]) -> Prompts:
    """The records of a mix that make a prompt: short enough, and with a short reference where answers are paid.

    Raises:
      ValueError: fewer than `min_kept` of them do.
    """
    records = [row for batch in read_rows(read_checked(mix, "train"), COLUMNS) for row in batch.to_pylist()]
    asked = encoder.encode_many([prompt_segments(settings["system_prompt"], r["question"]) for r in records])
    room = settings["max_seq_length"] - how["max_new_tokens"]
    most = settings["answer_match_max_characters"]
    found, ids, left_out = [], [], Counter[str]()
    for record, prompt in zip(records, asked, strict=True):
        if len(prompt) > room:
            left_out["question_too_long"] += 1
        elif how["rewards"].get("answer") and not is_short(record["answer"], most):
            left_out["reference_too_long"] += 1
        else:
            found.append(record)
            ids.append(prompt.ids)
    if not found or len(found) < how["min_kept"] * len(records):
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(left_out.items()))
        raise ValueError(
            f"train.grpo: {len(found):,} of {len(records):,} records make a prompt ({reasons}), fewer than min_kept, "
            f"{how['min_kept']:g}; lower max_new_tokens (a prompt has {room} tokens of room beside it), switch the answer "
            "reward off, or lower min_kept"
        )
    return Prompts(found, ids, len(records), dict(left_out), read_manifest(mix)["files"]["train"]["sha256"])


@dataclass(frozen=True)
class Batch:
    """`micros` are the arrays to learn from, `numbers` what the history says of the rollouts."""

    micros: list[dict[str, np.ndarray]]
    numbers: dict[str, Any]


class Teacher:
    """Asks, pays, compares."""

    def __init__(
        self, cfg: GemmaConfig, encoder: Encoder, prompts: Prompts, settings: Mapping[str, Any], how: Mapping[str, Any]
    ):
        """Set up.

        Raises:
          ValueError: a reward that does not exist.
        """
        self.prompts = prompts
        self._cfg, self._encoder, self._how = cfg, encoder, how
        self._seed = settings["seed"]
        self._match = settings["answer_match_max_characters"]
        self._length = settings["max_seq_length"]
        self._functions = reward_functions(how["rewards"], how["soft_limit_tokens"], how["max_new_tokens"])
        self._draw = Draw(len(prompts), prompts.digest, self._seed)
        self._spare = Draw(len(prompts), f"{prompts.digest} instead", self._seed)
        self._columns = max(len(ids) for ids in prompts.ids)
        self._stops = (encoder.end_of_turn_id, encoder.control_ids["<eos>"])

    def batch(self, number: int, weights: dict, made: Session) -> Batch:
        """The rollouts of batch `number` by the policy with these weights.

        With `resample`, a group whose rewards are all equal is replaced by a group of another prompt, that often at most;
        what is still equal then stays and teaches nothing.
        """
        wanted, tries = self._how["prompts_per_batch"], 1 + self._how["resample"]
        kept: list[_Group] = []
        dull: list[_Group] = []
        for turn in range(tries):
            count = wanted - len(kept)
            if not count:
                break
            spare = (number * (tries - 1) + turn - 1) * wanted
            asked = self._draw(number * wanted, count) if turn == 0 else self._spare(spare, count)
            groups = self._ask(asked, (number * tries + turn) * wanted, weights)
            kept += [g for g in groups if not g.alike]
            dull += [g for g in groups if g.alike]
        numbers = _numbers([*kept, *dull], self._how["rewards"])
        chosen = [*kept, *dull][:wanted]
        return Batch(self._micros(chosen, made.rows_per_step), numbers)

    def _ask(self, asked: Sequence[int], first: int, weights: dict) -> list[_Group]:
        """One group for each prompt; the k-th group has the random streams of group first + k of the whole training."""
        size, limit = self._how["group_size"], self._how["max_new_tokens"]
        requests = [
            Request(self.prompts.ids[prompt], self._stops, limit, (first + k) * size + g)
            for k, prompt in enumerate(asked)
            for g in range(size)
        ]
        rollouts = generate(
            weights, self._cfg, requests, temperature=self._how["temperature"], seed=self._seed,
            slots=self._how["slots"], prompt_columns=self._columns,
        )  # fmt: skip
        return [self._group(prompt, rollouts[k * size : (k + 1) * size]) for k, prompt in enumerate(asked)]

    def _group(self, prompt: int, rollouts: list[Rollout]) -> _Group:
        attempts = [self._attempt(self.prompts.records[prompt], rollout) for rollout in rollouts]
        parts = pay(self._functions, attempts)
        return _Group(prompt, rollouts, attempts, parts, weighted(parts, self._how["rewards"]))

    def _attempt(self, record: Mapping[str, Any], rollout: Rollout) -> Attempt:
        """As the evaluation reads a completion: only `<end_of_turn>` ends a well-formed one."""
        stopped = bool(rollout.ids[-1] == self._encoder.end_of_turn_id)
        text = self._encoder.decode((rollout.ids[:-1] if stopped else rollout.ids).tolist())
        return Attempt(
            question=record["question"],
            reference=record["answer"],
            text=text,
            stopped=stopped,
            num_tokens=len(rollout.ids),
            grade=grade(text, record["answer"], stopped=stopped, match_max_characters=self._match),
            record_id=record["record_id"],
            source=record["source"],
        )

    def _micros(self, groups: Sequence[_Group], rows: int) -> list[dict[str, np.ndarray]]:
        """Groups of equal rewards count in the shares but, without a penalty, have no gradient: they are left out."""
        how = self._how
        gained = advantages(np.stack([g.rewards for g in groups]), scale_by_std=how["scale_by_std"]).reshape(-1)
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        prompts = [self.prompts.ids[group.prompt] for group in groups for _ in group.rollouts]
        lengths = np.array([len(rollout.ids) for rollout in rollouts])
        counted = np.array([rollout.stopped or not how["mask_overlong"] for rollout in rollouts])
        share = shares(lengths, counted, how["aggregate"], how["max_new_tokens"])
        taught = [i for i in range(len(rollouts)) if how["kl"] or not groups[i // how["group_size"]].alike]
        return micro_batches(
            [prompts[i] for i in taught],
            [rollouts[i] for i in taught],
            gained[taught],
            share[taught],
            length=self._length,
            rows=rows,
        )


@dataclass(frozen=True)
class _Group:
    """The rollouts of one prompt and what they were paid: `parts` by reward, `rewards` in all, [G] each."""

    prompt: int
    rollouts: list[Rollout]
    attempts: list[Attempt]
    parts: dict[str, np.ndarray]
    rewards: np.ndarray

    @property
    def alike(self) -> bool:
        return bool(alike(self.rewards[None])[0])


def _numbers(groups: Sequence[_Group], weights: Mapping[str, float]) -> dict[str, Any]:
    """Of all rollouts of a batch, those of replaced groups too."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    attempts = [attempt for group in groups for attempt in group.attempts]
    correct = [a.grade.correct for a in attempts if a.grade.correct is not None]
    lengths = np.array([len(r.ids) for r in rollouts])

    def mean(values: Sequence[float] | np.ndarray) -> np.float32:
        return np.float32(np.mean(values)) if len(values) else np.float32("nan")

    return {
        "reward": mean([g.rewards.mean() for g in groups]),
        "rewards": {name: mean([g.parts[name].mean() for g in groups]) for name in groups[0].parts},
        "same_reward_groups": mean([g.alike for g in groups]),
        "length": mean(lengths),
        "truncated": mean([not r.stopped for r in rollouts]),
        "well_formed": mean([a.grade.well_formed for a in attempts]),
        "correct": mean(correct),
        "groups": np.int64(len(groups)),
        "rollout_tokens": np.int64(lengths.sum()),
    }
