"""Write one completion and hand it over while it grows, with the compiled loop and the random streams of `learn.rollout`.

*Takes* what `generate` takes, of one request. *Leaves* the completion so far after every few tokens; the last one is what
`generate` would have left. A module of its own: stages do not import it, so an edit here makes no evaluation stale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from showwork.learn.rollout import GRAIN, Request, Rollout, _admit, _check, _decode, _Draw, _empty, _padded, _round_up
from showwork.model.config import GemmaConfig

LEAST_COLUMNS = 64  # prompts are padded to this or to a power of two above it: few shapes share compiled code
SMALL = 50_000_000
"""Weights below which a CPU takes longer to optimize the programs than to run them: the demo's are compiled in 2.7 CPU seconds
instead of 5.4, and write 95 tokens in 0.10 s instead of 0.06."""


class Stream:
    """Writes the completion of one request.

    The two programs are compiled beside each other in threads as soon as it is made, so that weights can be loaded
    meanwhile; several models of one shape can be asked in turn.

    Args:
        like: weights of `unstack`, or their shapes and dtypes alone.
        cfg, request, temperature, seed: as in `generate`.

    Raises:
        ValueError: as `generate`.
    """

    def __init__(
        self, like: dict, cfg: GemmaConfig, request: Request, *, temperature: float | None = None, seed: int = 0
    ) -> None:
        _check([request], temperature, 1)
        self._request = request
        longest, columns = LEAST_COLUMNS, _round_up(request.max_new_tokens, GRAIN)
        while longest < len(request.prompt):
            longest *= 2
        self._cfg, self._slots, sampled = cfg, (1, longest + columns, columns), temperature is not None
        stops = np.zeros((1, like["embed"].shape[0]), bool)
        stops[0, list(request.stop_ids)] = True
        self._draw = _Draw(jnp.uint32(seed), jnp.float32(temperature or 1.0), jnp.asarray(stops))
        # The slot's own limit is moved along: the loop of `generate` then stops wherever somebody wants to look.
        first = dataclasses.replace(request, max_new_tokens=1)
        self._batch = _padded([first], [0], [request.stop_ids], (1, longest), nowhere=1)
        state = jax.eval_shape(lambda: _empty(like, cfg, *self._slots))
        with_state = (like, cfg, sampled, self._draw, state)
        small = sum(leaf.size for leaf in jax.tree.leaves(like)) < SMALL and jax.default_backend() == "cpu"
        options: dict[str, Any] = {"xla_backend_optimization_level": 0} if small else {}
        pool = ThreadPoolExecutor(2, "compile")
        self._admit = pool.submit(lambda: _admit.lower(*with_state, *self._batch).compile(options))
        self._decode = pool.submit(lambda: _decode.lower(*with_state, jnp.int32(0)).compile(options))
        pool.shutdown(wait=False)

    def write(self, weights: dict, *, tokens_at_once: int = 1) -> Iterator[Rollout]:
        """The completion after its first token, after `tokens_at_once` more, …, and whole.

        With ids 5 6 7, the last a stop token, and one token at once: Rollout([5]), Rollout([5, 6]), Rollout([5, 6, 7],
        stopped=True).
        """
        most, draw = self._request.max_new_tokens, self._draw
        state = self._admit.result()(weights, draw, _empty(weights, self._cfg, *self._slots), *self._batch)
        while True:
            written = int(state.written[0])
            ids, log_probs = np.asarray(state.ids)[0, :written].copy(), np.asarray(state.log_probs)[0, :written].copy()
            stopped = int(ids[-1]) in self._request.stop_ids
            yield Rollout(ids, log_probs, stopped)
            if stopped or written >= most:
                return
            limit = jnp.asarray(np.array([min(written + tokens_at_once, most)], np.int32))
            state = state._replace(limit=limit, active=jnp.asarray(np.array([True])))
            state = self._decode.result()(weights, draw, state, jnp.int32(0))
