"""Products by blocks against numpy, alone and mapped over; where blocks begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.problems import _products
from dopt.problems._products import combined, rows_times


@pytest.fixture(params=[1, 32, 24, 8, 7])
def matrix(request, monkeypatch):
    """Matrices whose rows divide into as many blocks, or into none for 1 and 7."""
    monkeypatch.setattr(_products, "SMALL", 0)
    rng = np.random.default_rng(request.param)
    a = rng.standard_normal((request.param, 5))
    assert _products._blocks(jnp.asarray(a)) == (request.param if request.param >= 8 else 1)
    return a, rng


def test_rows_times_a_vector(matrix):
    a, rng = matrix
    x = rng.standard_normal(5)
    np.testing.assert_allclose(rows_times(jnp.asarray(a), jnp.asarray(x)), a @ x, rtol=1e-13)


def test_a_combination_of_rows(matrix):
    a, rng = matrix
    weights = rng.standard_normal(len(a))
    found = combined(jnp.asarray(weights), jnp.asarray(a))
    np.testing.assert_allclose(found, weights @ a, rtol=1e-13, atol=1e-13)


def test_over_batches(matrix):
    a, rng = matrix
    xs, weights = rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 3, len(a)))
    twice = jax.vmap(jax.vmap(rows_times, (None, 0)), (None, 0))
    np.testing.assert_allclose(twice(jnp.asarray(a), jnp.asarray(xs)), xs @ a.T, rtol=1e-12)
    twice = jax.vmap(jax.vmap(combined, (0, None)), (0, None))
    found = twice(jnp.asarray(weights), jnp.asarray(a))
    np.testing.assert_allclose(found, weights @ a, rtol=1e-12, atol=1e-12)
    matrices = jnp.stack([jnp.asarray(a), 2 * jnp.asarray(a)])
    each = jax.vmap(combined)(jnp.asarray(weights[:, 0]), matrices)
    np.testing.assert_allclose(each[1], 2 * weights[1, 0] @ a, rtol=1e-12, atol=1e-12)


def test_small_matrices_stay_whole():
    rows = _products.SMALL // 8
    assert _products._blocks(jnp.zeros((rows, 8))) == 1
    assert _products._blocks(jnp.zeros((rows, 16))) == 32
