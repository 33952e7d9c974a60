import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dopt.problems import _normal
from dopt.problems._normal import normals, weighted_normals


KEY = jax.random.key(5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_distribution_is_normal(dtype):
    z = np.asarray(normals(KEY, 1_000_000, dtype), np.float64)
    # Kolmogorov–Smirnov at 10^6 draws sees a shift or a scale that is wrong by three parts in 10^3.
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0)):
        error = np.std(z**power) / 1000
        assert abs(np.mean(z**power) - moment) < 4 * error
    assert stats.binomtest(int(np.sum(np.abs(z) > 4)), len(z), 2 * stats.norm.sf(4)).pvalue > 1e-3


@pytest.mark.parametrize(("words", "top"), [(0, -1.0), (2**32 - 1, 1.0)])
@pytest.mark.parametrize(("dtype", "bits"), [(jnp.float32, 24), (jnp.float64, 53)])
def test_the_extremes_are_finite_and_symmetric(monkeypatch, words, top, dtype, bits):
    def constant(key, count):
        return jnp.full(count, words, jnp.uint32)

    monkeypatch.setattr(_normal, "random_words", constant)
    z = float(normals(KEY, 3, dtype)[1])
    # √2·erf⁻¹(1 − ε) is the normal quantile of tail ε/2.
    np.testing.assert_allclose(z, top * stats.norm.isf(2.0**-bits / 2), rtol=2e-3)


def test_neighbours_and_halves_are_uncorrelated():
    z = np.asarray(normals(KEY, 400_000, jnp.float32), np.float64)
    for lag in (1, 2, 200_000):
        assert abs(np.mean(z[lag:] * z[:-lag])) < 4 / np.sqrt(len(z) - lag)


def test_low_precision_is_rounded_from_float32():
    wide = normals(KEY, 100, jnp.float32)
    np.testing.assert_array_equal(normals(KEY, 100, jnp.bfloat16), wide.astype(jnp.bfloat16))


@pytest.mark.parametrize("at_once", [1, 10, 35, 70, 10**6])
def test_a_weighted_sum_does_not_depend_on_its_blocks(monkeypatch, at_once):
    monkeypatch.setattr(_normal, "AT_ONCE", at_once)
    keys, weights = jax.random.split(KEY, 13), jnp.linspace(-1.0, 2.0, 13)
    expected = sum(w * normals(key, 5, jnp.float64) for w, key in zip(weights, keys, strict=True))
    np.testing.assert_allclose(weighted_normals(weights, 5, keys=keys), expected, rtol=1e-12)
