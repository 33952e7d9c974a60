import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import Constant
from dopt.data import Digits
from dopt.errors import ConfigurationError
from dopt.problems import Constants, FromLoss, MultinomialLogistic, Problem, _samples, from_loss


N, PIXELS, CLASSES = 30, 4, 10
RNG = np.random.default_rng(1)
DIGITS = Digits(
    RNG.random((N, PIXELS)).astype(np.float32),
    RNG.integers(0, CLASSES, N).astype(np.int32),
    "made up",
)


def cross_entropy(params, examples):
    images, labels = examples
    logits = images @ params["weights"] + params["biases"][None]
    log_p = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()


DATA = DIGITS.images.astype(np.float64), DIGITS.labels
PARAMS = {"weights": RNG.normal(size=(PIXELS, CLASSES)), "biases": np.zeros(CLASSES)}
WORKER = jnp.asarray(0)


def to_matrix_layout(v):
    """ravel_pytree sorts names: the biases come first there, last in MultinomialLogistic."""
    return np.concatenate([np.asarray(v)[CLASSES:], np.asarray(v)[:CLASSES]])


def test_equals_the_same_problem_written_by_hand():
    general = from_loss(cross_entropy, PARAMS, DATA, batch=3)
    special = MultinomialLogistic.from_digits(DIGITS, batch=3, dtype=np.float64)
    x = general.start()
    y = jnp.asarray(to_matrix_layout(x))
    assert general.d == special.d == x.size
    assert general.dtype == x.dtype == np.float64
    assert general.n is None

    @jax.jit
    def all_of(problem, x):
        draw = {"key": jax.random.key(4), "worker": WORKER}
        jobs = {"keys": jax.random.split(draw["key"], 3), "workers": jnp.arange(3)}
        counts, weights = jnp.array([4, 0, 1]), jnp.array([0.5, 1.0, -2.0])
        value, gradient = problem.value_and_grad(x)
        return [problem.value(x), value], [
            gradient,
            problem.grad(x),
            problem.local_grad(x, WORKER),
            problem.stochastic_grad(x, **draw),
            problem.grad_sum(x, counts[0], **draw, most=7),
            problem.weighted_grad_sum(x, counts, weights, **jobs, most=4),
        ]

    values, vectors = all_of(general, x)
    expected_values, expected_vectors = all_of(special, y)
    np.testing.assert_allclose(values, expected_values, rtol=1e-13)
    for vector, expected in zip(vectors, expected_vectors, strict=True):
        np.testing.assert_allclose(to_matrix_layout(vector), expected, atol=1e-13)


def test_unravel_goes_back_to_the_parameters():
    problem = from_loss(cross_entropy, PARAMS, DATA)
    back = problem.unravel(problem.start())
    jax.tree.map(np.testing.assert_array_equal, back, PARAMS)


def scaled_mean(params, examples):
    """Its gradient is the mean of the examples: it shows what was sampled."""
    return jnp.sum(params * examples.mean(axis=0))


def test_workers_sample_their_own_part():
    data = np.arange(12.0)[:, None] * np.array([[1.0, 100.0]])
    problem = from_loss(scaled_mean, np.ones(2), data, n=4, batch=2)
    x, gradient = problem.start(), problem.grad(problem.start())
    local = [problem.local_grad(x, jnp.asarray(i)) for i in range(4)]
    for i in range(4):
        np.testing.assert_allclose(local[i], [3 * i + 1, 100 * (3 * i + 1)])
    np.testing.assert_allclose(np.mean(local, axis=0), gradient)

    def one(key, worker):
        return problem.stochastic_grad(x, key=key, worker=worker)

    keys = jax.random.split(jax.random.key(0), 200)
    drawn = jax.jit(jax.vmap(jax.vmap(one, in_axes=(0, None)), in_axes=(None, 0)))(
        keys, jnp.arange(4)
    )
    for i in range(4):
        # Means of two samples of {3i, 3i + 1, 3i + 2}: all five occur, and nothing else.
        assert set(np.asarray(drawn)[i, :, 0].tolist()) == {3 * i + j / 2 for j in range(5)}


def test_heterogeneous_sums_have_the_moments_of_the_part(check_moments):
    data = RNG.normal(size=(12, 2))
    problem = from_loss(scaled_mean, np.ones(2), data, n=3, batch=2)
    x = problem.start()

    def one(key):
        return problem.grad_sum(x, jnp.asarray(5), key=key, worker=jnp.asarray(1), most=6)

    drawn = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 5000))
    part = data[4:8]
    check_moments(drawn, 5 * part.mean(axis=0), 5 * part.var(axis=0) / 2)


# Unequal, in no order, and samples 3 and 8 are nobody's.
PARTS = [np.array([11, 0, 5, 7]), np.array([2]), np.array([1, 10, 9, 4, 6])]


def quadratic(params, examples):
    """Its gradient and Hessian depend on the example."""
    a, y = examples
    return jnp.mean((a @ params - y) ** 2) / 2


ROWS, TARGETS = RNG.normal(size=(12, 3)), RNG.normal(size=12)
X = jnp.array([0.5, -1.0, 2.0])


def mean_gradient(part):
    """Of `quadratic`, at X."""
    a, y = ROWS[part], TARGETS[part]
    return a.T @ (a @ np.asarray(X) - y) / len(part)


def unequal(batch, **others):
    data = (ROWS, TARGETS)
    return from_loss(quadratic, np.zeros(3), data, batch=batch, parts=PARTS, **others)


# All at once; parts in chunks, the last of them not full; two small parts side by side.
@pytest.mark.parametrize("at_once", [512, 3, 10])
def test_parts_of_any_size_count_alike(monkeypatch, at_once):
    monkeypatch.setattr(_samples, "AT_ONCE", at_once)
    problem = unequal(None)
    assert problem.n == 3
    asked = [np.array([0, 1, 2]), np.array([2, 0]), np.array([1, 1, 2, 0, 0])]

    def weights(jobs):
        return np.linspace(-1.0, 2.0, jobs)

    @jax.jit
    def all_of(problem, x):
        rows, totals = [], []
        for workers in map(jnp.asarray, asked):
            P = len(workers)
            keys = jax.random.split(jax.random.key(0), P)
            jobs = {"keys": keys, "workers": workers, "most": 9}
            rows.append(jax.vmap(lambda i: problem.local_grad(x, i))(workers))
            totals.append(
                problem.weighted_grad_sum(x, jnp.arange(P), jnp.asarray(weights(P)), **jobs)
            )
        one = {"key": jax.random.key(1), "worker": jnp.asarray(2), "most": 3}
        alone = problem.local_grad(x, one["worker"]), problem.grad_sum(x, jnp.asarray(3), **one)
        return (
            [problem.value(x), problem.value_and_grad(x)[0]],
            problem.grad(x),
            alone,
            rows,
            totals,
        )

    local = np.stack([mean_gradient(part) for part in PARTS])
    value = np.mean([np.mean((ROWS[p] @ np.asarray(X) - TARGETS[p]) ** 2) / 2 for p in PARTS])
    values, gradient, alone, rows, totals = all_of(problem, X)
    np.testing.assert_allclose(values, value, rtol=1e-13)
    np.testing.assert_allclose(gradient, local.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(alone, [local[2], 3 * local[2]], rtol=1e-12)
    for workers, row, total in zip(asked, rows, totals, strict=True):
        np.testing.assert_allclose(row, local[workers], rtol=1e-12)
        each = weights(len(workers)) * np.arange(len(workers))
        np.testing.assert_allclose(total, each @ local[workers], rtol=1e-12)


def test_chunks_bound_what_goes_through_the_model(monkeypatch):
    monkeypatch.setattr(_samples, "AT_ONCE", 4)
    seen = set()

    def watched(params, examples):
        return quadratic(params, jax.tree.map(lambda a: seen.add(a.shape) or a, examples))

    problem = from_loss(watched, np.zeros(3), (ROWS, TARGETS), batch=7, n=2)

    def all_of(x):
        jobs = {"keys": jax.random.split(jax.random.key(0), 2), "workers": jnp.arange(2)}
        problem.weighted_grad_sum(x, jnp.ones(2, int), jnp.ones(2), **jobs, most=1)
        return problem.value(x), jax.vmap(lambda i: problem.local_grad(x, i))(jnp.arange(2))

    widest = max(
        shape[0]
        for shape in re.findall(r"f64\[(\d+),1,3\]", str(jax.make_jaxpr(all_of)(X)))
        for shape in [(int(shape),)]
    )
    assert widest == 4
    assert seen == {(1, 3), (1,)}


def test_unequal_parts_are_sampled_evenly_within(check_moments):
    problem = unequal(2)

    def one(key):
        return problem.grad_sum(X, jnp.asarray(3), key=key, worker=jnp.asarray(2), most=4)

    drawn = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 5000))
    singles = np.stack([mean_gradient(PARTS[2][j : j + 1]) for j in range(5)])
    check_moments(drawn, 3 * singles.mean(axis=0), 3 * singles.var(axis=0) / 2)


def test_accuracy_is_the_mean_over_workers():
    def right(params, examples):
        return jnp.mean((examples[0] @ params > 0).astype(params.dtype))

    problem = unequal(1, right=right)
    expected = np.mean([np.mean(ROWS[part] @ np.asarray(X) > 0) for part in PARTS])
    assert 0 < expected < 1
    np.testing.assert_allclose(problem.accuracy(X), expected, rtol=1e-13)
    assert np.isnan(unequal(1).accuracy(X))


def test_accuracy_over_held_out_samples_counts_each_once():
    def right(params, examples):
        return jnp.mean((examples[0] @ params > 0).astype(params.dtype))

    held_out = RNG.normal(size=(7, 3)), RNG.normal(size=7)
    expected = np.mean(held_out[0] @ np.asarray(X) > 0)
    assert 0 < expected < 1
    problem = unequal(1, right=right, held_out=held_out)
    np.testing.assert_allclose(problem.accuracy(X), expected, rtol=1e-13)
    # They have no part in the loss.
    assert problem.value(X) == unequal(1).value(X)
    assert np.isnan(unequal(1, held_out=held_out).accuracy(X))


def test_losses_one_by_one_are_as_good_as_their_mean():
    def each(params, examples):
        a, y = examples
        return (a @ params - y) ** 2 / 2

    def hits(params, examples):
        return (examples[0] @ params > 0).astype(params.dtype)

    vector = from_loss(each, np.zeros(3), (ROWS, TARGETS), parts=PARTS, right=hits)
    np.testing.assert_allclose(vector.value(X), unequal(1).value(X), rtol=1e-13)
    np.testing.assert_allclose(vector.grad(X), unequal(1).grad(X), rtol=1e-13)
    share = np.mean([np.mean(ROWS[part] @ np.asarray(X) > 0) for part in PARTS])
    np.testing.assert_allclose(vector.accuracy(X), share, rtol=1e-13)
    single = {"key": jax.random.key(0), "worker": jnp.asarray(1)}
    np.testing.assert_allclose(
        vector.stochastic_grad(X, **single), mean_gradient(PARTS[1]), rtol=1e-12
    )


def test_models_of_large_problems_go_through_one_after_another():
    side_by_side, in_turn = unequal(2), unequal(2, at_once=3)
    models = jnp.stack([X, -X])
    workers = jnp.arange(3)

    def all_of(problem, models):
        def one(x, worker):
            key = jax.random.fold_in(jax.random.key(0), worker)
            return (
                problem.value(x),
                problem.local_grad(x, worker),
                problem.stochastic_grad(x, key=key, worker=worker),
            )

        return jax.vmap(lambda x: jax.vmap(lambda i: one(x, i))(workers))(models)

    for a, b in zip(all_of(side_by_side, models), all_of(in_turn, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    # The widest product of rows with models: two models side by side, or one alone.
    text = {p.at_once: str(jax.make_jaxpr(all_of)(p, models)) for p in (side_by_side, in_turn)}
    assert re.search(r"f64\[\d+,\d+,1,3\]", text[None])
    assert not re.search(r"f64\[\d+,\d+,1,3\]", text[3])

    def slope(problem):
        return jax.jvp(lambda x: problem.local_grad(x, jnp.asarray(0)), (X,), (jnp.ones(3),))[1]

    np.testing.assert_allclose(slope(in_turn), slope(side_by_side), rtol=1e-12)


def test_problem_goes_through_jit_as_an_argument():
    problem = from_loss(cross_entropy, PARAMS, DATA)
    other = from_loss(cross_entropy, PARAMS, jax.tree.map(np.flip, DATA))
    assert jax.tree.structure(problem) == jax.tree.structure(other)
    value = jax.jit(lambda problem, x: problem.value(x))
    assert value(problem, problem.start()) == pytest.approx(
        float(problem.value(problem.start())), rel=1e-13
    )


def test_constants_are_the_user_s():
    assert from_loss(cross_entropy, PARAMS, DATA).constants == Constants()
    given = Constants(L=Constant(2.0, "bound", "by hand"))
    problem = from_loss(cross_entropy, PARAMS, DATA, constants=given)
    assert problem.constants.need("L", "a test") == 2.0
    with pytest.raises(ConfigurationError, match="a test needs the constant sigma2"):
        problem.constants.need("sigma2", "a test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 0}, "batch = 0"),
        ({"n": 0}, "n = 0 does not cut 30 samples"),
        ({"n": 4}, "n = 4 does not cut 30 samples.*leave out the last 2 samples"),
        ({"n": 31}, "n = 31 does not cut 30 samples"),
        ({"data": (DATA[0], DATA[1][:-1])}, r"\[\(30, 4\), \(29,\)\]; give at least one sample"),
        ({"data": (DATA[0][:0], DATA[1][:0])}, r"\[\(0, 4\), \(0,\)\]"),
        ({"data": ()}, r"shapes \[\]"),
        ({"data": (DATA[0], 3.0)}, r"\[\(30, 4\), \(\)\]"),
        ({"params": {}}, "types none; give them one type"),
        ({"params": {"a": np.ones(2), "b": np.ones(2, np.float32)}}, "float32.*float64.*one type"),
        ({"params": {"a": np.ones(2, int)}}, "dtype = int64; models are floats"),
        ({"loss": lambda p, e: e[0] @ p["weights"]}, "returns .*must return one float"),
        (
            {"loss": lambda p, e: (p["biases"].sum(), e)},
            "returns .*must return one float",
        ),
        ({"loss": lambda p, e: e[1].sum()}, "returns .*must return one float"),
        ({"at_once": 0}, "at_once = 0"),
        ({"held_out": (DATA[0][:2, :3], DATA[1][:2])}, "held-out samples are .*give them one kind"),
        ({"held_out": (DATA[0][:2], DATA[1][:3])}, "the same first axis"),
        ({"right": lambda p, e: e[1].sum()}, r"right\(params, examples\) returns"),
        ({"n": 2, "parts": [np.array([0]), np.array([1])]}, "n = 2 beside parts"),
        ({"parts": []}, "give each worker a sample"),
        ({"parts": [np.array([0]), np.array([], int)]}, "give each worker a sample"),
        ({"parts": [np.array([0]), np.array([30])]}, "samples 0 to 30; there are 0 to 29"),
        ({"parts": [np.array([-1])]}, "samples -1 to -1"),
        ({"parts": [np.array([3, 4]), np.array([4])]}, "a sample twice"),
    ],
)
def test_bad_values_are_refused(changes, words):
    arguments = {"loss": cross_entropy, "params": PARAMS, "data": DATA, **changes}
    with pytest.raises(ConfigurationError, match=words):
        from_loss(**arguments)


def test_problem_s_own_constructor_builds_the_same():
    problem = Problem.from_loss(cross_entropy, PARAMS, DATA, batch=3, n=5)
    assert isinstance(problem, FromLoss)
    assert jax.tree.structure(problem) == jax.tree.structure(
        from_loss(cross_entropy, PARAMS, DATA, batch=3, n=5)
    )
