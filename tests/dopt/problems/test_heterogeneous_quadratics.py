"""The generator of the papers against dense matrices made from nothing but its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.problems import (
    GaussianNoise,
    HeterogeneousQuadratics,
    ProgressiveNoise,
    ScalarNoise,
    TridiagonalQuadratic,
)


N, D = 5, 7
X = jnp.asarray(np.random.default_rng(0).standard_normal(D))


def draw(n=N, d=D, spread=0.8, **others):
    return HeterogeneousQuadratics.draw(n, d, spread=spread, seed=3, **others)


def dense(problem, mu=1e-6):
    """The A_i and b_i of the definition; of the problem only its random numbers are used."""
    d = problem.d
    chain = 2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)
    A = np.asarray(problem.scales, float)[:, None, None] / 4 * chain
    A += (mu - np.linalg.eigvalsh(A.mean(axis=0))[0]) * np.eye(d)
    b = np.zeros((problem.n, d))
    b[:, 0] = problem.pulls
    return A, b


def top(matrix):
    return np.linalg.eigvalsh(matrix)[-1]


# A spread of 30 makes the mean of the ν_i negative: the chain is turned over.
@pytest.mark.parametrize(
    ("n", "d", "spread", "seed"),
    [(5, 7, 0.8, 3), (1, 2, 0.5, 0), (40, 12, 0.1, 1), (3, 6, 30.0, 0), (3, 6, 30.0, 2)],
)
def test_constants_are_those_of_the_matrices(n, d, spread, seed):
    problem = HeterogeneousQuadratics.draw(n, d, spread=spread, seed=seed, mu=1e-3)
    A, b = dense(problem, 1e-3)
    mean, second = A.mean(axis=0), np.mean(A @ A, axis=0)
    c = problem.constants
    each = np.abs(np.linalg.eigvalsh(A)).max(axis=1)
    np.testing.assert_allclose(problem.local_smoothness, each, rtol=1e-12)
    assert c.L.value == pytest.approx(top(mean), rel=1e-12)
    assert c.L_max.value == pytest.approx(each.max(), rel=1e-12)
    assert c.L_plus.value == pytest.approx(top(second) ** 0.5, rel=1e-12)
    assert c.L_pm.value**2 == pytest.approx(top(second - mean @ mean), rel=1e-9, abs=1e-12)
    assert c.mu.value == pytest.approx(1e-3, rel=1e-9)
    minimum = np.linalg.solve(mean, b.mean(axis=0))
    assert c.f_star.value == pytest.approx(-b.mean(axis=0) @ minimum / 2, rel=1e-8)
    assert c.f_star.value == pytest.approx(float(problem.value(jnp.asarray(minimum))), rel=1e-8)
    assert {k.kind for k in (c.L, c.L_max, c.L_plus, c.L_pm, c.mu, c.sigma2, c.f_star)} == {"exact"}


def test_both_turns_of_the_chain_are_tested():
    means = [
        HeterogeneousQuadratics.draw(3, 6, spread=30.0, seed=seed).scales.mean() for seed in (0, 2)
    ]
    assert min(means) < 0 < max(means)


@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_weighted_constants_are_those_of_the_matrices(spread):
    problem = draw(spread=spread)
    A, _ = dense(problem)
    w = np.array([0.1, 0.3, 0.05, 0.35, 0.2])
    second = np.mean(A @ A / (N * w)[:, None, None], axis=0)
    c = problem.weighted(w)
    assert c.L_plus.value == pytest.approx(top(second) ** 0.5, rel=1e-12)
    variance = second - A.mean(axis=0) @ A.mean(axis=0)
    assert c.L_pm.value**2 == pytest.approx(top(variance), rel=1e-10)
    assert c.L == problem.constants.L
    even = problem.weighted(np.full(N, 1 / N))
    assert even.L_plus.value == pytest.approx(problem.constants.L_plus.value, rel=1e-13)
    assert even.L_pm.value == pytest.approx(problem.constants.L_pm.value, rel=1e-9, abs=1e-15)
    # The best weights for L_plus_w are near w_i ~ L_i, where it is at most the mean of the L_i.
    each = problem.local_smoothness
    best = problem.weighted(each / each.sum())
    assert best.L_plus.value <= each.mean() * (1 + 1e-12)


def test_the_scales_are_those_of_the_definition():
    still, wide, wider = draw(4000, spread=0.0), draw(4000, spread=1.0), draw(4000, spread=2.0)
    np.testing.assert_array_equal(still.scales, 1)
    np.testing.assert_array_equal(still.pulls, -0.25)
    xi = np.asarray(wide.scales - 1)
    np.testing.assert_allclose(wider.scales, 1 + 2 * xi, rtol=1e-12)
    xi_b = np.asarray(4 * wide.pulls / wide.scales + 1)
    np.testing.assert_allclose(wider.pulls, wider.scales / 4 * (2 * xi_b - 1), atol=1e-12)
    for draws in (xi, xi_b):
        assert abs(draws.mean()) < 4 / 4000**0.5
        assert abs(draws.var() - 1) < 4 * (2 / 4000) ** 0.5
    assert abs(np.mean(xi * xi_b)) < 4 / 4000**0.5


def test_equal_workers_have_the_homogeneous_chain_and_no_hessian_variance():
    problem, chain = draw(49, 30, spread=0.0), TridiagonalQuadratic(30)
    assert problem.constants.L_pm.value == 0
    x = jnp.asarray(np.random.default_rng(1).standard_normal(30))
    np.testing.assert_allclose(problem.grad(x), chain.grad(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(problem.value(x), chain.value(x), rtol=1e-12)
    np.testing.assert_array_equal(problem.start(), chain.start())
    for name in ("L", "L_plus", "mu", "f_star"):
        own, other = getattr(problem.constants, name), getattr(chain.constants, name)
        assert own.value == pytest.approx(other.value, rel=1e-9)


def test_value_and_gradients_are_those_of_the_matrices():
    problem, (A, b) = draw(), dense(draw())
    x = np.asarray(X)
    value, gradient = problem.value_and_grad(X)
    f = x @ A.mean(axis=0) @ x / 2 - b.mean(axis=0) @ x
    np.testing.assert_allclose([value, problem.value(X)], f, rtol=1e-12)
    np.testing.assert_allclose(gradient, A.mean(axis=0) @ x - b.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(gradient, jax.grad(problem.value)(X), rtol=1e-12)
    every = jax.vmap(problem.local_grad, (None, 0))(X, jnp.arange(N))
    np.testing.assert_allclose(every, A @ x - b, rtol=1e-12)
    alone = problem.local_grad(X, jnp.int32(2))
    np.testing.assert_allclose(alone, (A @ x - b)[2], rtol=1e-12)


def test_workers_who_share_a_model_share_its_product_with_the_chain(made_by):
    problem = draw()
    every = jax.vmap(problem.local_grad, (None, 0))
    pads = made_by("pad", every, X, jnp.arange(N))
    assert pads
    assert all(len(shape) == 1 for shape in pads)


@pytest.mark.parametrize(
    "noise", [None, GaussianNoise(0.3), ScalarNoise(0.2), ProgressiveNoise(0.4)]
)
def test_weighted_sum_is_the_sum_of_weighted_sums(noise):
    problem = draw(noise=noise)
    counts, weights = jnp.array([3, 0, 1, 2]), jnp.array([0.5, 9.0, -2.0, 1.0])
    keys, workers = jax.random.split(jax.random.key(2), 4), jnp.array([4, 1, 1, 0])
    x = X.at[-2:].set(0)
    expected = sum(
        weights[p] * problem.grad_sum(x, counts[p], key=keys[p], worker=workers[p], most=3)
        for p in range(4)
    )
    got = problem.weighted_grad_sum(x, counts, weights, keys=keys, workers=workers, most=3)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-14)


def test_stochastic_gradients_have_the_declared_variance(check_moments):
    problem, (A, b) = draw(noise=GaussianNoise(0.3)), dense(draw())
    assert problem.constants.sigma2.value == pytest.approx(D * 0.09)
    keys = jax.random.split(jax.random.key(1), 10_000)
    one = jax.jit(jax.vmap(lambda k: problem.stochastic_grad(X, key=k, worker=jnp.int32(3))))
    check_moments(one(keys), (A @ np.asarray(X) - b)[3], np.full(D, 0.09))


def test_single_precision_has_the_same_workers_and_keeps_mu():
    wide, single = draw(), draw(dtype=jnp.float32)
    np.testing.assert_allclose(single.scales, wide.scales, rtol=1e-7)
    assert single.grad(single.start()).dtype == single.value(single.start()).dtype == np.float32
    for d in (2, 7, 500):
        c = draw(d=d, mu=1e-6, dtype=jnp.float32).constants
        # The shift is up to 1, whose neighbours in float32 are 1.2e-7 apart.
        assert 1e-6 <= c.mu.value <= 1.13e-6
        assert c.f_star.value < 0


def test_problem_goes_through_jit_as_an_argument():
    value = jax.jit(lambda problem, x: problem.value(x))
    for spread in (0.1, 0.5):
        assert value(draw(spread=spread), X) == pytest.approx(float(draw(spread=spread).value(X)))
    assert value._cache_size() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0}, "n = 0; give at least one"),
        ({"d": 1}, "d = 1; a chain has at least 2"),
        ({"spread": -0.1}, r"spread = -0\.1; it is finite"),
        ({"spread": float("nan")}, "spread = nan"),
        ({"mu": 0.0}, r"mu = 0\.0; without a finite mu"),
        ({"dtype": np.int32}, "dtype = int32; models are floats"),
    ],
)
def test_bad_values_are_refused(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        draw(**arguments)
    with pytest.raises(ConfigurationError, match="seed = -1"):
        HeterogeneousQuadratics.draw(2, 2, spread=0.0, seed=-1)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([0.5, 0.5], "2 weights for 5 workers"),
        ([0.0, 0.25, 0.25, 0.25, 0.25], r"a weight is 0\.0"),
        ([0.2, 0.2, 0.2, 0.2, 0.3], r"the sum 1 \+ 0\.1"),
    ],
)
def test_bad_weights_are_refused(weights, words):
    with pytest.raises(ConfigurationError, match=words):
        draw().weighted(np.array(weights))
