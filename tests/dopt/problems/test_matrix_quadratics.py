"""Quadratics of given matrices against loops over workers, and what the constants promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.problems import GaussianNoise, HeterogeneousQuadratics, MatrixQuadratics


N, D = 4, 6
RNG = np.random.default_rng(0)
ROOTS = RNG.standard_normal((N, D, D))
A = (ROOTS + ROOTS.transpose(0, 2, 1)) / 2 + 4 * np.eye(D)
B = RNG.standard_normal((N, D))
X = jnp.asarray(RNG.standard_normal(D))
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


def local(i, x):
    return A[i] @ np.asarray(x) - B[i]


def test_value_and_gradients_are_those_of_a_loop():
    problem, x = MatrixQuadratics.from_matrices(A, B), np.asarray(X)
    value, gradient = problem.value_and_grad(X)
    f = np.mean([x @ A[i] @ x / 2 - B[i] @ x for i in range(N)])
    np.testing.assert_allclose([value, problem.value(X)], f, rtol=1e-12)
    np.testing.assert_allclose(gradient, np.mean([local(i, x) for i in range(N)], axis=0))
    np.testing.assert_allclose(problem.local_grad(X, jnp.int32(2)), local(2, x), rtol=1e-12)
    workers = jnp.array([3, 0, 1, 1, 2])
    rows = jax.vmap(problem.local_grad, (None, 0))(X, workers)
    np.testing.assert_allclose(rows, [local(i, x) for i in workers], rtol=1e-12)


@pytest.mark.parametrize("noise", [None, GaussianNoise(0.3)])
def test_weighted_sum_is_the_sum_of_weighted_sums(noise):
    problem = MatrixQuadratics.from_matrices(A, B, noise=noise)
    counts, weights = jnp.array([3, 0, 1]), jnp.array([0.5, 9.0, -2.0])
    keys, workers = jax.random.split(jax.random.key(2), 3), jnp.array([3, 1, 3])
    expected = sum(
        weights[p] * problem.grad_sum(X, counts[p], key=keys[p], worker=workers[p], most=3)
        for p in range(3)
    )
    got = problem.weighted_grad_sum(X, counts, weights, keys=keys, workers=workers, most=3)
    np.testing.assert_allclose(got, expected, rtol=1e-11)


def test_constants_hold_and_are_attained():
    """Each is the largest of a quotient over directions: none exceeds it, one attains it."""
    problem = MatrixQuadratics.from_matrices(A, B)
    c, weighted = problem.constants, problem.weighted(WEIGHTS)
    mean = A.mean(axis=0)

    def quotients(v):
        images = np.einsum("ijk,vk->vij", A, v)
        squares, size = np.sum(images**2, axis=2), np.sum(v**2, axis=1)
        of_mean = np.sum((v @ mean) ** 2, axis=1)
        loaded = squares @ (1 / (N**2 * WEIGHTS))
        return {
            c.L.value**2: of_mean / size,
            c.L_max.value**2: squares.max(axis=1) / size,
            c.L_plus.value**2: squares.mean(axis=1) / size,
            c.L_pm.value**2: (squares.mean(axis=1) - of_mean) / size,
            weighted.L_plus.value**2: loaded / size,
            weighted.L_pm.value**2: (loaded - of_mean) / size,
        }

    for bound, found in quotients(RNG.standard_normal((500, D))).items():
        assert found.max() <= bound * (1 + 1e-12)
    second, loaded = np.mean(A @ A, axis=0), np.einsum("i,ijk,ikl", 1 / (N**2 * WEIGHTS), A, A)
    matrices = [mean @ mean, second, second - mean @ mean, loaded, loaded - mean @ mean]
    tops = np.stack([np.linalg.eigh(m)[1][:, -1] for m in [*matrices, *(A @ A)]])
    for bound, found in quotients(tops).items():
        assert found.max() == pytest.approx(bound, rel=1e-12)


def test_least_value_and_strong_convexity():
    c = MatrixQuadratics.from_matrices(A, B).constants
    assert c.mu.value == pytest.approx(np.linalg.eigvalsh(A.mean(axis=0))[0])
    minimum = np.linalg.solve(A.mean(axis=0), B.mean(axis=0))
    assert c.f_star.value == pytest.approx(-B.mean(axis=0) @ minimum / 2, rel=1e-12)


@pytest.mark.parametrize("mean", [np.diag([1.0, 0.0]), np.diag([1.0, -2.0])])
def test_without_a_definite_mean_there_is_no_mu_and_no_least_value(mean):
    c = MatrixQuadratics.from_matrices(mean[None], np.ones((1, 2))).constants
    assert c.mu is None
    assert c.f_star is None
    assert c.L.value == np.abs(mean).max()


def test_the_chains_written_out_are_the_same_problem():
    chains = HeterogeneousQuadratics.draw(N, D, spread=0.7, seed=1, mu=1e-2)
    apart = jax.vmap(chains.local_grad, (None, 0))
    zero = apart(jnp.zeros(D), jnp.arange(N))
    images = jax.vmap(apart, (0, None))(jnp.eye(D), jnp.arange(N)) - zero[None]
    problem = MatrixQuadratics.from_matrices(
        np.asarray(images).transpose(1, 2, 0), -np.asarray(zero)
    )
    np.testing.assert_allclose(problem.value(X), chains.value(X), rtol=1e-12)
    np.testing.assert_array_equal(problem.start(), chains.start())
    for own, other in (
        (problem.constants, chains.constants),
        (problem.weighted(WEIGHTS), chains.weighted(WEIGHTS)),
    ):
        for name in ("L", "L_max", "L_plus", "L_pm", "mu", "f_star"):
            assert getattr(own, name).value == pytest.approx(getattr(other, name).value, rel=1e-9)


@pytest.mark.parametrize(
    ("A", "b", "words"),
    [
        (A + np.eye(D, k=1), B, r"A of worker \d differs from its transpose by 1"),
        (A * np.nan, B, "not finite"),
        (A, B * np.inf, "not finite"),
        (A[:0], B[:0], "b is 0 x 6"),
    ],
)
def test_bad_matrices_are_refused(A, b, words):
    with pytest.raises(ConfigurationError, match=words):
        MatrixQuadratics.from_matrices(A, b)
