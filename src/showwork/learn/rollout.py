"""Write completions for many prompts at once, with a cache of keys and values and slots that are refilled.

*Takes* unstacked, merged weights (`model.decode.unstack`) and requests: prompt ids, ids that stop, a limit. *Leaves* one
`Rollout` per request: the ids written, their log-probabilities, whether it stopped.

    slots      0: ....prompt 3.... | prompt 9 ......|            a row that stops is given the next prompt
               1: prompt 1 .. | prompt 8 ................|        as soon as a few have stopped, so that rows
               2: ..prompt 0............ | prompt 10 ..|           of mixed lengths do not wait for the longest

One compiled loop steps all slots until enough of them are free; then the next prompts are read into those slots by one
compiled admission. What a prompt is answered with depends neither on its slot nor on its neighbours: every sequence has
its own rows of the cache and its own stream of random numbers, named by the prompt's number.

Source: continuous batching as in Orca (Yu et al., OSDI 2022), at the granularity of `REFILL_SHARE` of the slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from showwork.model.config import GemmaConfig
from showwork.model.decode import Cache, prefill, step

REFILL_SHARE = 8  # an eighth of the slots is refilled at a time: on average a sixteenth of them idles
FIRST_FILL = 8  # free slots that are filled at once, while so many are free
BUCKETS = 3  # prompts are padded to the longest, half or a quarter of it: one compilation each
GRAIN = 16  # shapes are rounded up to it, so that nearly equal inputs share compiled code


@dataclass(frozen=True)
class Request:
    """One prompt to complete.

    prompt: ids, `<bos>` included, at least one.
    stop_ids: any of these ends the completion and is its last id.
    max_new_tokens: the completion has at most so many ids.
    number: names the random stream; the same number and seed draw the same tokens.
    """

    prompt: Sequence[int] | np.ndarray
    stop_ids: tuple[int, ...]
    max_new_tokens: int
    number: int = 0


@dataclass(frozen=True)
class Rollout:
    """One completion.

    ids: [T] int32, the stop token included where there is one.
    log_probs: [T] float32 of each id under the distribution it was drawn from: softmax(logits / temperature), with
        temperature 1 under greedy.
    stopped: by a stop token; otherwise the limit cut it.
    """

    ids: np.ndarray
    log_probs: np.ndarray
    stopped: bool

    @property
    def reason(self) -> str:
        """stop | length"""
        return "stop" if self.stopped else "length"


class _State(NamedTuple):
    """All slots [B]. `token` is written but not yet read; it belongs at `position`."""

    cache: Cache
    token: jax.Array
    position: jax.Array
    number: jax.Array  # of the request, which names its random stream
    stops: jax.Array  # which of the sets of stop ids
    limit: jax.Array
    written: jax.Array  # how many tokens
    active: jax.Array
    ids: jax.Array  # [B, M]
    log_probs: jax.Array  # [B, M]


def generate(
    weights: dict,
    cfg: GemmaConfig,
    requests: Sequence[Request],
    *,
    temperature: float | None = None,
    seed: int = 0,
    slots: int = 64,
    prompt_columns: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """Complete every request, in the order given. Requests of different kinds share the slots and the compiled code.

    Args:
        weights: of `unstack`; merge an adapter first.
        temperature: None is greedy (the most likely id); above 0 samples.
        seed: of the random streams.
        slots: sequences in flight.
        prompt_columns: room for prompts at least this long, so that calls with other prompts share compiled code.
        progress: called with (requests finished, tokens written) whenever slots are refilled.

    Raises:
        ValueError: an empty prompt, a limit or number of slots below 1, a temperature that is not above 0.
    """
    _check(requests, temperature, slots)
    if not requests:
        return []
    slots = min(slots, _round_up(len(requests), 8))
    refill = max(1, slots // REFILL_SHARE)
    longest = _round_up(max(prompt_columns, *(len(r.prompt) for r in requests)), GRAIN)
    buckets = sorted({max(_round_up(longest // 2**i, GRAIN), GRAIN) for i in range(BUCKETS)})
    columns = _round_up(max(r.max_new_tokens for r in requests), GRAIN)
    stop_sets = list(dict.fromkeys(r.stop_ids for r in requests))
    stops = np.zeros((len(stop_sets), weights["embed"].shape[0]), bool)
    for row, ids in zip(stops, stop_sets, strict=True):
        row[list(ids)] = True
    sampled = temperature is not None
    draw = _Draw(jnp.uint32(seed), jnp.float32(temperature or 1.0), jnp.asarray(stops))

    state = _empty(weights, cfg, slots, longest + columns, columns)
    # Longest prompts first: those admitted together then share a bucket.
    waiting = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt))
    owner = [-1] * slots
    done: dict[int, Rollout] = {}
    num_tokens = 0
    while waiting or any(i >= 0 for i in owner):
        free = [slot for slot in range(slots) if owner[slot] < 0]
        while waiting and free:
            wide = FIRST_FILL if refill < FIRST_FILL <= min(len(free), len(waiting)) else refill
            chosen = [waiting.pop() for _ in range(min(wide, len(waiting), len(free)))]
            rows = [free.pop(0) for _ in chosen]
            for row, i in zip(rows, chosen, strict=True):
                owner[row] = i
            bucket = next(b for b in buckets if b >= max(len(requests[i].prompt) for i in chosen))
            batch = _padded([requests[i] for i in chosen], rows, stop_sets, (wide, bucket), nowhere=slots)
            state = _admit(weights, cfg, sampled, draw, state, *batch)
        busy = sum(i >= 0 for i in owner)
        state = _decode(weights, cfg, sampled, draw, state, jnp.int32(busy - refill if waiting else 0))
        for slot, rollout in _finished(state, owner, requests):
            done[owner[slot]] = rollout
            num_tokens += len(rollout.ids)
            owner[slot] = -1
        if progress:
            progress(len(done), num_tokens)
    return [done[i] for i in range(len(requests))]


def _check(requests: Sequence[Request], temperature: float | None, slots: int) -> None:
    for i, request in enumerate(requests):
        if not len(request.prompt):
            raise ValueError(f"prompt {i} has no ids, wanted at least 1; begin every prompt with <bos>.")
        if request.max_new_tokens < 1:
            raise ValueError(
                f"max_new_tokens is {request.max_new_tokens}, wanted at least 1; set evaluate.max_new_tokens higher."
            )
    if slots < 1:
        raise ValueError(f"slots is {slots}, wanted at least 1; set evaluate.batch higher.")
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature is {temperature}, wanted null (greedy) or a number above 0; set it to null.")


def _finished(state: _State, owner: Sequence[int], requests: Sequence[Request]) -> Iterator[tuple[int, Rollout]]:
    """Slots whose completion has ended, with what was written."""
    active, written = np.asarray(state.active), np.asarray(state.written)
    ids, log_probs = np.asarray(state.ids), np.asarray(state.log_probs)
    for slot, i in enumerate(owner):
        if i >= 0 and not active[slot]:
            mine = ids[slot, : written[slot]].copy()
            yield slot, Rollout(mine, log_probs[slot, : written[slot]].copy(), int(mine[-1]) in requests[i].stop_ids)


class _Draw(NamedTuple):
    """How the next token is chosen, and the sets of ids that end a sequence."""

    seed: jax.Array
    temperature: jax.Array
    stops: jax.Array  # [sets, V] bool


def _pick(
    draw: _Draw, sampled: bool, logits: jax.Array, number: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The next token of each row [B] and its log-probability, from logits [B, V]; `count` tokens were written before."""
    scaled = logits / draw.temperature
    score = scaled
    if sampled:
        key = jax.random.key(draw.seed)
        row_key = jax.vmap(lambda n, c: jax.random.fold_in(jax.random.fold_in(key, n), c))(number, count)
        score = scaled + jax.vmap(lambda k: jax.random.gumbel(k, logits.shape[1:]))(row_key)
    # The first of the highest, in two plain reductions: argmax is one of pairs, four times slower on a CPU.
    ids = jax.lax.broadcasted_iota(jnp.int32, score.shape, 1)
    token = jnp.min(jnp.where(score == score.max(axis=-1, keepdims=True), ids, score.shape[1] - 1), axis=-1)
    picked = jnp.take_along_axis(scaled, token[:, None], axis=-1)[:, 0]
    return token, picked - jax.nn.logsumexp(scaled, axis=-1)


@partial(jax.jit, static_argnames=("cfg", "sampled"), donate_argnames="state")
def _admit(
    weights: dict,
    cfg: GemmaConfig,
    sampled: bool,
    draw: _Draw,
    state: _State,
    tokens: jax.Array,
    lengths: jax.Array,
    number: jax.Array,
    stops: jax.Array,
    limit: jax.Array,
    rows: jax.Array,
) -> _State:
    """Read prompts [P, columns] and put them, with their first token, into the slots `rows` [P]; row B is nowhere."""
    logits, read = prefill(weights, cfg, tokens, lengths, state.cache[0]["k"].shape[2])
    token, log_prob = _pick(draw, sampled, logits, number, jnp.zeros_like(number))

    def put(kept: jax.Array, new: jax.Array) -> jax.Array:
        return kept.at[rows].set(new, mode="drop")

    return _State(
        cache=jax.tree.map(put, state.cache, read),
        token=put(state.token, token),
        position=put(state.position, lengths),
        number=put(state.number, number),
        stops=put(state.stops, stops),
        limit=put(state.limit, limit),
        written=put(state.written, jnp.ones_like(rows)),
        active=put(state.active, ~draw.stops[stops, token] & (limit > 1)),
        ids=state.ids.at[rows, 0].set(token, mode="drop"),
        log_probs=state.log_probs.at[rows, 0].set(log_prob, mode="drop"),
    )


@partial(jax.jit, static_argnames=("cfg", "sampled"), donate_argnames="state")
def _decode(weights: dict, cfg: GemmaConfig, sampled: bool, draw: _Draw, state: _State, enough: jax.Array) -> _State:
    """Step all slots together until at most `enough` of them are still active."""
    rows = jnp.arange(state.token.shape[0])

    def one(state: _State) -> _State:
        logits, cache = step(weights, cfg, state.cache, state.token, state.position)
        token, log_prob = _pick(draw, sampled, logits, state.number, state.written)
        # A finished row is stepped along without effect: what it writes goes to a column that does not exist.
        column = jnp.where(state.active, state.written, state.ids.shape[1])
        written = state.written + state.active
        return _State(
            cache=cache,
            token=jnp.where(state.active, token, state.token),
            position=state.position + state.active,
            number=state.number,
            stops=state.stops,
            limit=state.limit,
            written=written,
            active=state.active & ~draw.stops[state.stops, token] & (written < state.limit),
            ids=state.ids.at[rows, column].set(token, mode="drop"),
            log_probs=state.log_probs.at[rows, column].set(log_prob, mode="drop"),
        )

    return jax.lax.while_loop(lambda s: s.active.sum() > jnp.maximum(enough, 0), one, state)


def _empty(weights: dict, cfg: GemmaConfig, slots: int, cache_length: int, columns: int) -> _State:
    """Slots that nobody has."""
    shape, dtype = (slots, cfg.kv_heads, cache_length, cfg.head_width), weights["embed"].dtype
    cache = tuple({"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)} for _ in range(cfg.num_layers))

    def none(kind: type = jnp.int32, *more: int) -> jax.Array:
        return jnp.zeros((slots, *more), kind)

    ids, log_probs = none(jnp.int32, columns), none(jnp.float32, columns)
    return _State(cache, none(), none(), none(jnp.uint32), none(), none(), none(), none(bool), ids, log_probs)


def _padded(
    requests: Sequence[Request],
    rows: Sequence[int],
    stop_sets: Sequence[tuple[int, ...]],
    shape: tuple[int, int],
    *,
    nowhere: int,
) -> tuple[np.ndarray, ...]:
    """Arrays of one admission of `shape`; rows beyond the requests hold one token and go `nowhere`."""
    tokens = np.zeros(shape, np.int32)
    lengths, stops, limits = np.ones(shape[0], np.int32), np.zeros(shape[0], np.int32), np.ones(shape[0], np.int32)
    numbers, target = np.zeros(shape[0], np.uint32), np.full(shape[0], nowhere, np.int32)
    for i, (request, row) in enumerate(zip(requests, rows, strict=True)):
        tokens[i, : len(request.prompt)] = request.prompt
        lengths[i], limits[i], numbers[i] = len(request.prompt), request.max_new_tokens, request.number
        stops[i], target[i] = stop_sets.index(request.stop_ids), row
    return tokens, lengths, numbers, stops, limits, target


def _round_up(number: int, grain: int) -> int:
    return -(-number // grain) * grain
