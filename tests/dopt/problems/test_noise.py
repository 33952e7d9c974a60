import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dopt.errors import ConfigurationError
from dopt.problems import GaussianNoise, NoNoise, ProgressiveNoise, ScalarNoise


D = 5
GRADIENT = np.array([1.0, -2.0, 0.5, 3.0, 0.25])
# The last nonzero coordinate is the second: three are at risk.
X = np.array([0.5, -1.0, 0.0, 0.0, 0.0])
AT_RISK = np.array([0, 0, 1, 1, 1])
NOISES = {
    NoNoise(): np.zeros(D),
    GaussianNoise(0.7): np.full(D, 0.49),
    ScalarNoise(0.7): np.full(D, 0.49),
    ProgressiveNoise(0.3): (1 / 0.3 - 1) * AT_RISK * GRADIENT**2,
}
each_noise = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)


def keys(number, seed=0):
    return jax.random.split(jax.random.key(seed), number)


def sums(noise, count, *, draws, most=None, dtype=np.float64, seed=0):
    gradient, x = jnp.asarray(GRADIENT, dtype), jnp.asarray(X, dtype)

    def one(key):
        return noise.apply_sum(gradient, x, jnp.int32(count), key=key, most=most or count)

    return np.asarray(jax.jit(jax.vmap(one))(keys(draws, seed)))


@each_noise
@pytest.mark.parametrize(("count", "dtype"), [(1, np.float64), (6, np.float32)])
def test_sum_has_the_moments_of_a_sum(noise, count, dtype, check_moments):
    drawn = sums(noise, count, draws=20_000, dtype=dtype)
    assert drawn.dtype == dtype
    check_moments(drawn, count * GRADIENT, count * NOISES[noise])


@each_noise
def test_loop_of_singles_has_the_same_moments(noise, check_moments):
    def one(key):
        def single(key):
            return noise.apply(jnp.asarray(GRADIENT), jnp.asarray(X), key=key)

        return jax.vmap(single)(jax.random.split(key, 6)).sum(axis=0)

    drawn = jax.jit(jax.vmap(one))(keys(20_000, seed=1))
    check_moments(drawn, 6 * GRADIENT, 6 * NOISES[noise])


@each_noise
def test_sigma2_is_the_variance_where_it_is_known(noise):
    constant = noise.sigma2(D)
    if isinstance(noise, ProgressiveNoise):
        assert constant is None
    else:
        assert constant.kind == "exact"
        assert constant.value == pytest.approx(NOISES[noise].sum())


def test_progressive_noise_that_always_arrives_is_none():
    assert ProgressiveNoise(1.0).sigma2(D).value == 0
    drawn = sums(ProgressiveNoise(1.0), 2000, draws=3)
    np.testing.assert_array_equal(drawn, np.tile(2000 * GRADIENT, (3, 1)))


def test_covariances_of_scalar_and_gaussian_noise():
    M, variance = 40_000, 4 * 0.49
    for noise, between in ((ScalarNoise(0.7), variance), (GaussianNoise(0.7), 0.0)):
        drawn = sums(noise, 4, draws=M) - 4 * GRADIENT
        covariance = drawn.T @ drawn / M
        expected = np.full((D, D), between)
        np.fill_diagonal(expected, variance)
        # The variance of a product of two normals is var² + cov².
        errors = np.sqrt((variance**2 + expected**2) / M)
        assert np.all(np.abs(covariance - expected) <= 5 * errors)


def test_progressive_noise_draws_one_coin_a_gradient():
    drawn = sums(ProgressiveNoise(0.25), 1, draws=200)
    np.testing.assert_array_equal(drawn[:, :2], np.tile(GRADIENT[:2], (200, 1)))
    arrived = drawn[:, 2] != 0
    assert 0 < arrived.sum() < 200
    np.testing.assert_array_equal(drawn[arrived, 2:], np.tile(4 * GRADIENT[2:], (arrived.sum(), 1)))
    np.testing.assert_array_equal(drawn[~arrived, 2:], 0)


@given(x=st.lists(st.sampled_from([0.0, -0.0, 1e-300, -2.0]), min_size=D, max_size=D))
@settings(max_examples=30, deadline=None)
def test_coordinates_at_risk_are_those_beyond_the_last_nonzero(x):
    prog = max((j + 1 for j in range(D) if x[j] != 0), default=0)
    noise, many = ProgressiveNoise(1e-9), jnp.int32(50)
    key = jax.random.key(0)
    drawn = noise.apply_sum(jnp.asarray(GRADIENT), jnp.asarray(x), many, key=key, most=50)
    expected = np.where(np.arange(D) < prog, 50 * GRADIENT, 0)
    np.testing.assert_array_equal(drawn, expected)


def arrivals(count, p, *, draws, dtype=np.float32, seed=0):
    drawn = sums(ProgressiveNoise(p), count, draws=draws, dtype=dtype, seed=seed)
    return drawn[:, -1] * p / GRADIENT[-1]


@pytest.mark.parametrize(("count", "p"), [(7, 0.3), (40, 0.95), (300, 0.04), (1500, 0.5)])
def test_arrivals_are_binomial(count, p):
    drawn = np.rint(arrivals(count, p, draws=20_000)).astype(int)
    edges = np.unique(stats.binom.ppf(np.linspace(0, 1, 12), count, p)).astype(int)
    expected = np.diff(stats.binom.cdf(edges, count, p), prepend=0)
    seen = np.diff(np.searchsorted(np.sort(drawn), edges, side="right"), prepend=0)
    keep = expected > 1e-3
    statistic = np.sum((seen - 20_000 * expected)[keep] ** 2 / (20_000 * expected[keep]))
    assert stats.chi2.sf(statistic, keep.sum() - 1) > 1e-5


def test_a_million_rare_arrivals(check_moments):
    count, p = 10**6, 1e-3
    drawn = arrivals(count, p, draws=60)
    check_moments(drawn[:, None], np.array([count * p]), np.array([count * p * (1 - p)]))


@each_noise
def test_sum_does_not_depend_on_the_bound(noise):
    gradient, x, counts = jnp.asarray(GRADIENT), jnp.asarray(X), jnp.array([0, 1, 900, 1500])

    def bounded(most):
        def one(count, key):
            return noise.apply_sum(gradient, x, count, key=key, most=most)

        return jax.jit(jax.vmap(one))(counts, keys(4))

    widest = bounded(5000)
    np.testing.assert_array_equal(widest[0], 0)
    np.testing.assert_allclose(bounded(1500), widest, rtol=1e-12)
    for p in (1, 2):
        one_job = sums(noise, int(counts[p]), draws=4)[p]
        np.testing.assert_allclose(one_job, widest[p], rtol=1e-12)


@each_noise
def test_weighted_sum_is_the_sum_of_weighted_sums(noise):
    gradient, x = jnp.asarray(GRADIENT), jnp.asarray(X)
    counts, weights = jnp.array([3, 0, 1, 1200]), jnp.array([0.5, 9.0, -2.0, 0.01])

    @jax.jit
    def one(count, key):
        return noise.apply_sum(gradient, x, count, key=key, most=1200)

    @jax.jit
    def together(keys):
        return noise.weighted_sum(gradient, x, counts, weights, keys=keys, most=1200)

    jobs = zip(counts, weights, keys(4), strict=True)
    expected = sum(weight * one(count, key) for count, weight, key in jobs)
    got = together(keys(4))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@each_noise
def test_a_batch_of_models_shares_the_draws(noise, made_by):
    models = 13
    gradients, xs = jnp.ones((models, D)), jnp.zeros((models, D))

    def batch(gradients, xs):
        def one(gradient, x):
            counts, weights = jnp.array([2, 1500]), jnp.ones(2)
            return noise.weighted_sum(gradient, x, counts, weights, keys=keys(2), most=1500)

        return jax.vmap(one)(gradients, xs)

    drawn = "erf_inv" if isinstance(noise, GaussianNoise) else "random_bits"
    shapes = made_by(drawn, batch, gradients, xs)
    assert all(models not in shape for shape in shapes)
    assert bool(shapes) == (noise != NoNoise())


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [GaussianNoise, ScalarNoise])
def test_bad_deviation_is_refused(kind, sigma):
    with pytest.raises(ConfigurationError, match=rf"sigma = {sigma}"):
        kind(sigma)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.5, 1e-12, float("nan")])
def test_bad_probability_is_refused(p):
    with pytest.raises(ConfigurationError, match=rf"p = {p}"):
        ProgressiveNoise(p)
