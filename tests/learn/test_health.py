from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from showwork.learn.health import relative_change, share_moved


def test_any_change_of_value_counts_as_moved():
    start = {"a": jnp.zeros(4), "b": jnp.ones((2, 2))}
    now = {"a": jnp.array([0.0, 1.0, 1e-30, -2.0]), "b": jnp.ones((2, 2))}
    assert float(share_moved(start, now)) == 0.375


def test_the_relative_change_is_that_of_the_product():
    a, b, w = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 2, 5), (3, 7, 2), (3, 7, 5)]))
    product = 0.5 * jnp.einsum("lor,lri->loi", b, a)
    wanted = jnp.linalg.norm(product.ravel()) / jnp.linalg.norm(w.ravel())
    found = relative_change({"q": {"a": a, "b": b}}, {"q": w}, 0.5)["q"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
