from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from dopt.data import Digits, load_mnist
from dopt.errors import ConfigurationError
from dopt.problems import MultinomialLogistic, _sampling


N, PIXELS, CLASSES = 40, 6, 10
RNG = np.random.default_rng(0)
DIGITS = Digits(
    RNG.random((N, PIXELS)).astype(np.float32),
    RNG.integers(0, CLASSES, N).astype(np.int32),
    "made up",
)
ROWS = np.hstack([DIGITS.images, np.ones((N, 1))]).astype(np.float64)
ONE_HOT = np.eye(CLASSES)[DIGITS.labels]
X = RNG.normal(size=(PIXELS + 1) * CLASSES)
WORKER = jnp.asarray(0)


def make(**options):
    return MultinomialLogistic.from_digits(DIGITS, **{"dtype": np.float64, **options})


def sample_gradients(x):
    """The gradient of each sample's own loss, [N, d]."""
    residuals = softmax(ROWS @ x.reshape(-1, CLASSES), axis=1) - ONE_HOT
    return np.einsum("nf,nc->nfc", ROWS, residuals).reshape(N, -1)


def test_value_is_scikit_learn_s_cross_entropy():
    probabilities = softmax(ROWS @ X.reshape(-1, CLASSES), axis=1)
    expected = log_loss(DIGITS.labels, probabilities, labels=range(CLASSES))
    assert make().value(jnp.asarray(X)) == pytest.approx(expected, rel=1e-12)
    ridge = 0.3 / 2 * np.sum(X**2)
    assert make(l2=0.3).value(jnp.asarray(X)) == pytest.approx(expected + ridge, rel=1e-12)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_gradients_are_those_of_the_formula_and_of_autodiff(l2):
    problem, x = make(l2=l2), jnp.asarray(X)
    gradient = problem.grad(x)
    np.testing.assert_allclose(gradient, sample_gradients(X).mean(axis=0) + l2 * X, atol=1e-13)
    np.testing.assert_allclose(gradient, jax.grad(problem.value)(x), atol=1e-13)
    value, same = problem.value_and_grad(x)
    assert value == pytest.approx(float(problem.value(x)), rel=1e-14)
    np.testing.assert_allclose(same, gradient, atol=1e-15)
    np.testing.assert_allclose(problem.local_grad(x, WORKER), gradient, atol=1e-15)


def test_huge_logits_give_finite_values():
    value, gradient = make().value_and_grad(1e6 * jnp.asarray(X))
    expected = -log_softmax(1e6 * ROWS @ X.reshape(-1, CLASSES), axis=1)
    expected = expected[np.arange(N), DIGITS.labels].mean()
    assert value == pytest.approx(expected, rel=1e-9)
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_smoothness_bound_holds(l2):
    problem = make(l2=l2)
    bound = problem.constants.L.value
    assert problem.constants.L.kind == "bound"
    assert bound == pytest.approx(np.linalg.norm(ROWS, 2) ** 2 / N / 2 + l2, rel=1e-9)
    grad = jax.jit(problem.grad)
    for scale in (1e-3, 0.1, 1, 10):
        x, y = (jnp.asarray(scale * RNG.normal(size=X.size)) for _ in range(2))
        assert jnp.linalg.norm(grad(x) - grad(y)) <= bound * jnp.linalg.norm(x - y)
    curvatures = np.linalg.eigvalsh(jax.jit(jax.hessian(problem.value))(jnp.zeros(X.size)))
    assert l2 - 1e-12 <= curvatures[0]
    # At zero, p is uniform over ten classes: the largest curvature is a tenth of λ_max, not half.
    assert curvatures[-1] == pytest.approx((bound - l2) / 5 + l2, rel=1e-9)


def test_variance_bound_and_other_constants():
    for x in (np.zeros_like(X), X, 30 * X):
        each = sample_gradients(x)
        variance = np.sum((each - each.mean(axis=0)) ** 2) / N
        for batch in (1, 4):
            assert variance / batch <= make(batch=batch).constants.sigma2.value
    constants = make(l2=0.3).constants
    assert constants.sigma2.value == pytest.approx(2 * np.sum(ROWS**2) / N, rel=1e-9)
    assert constants.mu.value == 0.3
    assert make().constants.mu is None
    assert constants.f_star.value == 0
    assert constants.L == constants.L_max == constants.L_plus
    assert constants.L_pm.value == 0


def drawn_samples(key, count, batch):
    """The samples of a job, [count, batch], as the sampling module documents them."""
    length = max(1, _sampling.LARGEST_PASS // batch)
    rows = [
        jax.random.randint(jax.random.fold_in(key, l // length), (length, batch), 0, N, jnp.int32)[
            l % length
        ]
        for l in range(count)  # noqa: E741
    ]
    return np.array(rows, int).reshape(count, batch)


@pytest.mark.parametrize(("batch", "l2"), [(1, 0.0), (4, 0.3)])
def test_sums_are_those_of_the_samples_drawn(batch, l2):
    problem, x, key = make(batch=batch, l2=l2), jnp.asarray(X), jax.random.key(7)
    each = sample_gradients(X)
    grad_sum = jax.jit(problem.grad_sum, static_argnames="most")
    for count, most in ((0, 3), (3, 3), (3, 20)):
        drawn = drawn_samples(key, count, batch)
        expected = each[drawn].mean(axis=1).sum(axis=0) + count * l2 * X
        got = grad_sum(x, jnp.asarray(count), key=key, worker=WORKER, most=most)
        np.testing.assert_allclose(got, expected, atol=1e-13)
    single = problem.stochastic_grad(x, key=key, worker=WORKER)
    summed = grad_sum(x, jnp.asarray(1), key=key, worker=WORKER, most=20)
    np.testing.assert_allclose(single, summed, atol=1e-14)


def test_moments_of_one_gradient_and_of_a_sum(check_moments):
    problem, x = make(batch=2), jnp.asarray(X)
    each = sample_gradients(X)
    for count in (1, 5):

        def one(key, count=count):
            return problem.grad_sum(x, jnp.asarray(count), key=key, worker=WORKER, most=5)

        drawn = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 5000))
        check_moments(drawn, count * each.mean(axis=0), count * each.var(axis=0) / 2)


COUNTS = [3, 0, 1, 5]
WEIGHTS = np.array([-1.0, 9.0, 2.0, 0.5])
KEYS = jax.random.split(jax.random.key(5), 4)


def weighted(problem, x, most=5):
    arrays = jnp.asarray(COUNTS), jnp.asarray(WEIGHTS, problem.dtype)
    return problem.weighted_grad_sum(x, *arrays, keys=KEYS, workers=jnp.arange(4), most=most)


@pytest.mark.parametrize("limit", [8192, 9])
def test_weighted_sum_is_the_sum_of_weighted_sums(monkeypatch, limit):
    monkeypatch.setattr(_sampling, "LARGEST_PASS", limit)
    problem, models = make(batch=3, l2=0.3), jnp.asarray(RNG.normal(size=(2, X.size)))
    got = jax.jit(jax.vmap(weighted, in_axes=(None, 0)))(problem, models)
    grad_sum = jax.jit(problem.grad_sum, static_argnames="most")
    for x, total in zip(models, got, strict=True):
        each = sample_gradients(np.asarray(x)) + 0.3 * np.asarray(x)
        drawn = [drawn_samples(KEYS[p], COUNTS[p], 3) for p in range(4)]
        expected = sum(WEIGHTS[p] * each[drawn[p]].mean(axis=1).sum(axis=0) for p in range(4))
        np.testing.assert_allclose(total, expected, atol=1e-12)
        by_job = sum(
            WEIGHTS[p] * grad_sum(x, jnp.asarray(COUNTS[p]), key=KEYS[p], worker=WORKER, most=5)
            for p in range(4)
        )
        np.testing.assert_allclose(total, by_job, atol=1e-12)


def test_single_precision():
    problem = make(batch=3, dtype=np.float32)
    x = jnp.asarray(X, jnp.float32)
    assert problem.features.dtype == problem.start().dtype == np.float32
    single, double = weighted(problem, x), weighted(make(batch=3), jnp.asarray(X))
    assert single.dtype == problem.grad(x).dtype == problem.value(x).dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-5)


def test_batch_of_models_shares_indices_and_rows(made_by):
    problem, models = make(batch=3), jnp.zeros((13, X.size))
    for most in (5, 10_000):
        f = jax.vmap(lambda problem, x, most=most: weighted(problem, x, most), in_axes=(None, 0))
        for operation in ("random_bits", "gather"):
            shapes = made_by(operation, f, problem, models)
            assert shapes
            assert all(13 not in shape for shape in shapes)


def test_data_are_arguments_of_the_program():
    problem = make()
    program = jax.make_jaxpr(lambda problem, x: problem.value_and_grad(x))(problem, problem.start())
    assert all(np.size(constant) < N for constant in program.consts)
    other = MultinomialLogistic.from_digits(DIGITS._replace(images=1 - DIGITS.images), dtype=float)
    assert jax.tree.structure(problem) == jax.tree.structure(other)


def test_gradient_descent_learns_real_digits(tmp_path_factory, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    monkeypatch.setenv("DOPT_CACHE", str(tmp_path_factory.mktemp("cache")))
    digits = load_mnist(samples=1000)
    problem = MultinomialLogistic.from_digits(digits)
    assert problem.d == 7850
    x = problem.start()
    assert problem.value(x) == pytest.approx(np.log(10), rel=1e-6)
    step, value_and_grad = 1 / problem.constants.L.value, jax.jit(problem.value_and_grad)
    values = []
    for _ in range(30):
        value, gradient = value_and_grad(x)
        values.append(float(value))
        x = x - step * gradient
    assert all(later < earlier for earlier, later in pairwise(values))
    logits = problem.features @ x.reshape(-1, CLASSES)
    assert np.mean(np.argmax(np.asarray(logits), axis=1) == digits.labels) > 0.7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 0}, "batch = 0"),
        ({"l2": -1.0}, r"l2 = -1\.0"),
        ({"l2": float("inf")}, "l2 = inf"),
        ({"dtype": np.int32}, "dtype = int32"),
    ],
)
def test_bad_values_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        make(**options)
