"""Logistic regression against autodiff in float64, loops over workers, and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.problems import LogisticRegression, _tiles


N, M, D = 6, 8, 5
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((N * M, D)), np.where(RNG.random(N * M) < 0.4, 1.0, -1.0)
X = jnp.asarray(RNG.standard_normal(D))
KEYS = jax.random.split(jax.random.key(1), N)


def build(n=N, batch=None, l2=0.01, dtype=jnp.float64):
    return LogisticRegression.from_arrays(A, B, n=n, batch=batch, l2=l2, dtype=dtype)


def loss(x, a=A, b=B, l2=0.01):
    return jnp.mean(jnp.log1p(jnp.exp(-b * (a @ x)))) + l2 / 2 * jnp.sum(x**2)


def local(x, i):
    rows = slice(i * M, (i + 1) * M)
    return jax.grad(loss)(x, A[rows], B[rows])


@pytest.mark.parametrize("n", [None, N])
def test_value_and_gradient_are_autodiffs(n):
    problem = build(n)
    np.testing.assert_allclose(problem.value(X), loss(X), rtol=1e-13)
    np.testing.assert_allclose(problem.grad(X), jax.grad(loss)(X), rtol=1e-12)


def test_local_gradients_alone_and_side_by_side():
    problem = build()
    expected = np.stack([local(X, i) for i in range(N)])
    np.testing.assert_allclose(np.mean(expected, axis=0), problem.grad(X), rtol=1e-12)
    alone = np.stack([problem.local_grad(X, jnp.int32(i)) for i in range(N)])
    np.testing.assert_allclose(alone, expected, rtol=1e-12)
    for workers in (np.arange(N), np.arange(N)[::-1], np.array([3, 1]), np.array([0, 0, 5] * 4)):
        rows = jax.vmap(lambda i: problem.local_grad(X, i))(jnp.asarray(workers))
        np.testing.assert_allclose(rows, expected[workers], rtol=1e-12)


def test_side_by_side_under_a_batch_of_models():
    problem, xs = build(), jnp.stack([X, 2 * X, -X])
    grads = jax.vmap(lambda x: jax.vmap(lambda i: problem.local_grad(x, i))(jnp.arange(N)))
    expected = np.stack([[local(x, i) for i in range(N)] for x in xs])
    np.testing.assert_allclose(grads(xs), expected, rtol=1e-12)
    one = jax.vmap(lambda x: problem.local_grad(x, jnp.int32(2)))
    np.testing.assert_allclose(one(xs), expected[:, 2], rtol=1e-12)
    both = jax.vmap(problem.local_grad)(xs, jnp.array([4, 0, 1]))
    np.testing.assert_allclose(both, expected[[0, 1, 2], [4, 0, 1]], rtol=1e-12)


def test_all_workers_side_by_side_gather_no_data(made_by):
    problem = build()

    def all_of_them(x):
        return jax.vmap(lambda i: problem.local_grad(x, i))(jnp.arange(N))

    assert all(M not in shape for shape in made_by("gather", all_of_them, X))


@pytest.mark.parametrize(
    "workers", [np.arange(N), np.array([5, 2]), np.array([1, 1, 1, 0, 2, 3, 4])]
)
@pytest.mark.parametrize("batch", [None, 3])
def test_weighted_sum_is_the_sum_of_weighted_sums(batch, workers):
    problem = build(batch=batch)
    P = len(workers)
    counts, weights = jnp.arange(1, P + 1), jnp.linspace(-1.0, 2.0, P)
    keys = jax.random.split(jax.random.key(2), P)
    got = problem.weighted_grad_sum(
        X, counts, weights, keys=keys, workers=jnp.asarray(workers), most=P
    )
    each = [
        w * problem.grad_sum(X, c, key=k, worker=jnp.asarray(i), most=P)
        for w, c, k, i in zip(weights, counts, keys, workers, strict=True)
    ]
    np.testing.assert_allclose(got, sum(each), rtol=1e-10)


def test_exact_gradients_count():
    problem = build()
    got = problem.grad_sum(X, jnp.int32(3), key=KEYS[0], worker=jnp.int32(4), most=9)
    np.testing.assert_allclose(got, 3 * local(X, 4), rtol=1e-12)
    assert problem.constants.sigma2 == (0.0, "exact", "exact gradients")


def test_stochastic_gradients_have_the_mean_and_variance_of_sampling():
    problem = build(batch=2)
    i, draws = 3, 20_000
    keys = jax.random.split(jax.random.key(3), draws)
    sample = jax.jit(jax.vmap(lambda key: problem.stochastic_grad(X, key=key, worker=jnp.int32(i))))
    drawn = np.asarray(sample(keys))
    rows = range(i * M, (i + 1) * M)
    singles = np.stack([jax.grad(loss)(X, A[j : j + 1], B[j : j + 1]) for j in rows])
    error = singles.std(axis=0) / np.sqrt(2 * draws)
    assert np.all(np.abs(drawn.mean(axis=0) - local(X, i)) <= 5 * error)
    np.testing.assert_allclose(drawn.var(axis=0), singles.var(axis=0) / 2, rtol=0.06)
    assert drawn.var(axis=0).sum() <= problem.constants.sigma2.value


def test_constants_bound_what_is_measured():
    problem, rng = build(), np.random.default_rng(4)
    c = problem.constants
    hessian = jax.hessian(loss)
    for x in rng.standard_normal((5, D)):
        assert np.linalg.eigvalsh(hessian(x))[-1] <= c.L.value
        assert np.linalg.eigvalsh(hessian(x))[0] >= c.mu.value
        for i in range(N):
            rows = slice(i * M, (i + 1) * M)
            top = np.linalg.eigvalsh(hessian(x, A[rows], B[rows]))[-1]
            assert top <= c.L_max.value
    # At x = 0 the weight p(1 − p) of every sample is ¼, and the bound is attained.
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian(np.zeros(D)))[-1], c.L.value)
    y, z = rng.standard_normal((2, D)) / 100
    differences = np.stack([local(y, i) - local(z, i) for i in range(N)])
    apart = np.sum((y - z) ** 2)
    assert np.mean(np.sum(differences**2, axis=1)) <= c.L_plus.value**2 * apart
    assert build(None).constants.L_pm.value == 0


@pytest.mark.parametrize("n", [None, N])
def test_large_data_go_in_chunks(monkeypatch, n):
    whole = build(n)
    expected = whole.value(X), whole.grad(X)
    monkeypatch.setattr(_tiles, "AT_ONCE", 100)
    monkeypatch.setattr(_tiles, "CHUNK", 7 * D * 8)
    chunked = build(n)
    T, tile = len(chunked.labels), chunked.rows.tile_bytes
    assert _tiles.pass_size(T, tile, 1, 8) == 1
    assert chunked.labels.shape == ((N, M) if n else (7, 7))
    np.testing.assert_allclose(chunked.value(X), expected[0], rtol=1e-13)
    np.testing.assert_allclose(chunked.grad(X), expected[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 5}, "n = 5 does not cut 48 samples"),
        ({"n": 0}, "n = 0 does not cut"),
        ({"batch": 0}, "batch = 0"),
        ({"l2": -1.0}, "l2 = -1.0"),
        ({"dtype": jnp.int32}, "dtype = int32"),
    ],
)
def test_bad_settings_are_refused(change, words):
    with pytest.raises(ConfigurationError, match=words):
        build(**change)


def test_bad_labels_are_refused():
    with pytest.raises(ConfigurationError, match=r"a label is 0\.0; give -1 or 1"):
        LogisticRegression.from_arrays(A, np.where(B > 0, 1.0, 0.0))
    with pytest.raises(ConfigurationError, match="48 samples have 47 labels"):
        LogisticRegression.from_arrays(A, B[1:])
