"""Unequal parts, nonconvex losses, sparse rows: against loops in numpy and scikit-learn."""

import resource
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Sklearn

from dopt.data import Samples, dirichlet_split, load_libsvm
from dopt.errors import ConfigurationError
from dopt.problems import LogisticRegression, LogLoss, SquaredSigmoid, logistic


N, D, L2, BOUNDED = 5, 7, 0.02, 0.1
SIZES = (9, 1, 30, 4, 17)
RNG = np.random.default_rng(0)
A = RNG.standard_normal((61, D)) * (RNG.random((61, D)) < 0.4)
B = np.where(RNG.random(61) < 0.4, 1.0, -1.0)
PARTS = tuple(np.sort(part) for part in np.split(RNG.permutation(61), np.cumsum(SIZES)[:-1]))
XS = RNG.standard_normal((3, D))


def as_samples(rows, labels):
    indptr = np.concatenate([[0], np.cumsum((rows != 0).sum(axis=1))])
    columns = np.nonzero(rows)[1].astype(np.int32)
    return Samples(indptr, columns, rows[rows != 0], labels, rows.shape[1], "made up")


@pytest.fixture(params=["dense", "sparse"])
def build(request, monkeypatch):
    monkeypatch.setattr(logistic, "SPARSE_BELOW", 0.0 if request.param == "dense" else 1.1)

    @cache
    def make(batch=None, loss=SquaredSigmoid(), l2=L2, nonconvex=BOUNDED):  # noqa: B008
        problem = LogisticRegression.from_samples(
            as_samples(A, B),
            parts=PARTS,
            batch=batch,
            loss=loss,
            l2=l2,
            nonconvex=nonconvex,
            dtype=jnp.float64,
        )
        assert type(problem.rows).__name__.lower().startswith(request.param)
        return problem

    return make


def slope(loss, t):
    s = 1 / (1 + np.exp(-t))
    return s - 1 if isinstance(loss, LogLoss) else -2 * s * (1 - s) ** 2


def sample_gradients(x, rows, loss):
    """Of the loss of each sample, without regularizers."""
    return np.stack([B[j] * slope(loss, B[j] * (A[j] @ x)) * A[j] for j in rows])


def local(x, i, loss=SquaredSigmoid()):  # noqa: B008
    regularizer = L2 * x + BOUNDED * 2 * x / (1 + x**2) ** 2
    return sample_gradients(x, PARTS[i], loss).mean(axis=0) + regularizer


@pytest.mark.parametrize("loss", [LogLoss(), SquaredSigmoid()])
def test_value_and_gradients_are_those_of_a_loop(build, loss):
    problem = build(loss=loss)
    assert (problem.n, problem.d) == (N, D)
    measures = jax.jit(
        lambda problem, x: (*problem.value_and_grad(x), problem.value(x), problem.accuracy(x))
    )
    for x in XS:
        t = B * (A @ x)
        losses = np.log1p(np.exp(-t)) if isinstance(loss, LogLoss) else (1 + np.exp(t)) ** -2.0
        value = np.mean([losses[part].mean() for part in PARTS])
        value += L2 / 2 * x @ x + BOUNDED * np.sum(x**2 / (1 + x**2))
        expected = np.mean([local(x, i, loss) for i in range(N)], axis=0)
        both_value, gradient, alone, accuracy = measures(problem, jnp.asarray(x))
        np.testing.assert_allclose([both_value, alone], value, rtol=1e-13)
        np.testing.assert_allclose(gradient, expected, rtol=1e-11)
        assert accuracy == pytest.approx(np.mean((A @ x > 0) == (B > 0)))


@pytest.mark.parametrize("workers", [[0, 1, 2, 3, 4], [4, 2], [1, 1, 1, 2, 0, 3]])
def test_local_gradients_however_they_are_mapped_over(build, workers):
    problem = build()
    expected = np.array([[local(x, i) for i in workers] for x in XS])
    jobs = jnp.asarray(workers)

    @jax.jit
    def mapped(problem, xs, jobs):
        def all_jobs(x):
            return jax.vmap(lambda i: problem.local_grad(x, i))(jobs)

        return (
            jax.vmap(all_jobs)(xs),
            all_jobs(xs[1])[None],
            jax.vmap(jax.vmap(all_jobs))(jnp.stack([xs, -xs]))[0],
            jax.vmap(lambda i: jax.vmap(lambda x: problem.local_grad(x, i))(xs))(jobs),
            jax.vmap(problem.local_grad)(xs, jobs[jnp.arange(3) % len(jobs)]),
        )

    pairs = np.stack([expected[k, k % len(workers)] for k in range(3)])
    wanted = expected, expected[1:2], expected, np.moveaxis(expected, 0, 1), pairs
    for got, right in zip(mapped(problem, jnp.asarray(XS), jobs), wanted, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-11)


@pytest.mark.parametrize("workers", [[4, 1, 2, 0, 3], [2, 4]])
@pytest.mark.parametrize("batch", [None, 3])
def test_weighted_sums_are_those_of_the_jobs(build, batch, workers):
    problem, P = build(batch=batch), len(workers)
    counts, weights = jnp.arange(1, P + 1), jnp.linspace(-1.0, 2.0, P)
    keys, jobs = jax.random.split(jax.random.key(2), P), jnp.asarray(workers)

    @jax.jit
    def both(problem, x):
        def alone(c, k, i):
            return problem.grad_sum(x, c, key=k, worker=i, most=P)

        each = jax.vmap(alone)(counts, keys, jobs)
        total = problem.weighted_grad_sum(x, counts, weights, keys=keys, workers=jobs, most=P)
        return total, weights @ each

    totals, sums = jax.vmap(both, (None, 0))(problem, jnp.asarray(XS))
    np.testing.assert_allclose(totals, sums, rtol=1e-10)
    if batch is None:
        scaled = np.asarray(weights) * np.asarray(counts)
        exact = [sum(w * local(x, i) for w, i in zip(scaled, workers, strict=True)) for x in XS]
        np.testing.assert_allclose(totals, exact, rtol=1e-11)


@pytest.mark.parametrize("worker", [1, 3])
def test_mini_batches_are_drawn_from_the_workers_own_part(build, worker):
    problem, x, draws = build(batch=2), XS[0], 20_000

    def sample(key):
        return problem.stochastic_grad(jnp.asarray(x), key=key, worker=jnp.asarray(worker))

    drawn = np.asarray(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(3), draws)))
    each = sample_gradients(x, PARTS[worker], SquaredSigmoid())
    error = each.std(axis=0) / np.sqrt(2 * draws)
    assert np.all(np.abs(drawn.mean(axis=0) - local(x, worker)) <= 5 * error + 1e-12)
    np.testing.assert_allclose(drawn.var(axis=0), each.var(axis=0) / 2, rtol=0.06, atol=1e-20)
    assert drawn.var(axis=0).sum() <= problem.constants.sigma2.value


def test_the_optimum_is_scikit_learns(build):
    rows = np.concatenate(PARTS)
    weights = np.repeat([1 / (N * len(part)) for part in PARTS], SIZES)
    reference = Sklearn(C=1 / 0.1, fit_intercept=False, tol=1e-10, max_iter=1000)
    reference.fit(A[rows], B[rows], sample_weight=weights)
    problem = build(loss=LogLoss(), l2=0.1, nonconvex=0.0)
    x = jnp.asarray(reference.coef_[0])
    np.testing.assert_allclose(problem.grad(x), 0, atol=1e-6)
    assert problem.accuracy(x) == pytest.approx(reference.score(A, B))
    assert problem.constants.mu.value == 0.1


@pytest.mark.parametrize("loss", [LogLoss(), SquaredSigmoid()])
def test_constants_bound_what_is_measured(build, loss):
    problem, rng = build(loss=loss), np.random.default_rng(4)
    c, weights = problem.constants, np.array([0.1, 0.3, 0.2, 0.25, 0.15])
    weighted = problem.weighted(weights)
    each = problem.local_smoothness()
    assert each.max() == pytest.approx(c.L_max.value)
    hessians = jax.jit(jax.vmap(jax.jacfwd(problem.local_grad), in_axes=(None, 0)))
    largest = np.zeros(4)
    for scale in (0.0, 0.1, 1.0, 4.0, 20.0):
        H = np.asarray(hessians(jnp.asarray(scale * rng.standard_normal(D)), jnp.arange(N)))
        tops = np.abs(np.linalg.eigvalsh(H)).max(axis=1)
        assert np.all(tops <= each * (1 + 1e-12))
        squares, mean = H @ H, H.mean(axis=0)
        plus = np.linalg.eigvalsh(squares.mean(axis=0))[-1]
        pm = np.linalg.eigvalsh(squares.mean(axis=0) - mean @ mean)[-1]
        plus_w = np.linalg.eigvalsh(np.einsum("n,nij->ij", 1 / (N**2 * weights), squares))[-1]
        found = [np.abs(np.linalg.eigvalsh(mean)).max(), plus**0.5, pm**0.5, plus_w**0.5]
        largest = np.maximum(largest, found)
    bounds = [c.L.value, c.L_plus.value, c.L_pm.value, weighted.L_plus.value]
    assert np.all(largest <= np.array(bounds) * (1 + 1e-12))
    assert c.L_pm.value < c.L_plus.value
    assert weighted.L_pm.value >= c.L_pm.value
    assert (c.L, c.sigma2.value) == (weighted.L, 0.0)
    equal = problem.weighted(np.full(N, 1 / N))
    assert equal.L_plus.value == pytest.approx(c.L_plus.value)


def test_hessian_variance_of_parts_that_are_alike_is_about_half_of_the_smoothness():
    rows, labels = np.tile(A, (4, 1)), np.tile(B, 4)
    c = LogisticRegression.from_arrays(rows, labels, n=4, dtype=jnp.float64).constants
    assert c.L_pm.value == pytest.approx(c.L_plus.value / 2)
    shared = LogisticRegression.from_arrays(rows, labels).constants
    assert shared.L_pm == (0.0, "exact", "all workers have the same f")


def test_smoothness_of_samples(build):
    curvature = SquaredSigmoid().curvature[1]
    norms = np.sum(A**2, axis=1)
    tops = [curvature * norms[part].max() + L2 + 2 * BOUNDED for part in PARTS]
    got = build().sample_smoothness()
    assert got.value == pytest.approx(np.sqrt(np.mean(np.square(tops))))


def test_single_precision(build):
    problem = LogisticRegression.from_samples(as_samples(A, B), parts=PARTS, batch=2)
    x = jnp.asarray(XS[0], jnp.float32)
    assert problem.value(x).dtype == problem.accuracy(x).dtype == jnp.float32
    double = build(loss=LogLoss(), l2=0.0, nonconvex=0.0)
    got = problem.local_grad(x, jnp.int32(2))
    np.testing.assert_allclose(got, double.local_grad(jnp.asarray(XS[0]), jnp.int32(2)), atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((np.arange(3), np.array([], int)), "give each worker a sample"),
        ((np.arange(3), np.array([2, 5])), "a sample twice"),
        ((np.arange(3), np.array([61])), "there are 0 to 60"),
    ],
)
def test_parts_that_are_none_are_refused(parts, words):
    with pytest.raises(ConfigurationError, match=words):
        LogisticRegression.from_arrays(A, B, parts=parts)


def test_few_stored_entries_stay_sparse():
    few = as_samples(np.where(RNG.random((400, 300)) < 0.01, 1.0, 0.0), np.ones(400))
    problem = LogisticRegression.from_samples(few, n=4)
    assert type(problem.rows).__name__ == "SparseRows"
    assert sum(a.nbytes for a in jax.tree.leaves(problem.rows)) < 400 * 300 * 4 / 4
    whole = LogisticRegression.from_samples(load_libsvm("breast_cancer"), batch=None)
    assert type(whole.rows).__name__ == "DenseRows"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "L"),
    [
        ("a9a", 1.57192),
        ("w8a", 0.66120),
        ("mushrooms", 2.58621),
        ("phishing", 0.16255),
        ("ijcnn1.trn", 0.05763),
    ],
)
def test_smoothness_of_real_sets(name, L):
    problem = LogisticRegression.from_samples(load_libsvm(name))
    assert problem.constants.L.value == pytest.approx(L, abs=5.1e-6)


@pytest.mark.slow
def test_many_sparse_features_in_bounded_memory():
    rng, rows, d = np.random.default_rng(0), 20_000, 47_000
    counts = rng.integers(40, 101, rows)
    ranks = (rng.random(2 * counts.sum()) ** 3 * d).astype(np.int64)
    owners = np.repeat(np.arange(rows), 2 * counts)
    flat = np.unique(owners * d + ranks)
    owners, columns = flat // d, (flat % d).astype(np.int32)
    indptr = np.searchsorted(owners, np.arange(rows + 1))
    labels = np.where(rng.random(rows) < 0.3, 1.0, -1.0)
    samples = Samples(indptr, columns, rng.random(len(flat)), labels, d, "made up")
    parts = dirichlet_split(labels, 100, 1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = LogisticRegression.from_samples(samples, parts=parts, batch=None)
    xs = jnp.asarray(rng.standard_normal((8, d)), jnp.float32)
    one = jax.jit(jax.vmap(lambda x: jax.vmap(lambda i: problem.local_grad(x, i))(jnp.arange(3))))
    got = np.asarray(one(xs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (peak - before) * 1024 < 2**31
    for i in range(3):
        expected = np.zeros(d)
        x = np.asarray(xs[5], np.float64)
        for j in parts[i]:
            k = slice(indptr[j], indptr[j + 1])
            t = labels[j] * (samples.values[k] @ x[columns[k]])
            expected[columns[k]] -= labels[j] / (1 + np.exp(t)) * samples.values[k]
        np.testing.assert_allclose(got[5, i], expected / len(parts[i]), atol=2e-6)
