"""Write one completion and hand it over while it grows, with the compiled code and the random streams of `learn.rollout`.

*Takes* what `generate` takes, of one request. *Leaves* the completion so far after every few tokens; the last one is what
`generate` would have left. A module of its own: stages do not import it, so an edit here makes no evaluation stale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from showwork.learn.rollout import GRAIN, Request, Rollout, _admit, _check, _decode, _Draw, _empty, _padded, _round_up
from showwork.model.config import GemmaConfig

LEAST_COLUMNS = 64  # prompts are padded to this or to a power of two above it: few shapes share compiled code


def stream(
    weights: dict,
    cfg: GemmaConfig,
    request: Request,
    *,
    temperature: float | None = None,
    seed: int = 0,
    tokens_at_once: int = 1,
) -> Iterator[Rollout]:
    """The completion after its first token, after `tokens_at_once` more, …, and whole.

    With ids 5 6 7, the last a stop token, and one token at once: Rollout([5]), Rollout([5, 6]), Rollout([5, 6, 7],
    stopped=True). Arguments and errors are those of `generate`.
    """
    _check([request], temperature, 1)
    longest, columns = LEAST_COLUMNS, _round_up(request.max_new_tokens, GRAIN)
    while longest < len(request.prompt):
        longest *= 2
    stops = np.zeros((1, weights["embed"].shape[0]), bool)
    stops[0, list(request.stop_ids)] = True
    sampled = temperature is not None
    draw = _Draw(jnp.uint32(seed), jnp.float32(temperature or 1.0), jnp.asarray(stops))
    # The slot's own limit is moved along: the loop of `generate` then stops wherever somebody wants to look.
    first = dataclasses.replace(request, max_new_tokens=1)
    state = _empty(weights, cfg, 1, longest + columns, columns)
    batch = _padded([first], [0], [request.stop_ids], (1, longest), nowhere=1)
    state = _admit(weights, cfg, sampled, draw, state, *batch)
    while True:
        written = int(state.written[0])
        ids, log_probs = np.asarray(state.ids)[0, :written].copy(), np.asarray(state.log_probs)[0, :written].copy()
        stopped = int(ids[-1]) in request.stop_ids
        yield Rollout(ids, log_probs, stopped)
        if stopped or written >= request.max_new_tokens:
            return
        limit = np.array([min(written + tokens_at_once, request.max_new_tokens)], np.int32)
        state = state._replace(limit=jnp.asarray(limit), active=jnp.asarray([True]))
        state = _decode(weights, cfg, sampled, draw, state, jnp.int32(0))
