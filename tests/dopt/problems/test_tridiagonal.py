import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dopt.errors import ConfigurationError
from dopt.problems import (
    GaussianNoise,
    NoNoise,
    Problem,
    ProgressiveNoise,
    ScalarNoise,
    TridiagonalQuadratic,
)


def dense(d, mu):
    """A and b, from nothing but their definition."""
    A = (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)) / 4
    A += (mu - np.linalg.eigvalsh(A)[0]) * np.eye(d)
    b = np.zeros(d)
    b[0] = -0.25
    return A, b


dimensions = st.integers(2, 12)
strengths = st.sampled_from([1e-6, 1e-3, 0.3, 2.0])


@given(data=st.data(), d=dimensions, mu=strengths)
@settings(max_examples=25, deadline=None)
def test_value_and_gradient_are_those_of_the_matrix(data, d, mu):
    x = data.draw(hnp.arrays(np.float64, d, elements=st.floats(-10, 10)))
    A, b = dense(d, mu)
    problem = TridiagonalQuadratic(d, mu)
    value, gradient = problem.value_and_grad(jnp.asarray(x))
    scale = 1 + np.abs(x).max() ** 2
    np.testing.assert_allclose(value, x @ A @ x / 2 - b @ x, atol=1e-13 * d * scale)
    np.testing.assert_allclose(gradient, A @ x - b, atol=1e-14 * scale)


def test_gradient_is_the_derivative_of_the_value():
    problem = TridiagonalQuadratic(7, 1e-3)
    x = jax.random.normal(jax.random.key(0), (7,))
    np.testing.assert_allclose(problem.grad(x), jax.grad(problem.value)(x), rtol=1e-13)
    np.testing.assert_array_equal(problem.local_grad(x, jnp.asarray(3)), problem.grad(x))


@given(d=dimensions, mu=strengths)
@settings(max_examples=25, deadline=None)
def test_constants_are_those_of_the_matrix(d, mu):
    A, b = dense(d, mu)
    eigenvalues = np.linalg.eigvalsh(A)
    constants = TridiagonalQuadratic(d, mu).constants
    assert constants.L.value == pytest.approx(eigenvalues[-1], rel=1e-12)
    assert constants.mu.value == pytest.approx(eigenvalues[0], abs=1e-14)
    minimum = np.linalg.solve(A, b)
    assert constants.f_star.value == pytest.approx(-b @ minimum / 2, rel=1e-7)
    assert constants.L_pm.value == 0
    assert constants.L == constants.L_max == constants.L_plus
    known = [constants.L, constants.mu, constants.f_star, constants.sigma2, constants.L_pm]
    assert all(constant.kind == "exact" for constant in known)


@pytest.mark.parametrize("d", [2, 10, 1000])
def test_least_value_without_a_shift_is_the_textbook_s(d):
    unshifted = TridiagonalQuadratic(d, np.sin(np.pi / (2 * (d + 1))) ** 2)
    assert unshifted.constants.f_star.value == pytest.approx(-d / (8 * (d + 1)), rel=1e-9)
    minimum = jnp.asarray(-(1 - np.arange(1, d + 1) / (d + 1)))
    np.testing.assert_allclose(unshifted.grad(minimum), 0, atol=1e-15)
    assert unshifted.value(minimum) == pytest.approx(-d / (8 * (d + 1)), rel=1e-9)


def test_start_and_dtype():
    problem = TridiagonalQuadratic(9, dtype=jnp.float32)
    start = problem.start()
    assert start.dtype == problem.dtype == np.float32
    np.testing.assert_array_equal(start, [3] + 8 * [0])
    assert problem.grad(start).dtype == problem.value(start).dtype == np.float32
    assert problem.n is None
    assert TridiagonalQuadratic(9).dtype == np.float64
    assert TridiagonalQuadratic(9, dtype="float32") == problem
    assert hash(TridiagonalQuadratic(9, dtype="float32")) == hash(problem)


def test_dtype_follows_the_64_bit_setting():
    with jax.enable_x64(False):
        assert TridiagonalQuadratic(3).dtype == np.float32
        with pytest.raises(ConfigurationError, match="dtype = float64 while JAX has 64 bits"):
            TridiagonalQuadratic(3, dtype=np.float64)


def test_single_precision_keeps_small_mu():
    """The shift is applied apart from the differences, so float32 does not swallow mu."""
    d, mu = 50, 1e-6
    lowest = np.sin(np.pi * np.arange(1, d + 1) / (d + 1))
    lowest /= np.linalg.norm(lowest)
    problem = TridiagonalQuadratic(d, mu, dtype=jnp.float32)
    b = np.zeros(d)
    b[0] = -0.25
    product = np.asarray(problem.grad(jnp.asarray(lowest, jnp.float32)), np.float64) + b
    assert np.linalg.norm(product - mu * lowest) <= 3e-7


def test_unseen_coordinates_stay_exactly_zero():
    problem = TridiagonalQuadratic(20, 1e-3, ProgressiveNoise(0.2), jnp.float32)
    x = problem.start()
    grad_sum = jax.jit(problem.grad_sum, static_argnames="most")
    for k in range(30):
        prog = int(np.flatnonzero(x)[-1]) + 1
        key = jax.random.key(k)
        gradient = grad_sum(x, jnp.asarray(1), key=key, worker=jnp.asarray(0), most=1)
        np.testing.assert_array_equal(gradient[prog + 1 :], 0)
        np.testing.assert_array_equal(gradient[:prog], problem.grad(x)[:prog])
        x = x - gradient


NOISES = [NoNoise(), GaussianNoise(0.4), ScalarNoise(0.4), ProgressiveNoise(0.3)]
each_noise = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
X = jnp.array([1.0, -2.0, 3.0, 0.0, 0.0])


@each_noise
def test_sum_and_loop_agree_in_distribution(noise, check_moments):
    problem = TridiagonalQuadratic(5, 1e-3, noise)
    A, b = dense(5, 1e-3)
    gradient = A @ np.asarray(X) - b
    variance = np.full(5, 0.0 if noise == NoNoise() else 0.16)
    if isinstance(noise, ProgressiveNoise):
        # Only the fourth coordinate is at risk, with ∂f = −x_3/4.
        variance = (1 / 0.3 - 1) * np.array([0, 0, 0, 9 / 16, 0])
    elif problem.constants.sigma2.value > 0:
        assert problem.constants.sigma2.value == pytest.approx(variance.sum())
    for route in (TridiagonalQuadratic.grad_sum, Problem.grad_sum):

        def one(key, route=route):
            return route(problem, X, jnp.asarray(4), key=key, worker=jnp.asarray(0), most=4)

        drawn = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 10_000))
        check_moments(drawn, 4 * gradient, 4 * variance)


@each_noise
def test_weighted_sum_is_the_sum_of_weighted_sums(noise):
    problem = TridiagonalQuadratic(5, 1e-3, noise)
    counts, weights, workers = jnp.array([3, 0, 1]), jnp.array([0.5, 9.0, -2.0]), jnp.arange(3)
    keys = jax.random.split(jax.random.key(2), 3)
    expected = sum(
        weights[p] * problem.grad_sum(X, counts[p], key=keys[p], worker=workers[p], most=3)
        for p in range(3)
    )
    got = problem.weighted_grad_sum(X, counts, weights, keys=keys, workers=workers, most=3)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_one_gradient_is_the_sum_of_one():
    problem = TridiagonalQuadratic(5, noise=GaussianNoise(1.0))
    key, worker = jax.random.key(0), jnp.asarray(0)
    single = problem.stochastic_grad(X, key=key, worker=worker)
    summed = problem.grad_sum(X, jnp.asarray(1), key=key, worker=worker, most=9)
    np.testing.assert_allclose(single, summed, rtol=1e-15)


def test_problem_goes_through_jit_and_vmap_as_an_argument():
    problem = TridiagonalQuadratic(5, noise=GaussianNoise(1.0))
    models = jnp.stack([X, 2 * X])
    batched = jax.jit(jax.vmap(lambda problem, x: problem.value(x), in_axes=(None, 0)))
    expected = [problem.value(x) for x in models]
    np.testing.assert_allclose(batched(problem, models), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"d": 1}, "d = 1; a chain has at least 2"),
        ({"d": 3, "mu": 0.0}, r"mu = 0\.0; without"),
        ({"d": 3, "mu": float("nan")}, "mu = nan"),
        ({"d": 3, "mu": float("inf")}, "mu = inf"),
        ({"d": 3, "dtype": "int32"}, "dtype = int32; models are floats"),
    ],
)
def test_bad_values_are_refused(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        TridiagonalQuadratic(**arguments)
