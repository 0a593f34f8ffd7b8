import functools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_gemma import CONFIGS, packed, random_tokens, write_gemma

from showwork.model.config import GemmaConfig
from showwork.model.decode import prefill, step, unstack
from showwork.model.gemma import hidden, logits
from showwork.model.params import load_params

NAMES = ("gemma2_odd", "gemma3_odd")


@functools.cache
def ready(name):
    """Configuration, weights, tokens [2, 23], and the full pass's logits at every position."""
    cfg = GemmaConfig.from_hf(CONFIGS[name])
    with tempfile.TemporaryDirectory() as folder:
        params = load_params(write_gemma(Path(folder), CONFIGS[name]), cfg, "float32")
    tokens = random_tokens(CONFIGS[name], (2, 23))
    positions, segments = (np.repeat(x, 2, axis=0) for x in packed([23]))
    full = jax.jit(lambda p: logits(p, cfg, hidden(p, cfg, tokens, positions, segments)))(params)
    read = jax.jit(lambda w, t, n: prefill(w, cfg, t, n, 23))
    advance = jax.jit(lambda w, c, t, p: step(w, cfg, c, t, p))
    return unstack(params, cfg), tokens, np.asarray(full), read, advance


@pytest.mark.parametrize("name", NAMES)
def test_cached_logits_equal_the_full_pass_at_every_step(name):
    weights, tokens, full, read, advance = ready(name)
    lengths = np.array([9, 4])  # beyond and below the window
    rows = np.arange(2)
    got, cache = read(weights, tokens[:, :9], lengths)
    np.testing.assert_allclose(got, full[rows, lengths - 1], atol=3e-5)
    for count in range(14):
        at = lengths + count
        got, cache = advance(weights, cache, tokens[rows, at], at)
        np.testing.assert_allclose(got, full[rows, at], atol=3e-5)


def test_what_stands_after_a_prompt_has_no_influence():
    weights, tokens, _, read, advance = ready("gemma2_odd")
    lengths = np.array([9, 4])
    other = tokens[:, :9].copy()
    other[1, 4:] = 3
    one, cache = read(weights, tokens[:, :9], lengths)
    two, cache_of_other = read(weights, other, lengths)
    np.testing.assert_array_equal(one, two)
    after = [advance(weights, c, tokens[:, 9], lengths)[0] for c in (cache, cache_of_other)]
    np.testing.assert_array_equal(*after)


def test_a_finished_row_moves_no_other_row():
    weights, tokens, _, read, advance = ready("gemma2_odd")
    lengths = np.array([9, 4])
    _, cache = read(weights, tokens[:, :9], lengths)
    _, busy = advance(weights, cache, np.array([5, 6]), lengths)
    _, idle = advance(weights, cache, np.array([5, 0]), np.array([9, 22]))
    one, two = (advance(weights, c, np.array([7, 7]), lengths + 1)[0][0] for c in (busy, idle))
    np.testing.assert_array_equal(one, two)


def test_steps_run_inside_a_while_loop():
    weights, tokens, _, read, advance = ready("gemma2_odd")
    cfg = GemmaConfig.from_hf(CONFIGS["gemma2_odd"])
    lengths = jnp.array([5, 5])
    start, cache = read(weights, tokens[:, :9], lengths)

    @jax.jit
    def greedy(weights, cache, token):
        def body(state):
            count, token, cache, out = state
            out = out.at[:, count].set(token)
            got, cache = step(weights, cfg, cache, token, lengths + count)
            return count + 1, jnp.argmax(got, axis=-1), cache, out

        state = (0, token, cache, jnp.zeros((2, 6), token.dtype))
        return jax.lax.while_loop(lambda state: state[0] < 6, body, state)[3]

    looped = greedy(weights, cache, jnp.argmax(start, axis=-1))
    token, seen = jnp.argmax(start, axis=-1), []
    for count in range(6):
        seen.append(token)
        got, cache = advance(weights, cache, token, lengths + count)
        token = jnp.argmax(got, axis=-1)
    np.testing.assert_array_equal(looped, np.stack(seen, axis=1))


def test_too_few_slots_are_refused():
    weights, tokens, *_ = ready("gemma2_odd")
    with pytest.raises(ValueError, match=r"cache_length is 8, wanted at least the 9 columns of the prompts; raise it"):
        prefill(weights, GemmaConfig.from_hf(CONFIGS["gemma2_odd"]), tokens[:, :9], np.array([9, 4]), 8)
