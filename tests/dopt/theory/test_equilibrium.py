"""t* against its two-step definition, the authors' numbers, closed forms and invariants."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from dopt.errors import ConfigurationError
from dopt.theory import equilibrium_time, rennala_time, whole_fits


INF = math.inf
SEARCH = settings(deadline=None, max_examples=200)


def two_steps(h, tau, omega, S):
    """The paper's definition for systems of shape (s, n): every s*(j) by bisection, then the min.

    s = m 2^e with m in [1, 2]; the exponents of all products are integers, so nothing overflows.
    """
    slower = np.maximum(h, tau)
    order = np.argsort(slower, axis=1)
    h, tau, slower = (np.take_along_axis(x, order, axis=1) for x in (h, tau, slower))
    n = h.shape[1]
    seen = np.tril(np.ones((n, n), bool))[None] & (slower < INF)[:, None, :]
    (mh, eh), (mt, et), (mo, eo), (ms, es) = map(np.frexp, (h, tau, omega, S))

    def share(m, e):
        u = np.ldexp(
            (mo[:, None] * mt)[:, None] / m[..., None], (eo[:, None] + et)[:, None] - e[..., None]
        )
        v = np.ldexp(
            (ms[:, None] * mh)[:, None] / m[..., None], (es[:, None] + eh)[:, None] - e[..., None]
        )
        uv = np.where((u == 0) | (v == 0), 0.0, u * v)
        return np.where(seen, 1 / (2 * u + 2 * v + 4 * uv), 0.0).sum(axis=2)

    with np.errstate(all="ignore"):
        low, high = np.full(seen.shape[:2], -5000), np.full(seen.shape[:2], 5000)
        while np.any(high - low > 1):
            mid = (low + high) // 2
            over = share(np.ones(mid.shape), mid) >= 1
            low, high = np.where(over, low, mid), np.where(over, mid, high)
        exponent = low
        low, high = np.ones(exponent.shape), np.full(exponent.shape, 2.0)
        for _ in range(54):
            mid = (low + high) / 2
            over = share(mid, exponent) >= 1
            low, high = np.where(over, low, mid), np.where(over, mid, high)
        root = np.where(exponent >= 4999, INF, np.ldexp(high, exponent))
    return np.min(np.maximum(slower, root), axis=1)


def systems(kind, rng, size, n):
    """Arrays (size, n) of h and tau, and (size,) of omega and S."""
    both = (2, size, n)
    if kind == "moderate":
        times, constants = np.exp(2 * rng.normal(size=both)), 10 ** rng.uniform(-2, 4, (2, size))
    elif kind == "extreme":
        times = 10 ** rng.uniform(-300, 300, both)
        constants = 10 ** rng.uniform(-300, 300, (2, size))
    elif kind == "extreme constants":
        times, constants = 10 ** rng.uniform(-2, 2, both), 10 ** rng.uniform(-300, 300, (2, size))
    else:
        times = rng.choice([0.0, 1.0, 1.0, 2.0, 3.0, INF], both)
        constants = rng.choice([0.0, 0.0, 0.5, 1.0, 7.0, 1e4], (2, size))
    return *times, *constants


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["moderate", "extreme", "extreme constants", "ties, 0 and inf"])
def test_equals_the_definition(kind, n):
    h, tau, omega, S = systems(kind, np.random.default_rng([n, len(kind)]), 120, n)
    expected = two_steps(h, tau, omega, S)
    found = [equilibrium_time(*system) for system in zip(h, tau, omega, S, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def test_the_oracle_tells_systems_apart():
    h, tau, omega, S = systems("moderate", np.random.default_rng(0), 50, 4)
    right = np.array([equilibrium_time(*s) for s in zip(h, tau, omega, S, strict=True)])
    assert np.mean(np.abs(two_steps(h, tau, omega, S * (1 + 1e-9)) / right - 1) > 1e-12) > 0.5


@pytest.mark.parametrize("omega", [10.0, 1e6])
def test_many_workers(omega):
    rng = np.random.default_rng(1)
    h, tau, S = rng.random(10**6), rng.random(10**6), 100.0
    t = equilibrium_time(h, tau, omega, S)

    def share(t):
        now = np.maximum(h, tau) <= t
        a, b = 2 * tau * omega + 2 * h * S, 4 * tau * h * S * omega
        return np.sum(t**2 / (a * t + b)[now])

    assert share(t * (1 + 1e-12)) >= 1 > share(t * (1 - 1e-12))


SQRT = np.sqrt(np.arange(1, 101))
RANGE = np.arange(1.0, 11.0)


@pytest.mark.parametrize(
    ("h", "tau", "omega", "S", "expected", "digit"),
    [
        (4.0, 1.0, 9.0, 3.0, 21 + math.sqrt(873), 1e-12),
        (np.ones(3), np.ones(3), 9.0, 10.0, 19 / 3 + math.sqrt(361 / 9 + 120), 1e-12),
        (RANGE, 2 * RANGE, 9.0, 1.0, 17.86419834, 1e-8),
        (SQRT, SQRT / 7850, 7849.0, 1.0, 2.236067977, 1e-9),
        (SQRT, SQRT / 7850, 7849.0, 100.0, 17.00270827, 1e-8),
        (SQRT, SQRT / 7850, 7849.0, 10000.0, 1086.602894, 1e-6),
        (SQRT, 0.0, 0.0, 1.0, 1.414213562, 1e-9),
        (SQRT, 0.0, 7849.0, 1.0, 1.414213562, 1e-9),
    ],
)
def test_reference_numbers(h, tau, omega, S, expected, digit):
    assert abs(equilibrium_time(h, tau, omega, S) - expected) <= digit


def test_authors_edge_cases():
    assert equilibrium_time([1.0, 0.0, INF], [1.0, 0.0, 1.0], 9.0, 3.0) == 0
    assert equilibrium_time([INF, 1.0], [1.0, INF], 9.0, 3.0) == INF
    assert equilibrium_time(INF, INF, 0.0, 0.0) == INF


def test_the_edges_of_float():
    assert equilibrium_time(1e200, 1e200, 1e200, 1e200) == INF
    least = 5e-324
    expected = least * 1e300 * (2 + 2 * math.sqrt(2))
    assert equilibrium_time(least, least, 1e300, 1e300) == pytest.approx(expected, rel=1e-12)


seconds = st.one_of(st.sampled_from([0.0, 1.0, INF]), st.floats(1e-6, 1e6))
finite_seconds = st.floats(1e-6, 1e6)
constant = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))


def clusters(each=seconds):
    return st.lists(st.tuples(each, each), min_size=1, max_size=8).map(lambda c: np.array(c).T)


@SEARCH
@given(clusters(), constant, constant, st.floats(1e-9, 1e9))
def test_homogeneous_of_degree_one(cluster, omega, S, scale):
    h, tau = cluster
    t = equilibrium_time(h, tau, omega, S)
    assert equilibrium_time(scale * h, scale * tau, omega, S) == pytest.approx(scale * t, rel=1e-12)


@SEARCH
@given(clusters(), constant, constant, st.data())
def test_grows_with_every_argument(cluster, omega, S, data):
    t = equilibrium_time(*cluster, omega, S)
    more = cluster.copy()
    entry = tuple(data.draw(st.integers(0, size - 1)) for size in cluster.shape)
    more[entry] += data.draw(seconds)
    extra = data.draw(constant)
    least = t * (1 - 1e-13)
    assert equilibrium_time(*more, omega, S) >= least
    assert equilibrium_time(*cluster, omega + extra, S) >= least
    assert equilibrium_time(*cluster, omega, S + extra) >= least


@SEARCH
@given(clusters(), constant, constant, seconds, seconds)
def test_falls_when_a_worker_joins(cluster, omega, S, h, tau):
    more = np.append(cluster, [[h], [tau]], axis=1)
    t = equilibrium_time(*more, omega, S)
    assert t <= equilibrium_time(*cluster, omega, S) * (1 + 1e-13)
    assert t <= equilibrium_time(h, tau, omega, S) * (1 + 1e-13)
    assert t >= np.min(np.max(more, axis=0))


@SEARCH
@given(clusters(), constant, constant, st.randoms(use_true_random=False))
def test_the_order_of_workers_does_not_matter(cluster, omega, S, random):
    order = list(range(cluster.shape[1]))
    random.shuffle(order)
    t = equilibrium_time(*cluster, omega, S)
    assert equilibrium_time(*cluster[:, order], omega, S) == pytest.approx(t, rel=1e-13)


@SEARCH
@given(clusters(), constant, constant, seconds, st.booleans())
def test_infinite_workers_never_matter(cluster, omega, S, other, sends):
    worker = [[other], [INF]] if sends else [[INF], [other]]
    t = equilibrium_time(*cluster, omega, S)
    assert equilibrium_time(*np.append(worker, cluster, axis=1), omega, S) == t


def star(slower, rate, weight):
    """min_j max{slower_j, 2 weight / Σ_{i≤j} rate_i} with slower sorted."""
    order = np.argsort(slower)
    with np.errstate(divide="ignore"):
        return np.min(np.maximum(slower[order], 2 * weight / np.cumsum(1 / rate[order])))


@SEARCH
@given(clusters(finite_seconds), constant)
def test_limits_of_one_constant(cluster, constant):
    h, tau = cluster
    slower = np.maximum(h, tau)
    exact = {"rel": 1e-12}
    assert equilibrium_time(h, 0.0, 5.0, constant) == pytest.approx(star(h, h, constant), **exact)
    assert equilibrium_time(0.0, tau, constant, 5.0) == pytest.approx(
        star(tau, tau, constant), **exact
    )
    assert equilibrium_time(h, tau, 0.0, constant) == pytest.approx(
        star(slower, h, constant), **exact
    )
    assert equilibrium_time(h, tau, constant, 0.0) == pytest.approx(
        star(slower, tau, constant), **exact
    )
    assert equilibrium_time(h, tau, 0.0, 0.0) == slower.min()


@SEARCH
@given(clusters(finite_seconds), constant)
def test_free_communication_is_rennala_up_to_two(cluster, S):
    ratio = equilibrium_time(cluster[0], 0.0, 5.0, S) / rennala_time(cluster[0], S)
    assert 2 / 3 * (1 - 1e-12) <= ratio <= 2 * (1 + 1e-12)


@SEARCH
@given(seconds, seconds, constant, constant, st.integers(1, 300))
def test_equal_workers(h, tau, omega, S, n):
    assume(max(h, tau) < INF)
    A = tau * omega / n + h * S / n
    closed = max(h, tau, A + math.sqrt(A**2 + 4 * tau * h * S * omega / n))
    t = equilibrium_time(np.full(n, h), np.full(n, tau), omega, S)
    assert t == pytest.approx(closed, rel=1e-12)
    cross = math.sqrt(tau * omega * h * S / n)
    order = max(h, tau, tau * omega / n, h * S / n, cross)
    assert order * (1 - 1e-12) <= t <= (2 + 2 * math.sqrt(2)) * order * (1 + 1e-12)


def test_many_equal_workers_reach_the_floor():
    assert equilibrium_time(np.full(10_000, 3.0), 2.0, 50.0, 20.0) == 3.0


def test_one_coordinate_a_message_is_optimal_up_to_four():
    rng = np.random.default_rng(2)
    for _ in range(300):
        n, d = int(rng.integers(1, 20)), int(rng.integers(2, 10_000))
        h, coordinate = np.exp(2 * rng.normal(size=(2, n)))
        K, S = int(rng.integers(1, d + 1)), 10 ** rng.uniform(-2, 4)
        one = equilibrium_time(h, coordinate, d - 1.0, S)
        assert one <= 4 * equilibrium_time(h, K * coordinate, d / K - 1, S)


def test_the_pivot_stays_active_by_any_route():
    rng = np.random.default_rng(3)
    pivots = 0
    while pivots < 10_000:
        n, K = int(rng.integers(1, 6)), int(rng.integers(1, 2000))
        coordinate = np.exp(rng.normal(size=n)) / K
        h = np.exp(rng.normal(size=n))
        if rng.random() < 0.3:
            h = K * coordinate
        tau = K * coordinate
        t = equilibrium_time(h, tau, rng.random() / 4, rng.random() / 4)
        at = np.maximum(h, tau) == t
        if not at.any():
            continue
        pivots += 1
        routes = (h, tau, coordinate / (1 / K), np.cumsum(np.full((K, n), coordinate), axis=0)[-1])
        assert np.all(whole_fits(t, np.concatenate([route[at] for route in routes])) >= 1)


def test_whole_fits():
    h = [1.0, 0.3, 0.1, 0.0, INF, 1e-300, 7.0]
    most = np.iinfo(np.int64).max
    np.testing.assert_array_equal(whole_fits(0.9, h), [0, 3, 9, most, 0, most, 0])
    np.testing.assert_array_equal(whole_fits(0.0, [0.0, 1.0, INF]), [most, 0, 0])
    np.testing.assert_array_equal(whole_fits(INF, [0.0, 1.0, INF]), [most, most, 0])
    np.testing.assert_array_equal(whole_fits(1.0, [1 + 1e-13, 1 + 1e-11]), [1, 0])
    assert whole_fits(0.9, h).dtype == np.int64


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (([1.0, -2.0], 1.0, 1.0, 1.0), r"h\[1\] = -2"),
        ((1.0, [1.0, 1.0, math.nan], 1.0, 1.0), r"tau\[2\] = nan"),
        ((math.nan, 1.0, 1.0, 1.0), r"h = nan"),
        (([], 1.0, 1.0, 1.0), r"h has shape \(0,\)"),
        ((1.0, np.ones((2, 2)), 1.0, 1.0), r"tau has shape \(2, 2\)"),
        ((np.ones(3), np.ones(2), 1.0, 1.0), r"'h': 3, 'tau': 2"),
        ((np.ones(1), np.ones(2), 1.0, 1.0), r"'h': 1, 'tau': 2"),
        ((1.0, 1.0, -1.0, 1.0), r"omega = -1"),
        ((1.0, 1.0, INF, 1.0), r"omega = inf"),
        ((1.0, 1.0, 1.0, math.nan), r"noise_ratio = nan"),
        ((1.0, 1.0, 1.0, INF), r"noise_ratio = inf"),
    ],
)
def test_bad_values_are_named(arguments, names):
    with pytest.raises(ConfigurationError, match=names):
        equilibrium_time(*arguments)


def test_whole_fits_refuses_bad_seconds():
    with pytest.raises(ConfigurationError, match="t = -1"):
        whole_fits(-1.0, [1.0])
    with pytest.raises(ConfigurationError, match=r"h\[0\] = nan"):
        whole_fits(1.0, [math.nan])


def test_negative_zeros_are_zeros():
    assert equilibrium_time([-0.0, 1.0], [2.0, 1.0], -0.0, -0.0) == 1.0
    assert equilibrium_time(-0.0, 2.0, 0.0, 3.0) == 2.0


def test_inputs_are_left_alone():
    h, tau = np.array([3.0, 1.0, INF]), np.array([2.0, 5.0, 1.0])
    kept = h.copy(), tau.copy()
    equilibrium_time(h, tau, 3.0, 3.0)
    np.testing.assert_array_equal((h, tau), kept)
