"""Against numpy's bisection, on numbers of which some are thresholds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors._thresholds import COUNTED, NUMBERS, count_below


CUTS = [1, 2, 15, 16, 17, 255, COUNTED, COUNTED + 1]


def numbers(cuts, shape, dtype=np.float32):
    random = np.random.default_rng(cuts)
    thresholds = np.sort(random.normal(size=cuts)).astype(dtype)
    x = random.normal(size=shape).astype(dtype)
    some = random.random(shape) < 0.2
    return thresholds, np.where(some, random.choice(thresholds, shape), x)


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_bisection(cuts, equal, dtype):
    thresholds, x = numbers(cuts, (3, 101), dtype)
    found = count_below(jnp.asarray(thresholds), jnp.asarray(x), equal=equal)
    expected = np.searchsorted(thresholds, x, side="right" if equal else "left")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [0, 1, NUMBERS, NUMBERS + 1, 3 * NUMBERS - 5])
def test_windows(size):
    thresholds, x = numbers(40, size)
    found = count_below(jnp.asarray(thresholds), jnp.asarray(x))
    np.testing.assert_array_equal(found, np.searchsorted(thresholds, x))


def test_batched():
    thresholds, x = numbers(33, (4, 57))
    found = jax.vmap(lambda row: count_below(jnp.asarray(thresholds), row))(jnp.asarray(x))
    np.testing.assert_array_equal(found, np.searchsorted(thresholds, x))


@pytest.mark.parametrize("cuts", CUTS)
def test_infinities(cuts):
    thresholds, _ = numbers(cuts, 1)
    found = count_below(jnp.asarray(thresholds), jnp.asarray([-np.inf, np.inf], jnp.float32))
    np.testing.assert_array_equal(found, [0, cuts])
