"""Losses of margins and regularizers: autodiff, and the bounds where they are attained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.problems import LogLoss, Regularizer, SquaredSigmoid


T = jnp.linspace(-30, 30, 600_001)
WRITTEN = {
    LogLoss(): lambda t: np.log1p(np.exp(-t)),
    SquaredSigmoid(): lambda t: (1 - 1 / (1 + np.exp(-t))) ** 2,
}


@pytest.mark.parametrize("loss", WRITTEN)
def test_values_slopes_and_their_bounds(loss):
    np.testing.assert_allclose(loss.value(T), WRITTEN[loss](np.asarray(T)), rtol=1e-9, atol=1e-15)
    slopes = jax.vmap(jax.grad(loss.value))(T)
    np.testing.assert_allclose(loss.slope(T), slopes, rtol=1e-12, atol=1e-16)
    assert abs(slopes).max() == pytest.approx(loss.steepest, abs=1e-8)
    assert np.all(abs(slopes) <= loss.steepest)
    bends = jax.vmap(jax.grad(loss.slope))(T)
    low, high = loss.curvature
    assert (float(bends.min()), float(bends.max())) == pytest.approx((low, high), abs=1e-8)
    # Between grid points the bound is above by less than the grid's error, and never below.
    assert low - 1e-15 <= bends.min()
    assert bends.max() <= high + 1e-15


@pytest.mark.parametrize("loss", WRITTEN)
def test_far_margins_are_finite(loss):
    far = jnp.asarray([-1e30, 1e30], jnp.float32)
    for f in (loss.value, loss.slope):
        assert f(far).dtype == jnp.float32
        assert np.isfinite(f(far)).all()


def test_second_derivative_of_the_squared_sigmoid_is_the_published_bound():
    assert round(SquaredSigmoid().curvature[1], 5) == 0.15406


@pytest.mark.parametrize(("l2", "nonconvex"), [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_regularizer(l2, nonconvex):
    r, x = Regularizer(l2, nonconvex), jnp.linspace(-5, 5, 100_001)
    squares = np.asarray(x) ** 2
    expected = l2 / 2 * squares.sum() + nonconvex * (squares / (1 + squares)).sum()
    assert r.value(x) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(r.grad(x), jax.grad(r.value)(x), rtol=1e-12, atol=1e-15)
    bends = jax.vmap(jax.grad(r.grad))(x)
    assert (float(bends.min()), float(bends.max())) == pytest.approx(r.curvature, abs=1e-8)


@pytest.mark.parametrize(
    ("factors", "words"),
    [({"l2": -1.0}, r"l2 = -1\.0"), ({"nonconvex": float("inf")}, "nonconvex = inf")],
)
def test_bad_factors_are_refused(factors, words):
    with pytest.raises(ConfigurationError, match=words):
        Regularizer(**factors)
