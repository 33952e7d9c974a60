"""The autoencoder against autodiff of its definition, its least value against an SVD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.data import Digits
from dopt.errors import ConfigurationError
from dopt.problems import LinearAutoencoder, from_loss


PIXELS, CODE, N = 6, 2, 60
RNG = np.random.default_rng(0)
DIGITS = Digits(RNG.random((N, PIXELS)).astype(np.float32) ** 3, np.zeros(N, np.int32), "made up")
ORDER = RNG.permutation(N)
FEW = np.split(ORDER, [9, 40])
MANY = np.split(ORDER, np.cumsum([1, 2, 3, 4] * 6)[:-1])


def build(parts, **others):
    return LinearAutoencoder.from_digits(DIGITS, CODE, parts=parts, dtype=np.float64, **others)


def loss(params, examples):
    rebuilt = examples @ params["encoder"].T @ params["decoder"].T
    return jnp.mean(jnp.sum((rebuilt - examples) ** 2, axis=1))


def by_autodiff(problem, parts, batch=None):
    images = DIGITS.images.astype(np.float64)
    return from_loss(loss, problem.params, images, parts=parts, batch=batch)


@pytest.mark.parametrize("parts", [FEW, MANY, None], ids=["moments", "images", "shared"])
def test_equals_autodiff_of_the_definition(parts):
    problem = build(parts)
    assert (problem.moments is None) == (parts is MANY)
    oracle = by_autodiff(problem, parts)
    np.testing.assert_array_equal(problem.start(), oracle.start())
    x = problem.start() + 0.1 * jax.random.normal(jax.random.key(1), (problem.d,))

    @jax.jit
    def all_of(problem, x):
        last = jnp.asarray(2 if parts else 0)
        workers = jnp.arange(problem.n or 4)
        jobs = {"keys": jax.random.split(jax.random.key(0), len(workers)), "workers": workers}
        counts, weights = 1 + workers, jnp.linspace(-1.0, 2.0, len(workers))
        return [problem.value(x), problem.value_and_grad(x)[0]], [
            problem.value_and_grad(x)[1],
            problem.grad(x),
            problem.local_grad(x, last),
            jax.vmap(lambda i: problem.local_grad(x, i))(workers),
            problem.grad_sum(x, counts[2], key=jobs["keys"][0], worker=last, most=4),
            problem.weighted_grad_sum(x, counts, weights, **jobs, most=99),
            problem.weighted_grad_sum(
                x, counts[:2], weights[:2], keys=jobs["keys"][:2], workers=workers[:2], most=99
            ),
        ]

    values, vectors = all_of(problem, x)
    expected_values, expected_vectors = all_of(oracle, x)
    np.testing.assert_allclose(values, expected_values, rtol=1e-12)
    for vector, expected in zip(vectors, expected_vectors, strict=True):
        np.testing.assert_allclose(vector, expected, rtol=1e-11, atol=1e-13)


def test_mini_batches_are_those_of_the_definition():
    problem = build(FEW, batch=3)
    oracle, x = by_autodiff(problem, FEW, batch=3), problem.start()
    for seed in range(3):
        draw = {"key": jax.random.key(seed), "worker": jnp.asarray(seed)}
        np.testing.assert_allclose(
            problem.stochastic_grad(x, **draw), oracle.stochastic_grad(x, **draw), rtol=1e-11
        )
    assert problem.constants.sigma2 is None
    assert build(FEW).constants.sigma2 == (0.0, "exact", "exact gradients")


@pytest.mark.parametrize("parts", [FEW, MANY], ids=["moments", "images"])
def test_least_value_is_that_of_the_first_components(parts):
    problem = build(parts)
    # Every image scaled by the root of its share: f is the squared error of these rows.
    rows = np.concatenate(
        [DIGITS.images[p].astype(np.float64) / np.sqrt(len(parts) * len(p)) for p in parts]
    )
    _, values, components = np.linalg.svd(rows)
    assert problem.f_star.value == pytest.approx(np.sum(values[CODE:] ** 2), rel=1e-12)
    first = components[:CODE]
    x = jnp.asarray(np.concatenate([first.T.reshape(-1), first.reshape(-1)]))
    value, gradient = problem.value_and_grad(x)
    assert problem.constants.f_star.value == pytest.approx(float(value), rel=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-13)
    assert LinearAutoencoder.from_digits(DIGITS, PIXELS).f_star.value == pytest.approx(0, abs=1e-12)


def test_start_is_nearly_orthonormal_and_the_same_in_single_precision():
    wide = Digits(np.ones((2, 400), np.float32), np.zeros(2, np.int32), "wide")
    problem = LinearAutoencoder.from_digits(wide, 3, seed=5, dtype=np.float64)
    D, E = problem.params["decoder"], problem.params["encoder"]
    # Entries of DᵀD deviate from those of I by up to √(2/pixels) = 0.07.
    np.testing.assert_allclose(D.T @ D, np.eye(3), atol=0.3)
    np.testing.assert_allclose(E @ E.T, np.eye(3), atol=0.3)
    single = LinearAutoencoder.from_digits(wide, 3, seed=5)
    assert single.start().dtype == single.value(single.start()).dtype == np.float32
    np.testing.assert_allclose(single.start(), problem.start(), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"code": 0}, "code = 0; images have 6 pixels"),
        ({"code": 7}, "code = 7"),
        ({"seed": -1}, "seed = -1"),
        ({"batch": 0}, "batch = 0"),
        ({"n": 7}, "n = 7 does not cut 60"),
        ({"n": 2, "parts": FEW}, "n = 2 beside parts"),
    ],
)
def test_bad_values_are_refused(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        LinearAutoencoder.from_digits(DIGITS, **{"code": CODE, **arguments})
