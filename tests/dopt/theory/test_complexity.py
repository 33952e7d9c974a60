"""Time complexities against brute force, each other and their limits."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from dopt.errors import ConfigurationError
from dopt.theory import (
    batch_qsgd_time,
    dense_uplink_time,
    equilibrium_time,
    lower_bounds,
    minibatch_time,
    qsgd_time,
    rennala_time,
    sgd_one_time,
)


INF = math.inf
RANGE = np.arange(1.0, 11.0)
FEW = settings(deadline=None, max_examples=100)

positive = st.floats(1e-4, 1e4)
constant = st.one_of(st.just(0.0), positive)
times = st.lists(st.tuples(positive, positive), min_size=1, max_size=8).map(lambda c: np.array(c).T)


def test_numbers_by_hand():
    # h_i = i, d τ̇_i = i: the slowest worker is the round
    assert minibatch_time(RANGE, RANGE, 20.0) == 10 * 3
    assert qsgd_time(RANGE, RANGE / 10, 9.0, 2.0) == pytest.approx(10 * (1 + 0.9 + 2))
    assert sgd_one_time(RANGE, 3.0) == 4
    assert rennala_time([1.0, 1.0, 10.0], 4.0) == 3
    assert rennala_time([2.0, INF], 4.0) == 10
    assert dense_uplink_time([1.0, 1.0, 1.0], [1.0, 5.0, 2.0], 4.0) == 2
    assert dense_uplink_time([1.0, 1.0, 1.0], [1.0, 1.0, 2.0], 1.0) == 1
    assert batch_qsgd_time(2.0, 0.5, 7.0, 4.0, 4) == pytest.approx(4 + 1.5 + math.sqrt(8))


def test_rennala_reference_number():
    h = np.sqrt(np.arange(1, 101))
    assert rennala_time(h, 1.0) == pytest.approx(1.75096, abs=5e-6)


@FEW
@given(times, constant)
def test_prefix_formulas_by_brute_force(cluster, S):
    h, tau = cluster
    n = h.size
    fast = sorted(h)
    rennala = min((m + S) / sum(1 / x for x in fast[:m]) for m in range(1, n + 1))
    assert rennala_time(h, S) == pytest.approx(rennala, rel=1e-12)
    # the published form: ((1/m) Σ 1/h_i)^-1 (1 + S/m)
    published = min(m / sum(1 / x for x in fast[:m]) * (1 + S / m) for m in range(1, n + 1))
    assert rennala_time(h, S) == pytest.approx(published, rel=1e-12)
    dense = INF
    for limit in np.maximum(h, tau):
        joined = [x for x, y in zip(h, tau, strict=True) if max(x, y) <= limit]
        dense = min(dense, max(limit, S / sum(1 / x for x in joined)))
    assert dense_uplink_time(h, tau, S) == pytest.approx(dense, rel=1e-12)


@FEW
@given(times, constant, constant, positive)
def test_homogeneous_of_degree_one(cluster, omega, S, scale):
    h, tau = cluster
    n = h.size
    calls = [
        lambda c: sgd_one_time(c * h, S),
        lambda c: minibatch_time(c * h, c * tau, S),
        lambda c: qsgd_time(c * h, c * tau, omega, S),
        lambda c: batch_qsgd_time(c * h[0], c * tau[0], omega, S, n),
        lambda c: dense_uplink_time(c * h, c * tau, S),
        lambda c: rennala_time(c * h, S),
    ]
    for time in calls:
        assert time(scale) == pytest.approx(scale * time(1.0), rel=1e-12)


@FEW
@given(times, constant, constant)
def test_methods_respect_the_lower_bounds(cluster, omega, S):
    h, tau = cluster
    bounds = lower_bounds(h, tau, omega, S)
    slack = 1 + 1e-12
    assert bounds.compressed == equilibrium_time(h, tau, omega, S)
    assert bounds.one_worker == sgd_one_time(h, S) == pytest.approx(h.min() * (1 + S))
    assert bounds.computation <= min(bounds.one_worker, minibatch_time(h, tau, S)) * slack
    assert bounds.computation <= 2 * dense_uplink_time(h, 0.0, S) * slack
    assert bounds.compressed <= 2 * qsgd_time(h, tau, omega, S) * slack


@FEW
@given(positive, positive, constant, constant, st.integers(1, 50))
def test_batch_qsgd_is_the_order_of_shadowheart(h, tau, omega, S, n):
    t = equilibrium_time(np.full(n, h), np.full(n, tau), omega, S)
    time = batch_qsgd_time(h, tau, omega, S, n)
    assert t <= 2 * time * (1 + 1e-12)
    # (1 + ω) where t* has ω: τ/n and τhS/n more, each at most what max{h, τ} and hS/n already pay
    assert time <= 6 * t


def test_one_slow_worker_ruins_the_maximum_only():
    h = np.append(np.ones(20), INF)
    assert minibatch_time(h, 1.0, 5.0) == INF
    assert qsgd_time(h, 0.1, 9.0, 5.0) == INF
    everyone = lower_bounds(h, 0.1, 9.0, 5.0)
    assert everyone == lower_bounds(h[:-1], 0.1, 9.0, 5.0)
    assert dense_uplink_time(h, 1.0, 5.0) == dense_uplink_time(h[:-1], 1.0, 5.0) == 1


def test_nobody_is_infinite_time():
    assert lower_bounds(INF, 1.0, 1.0, 1.0) == (INF, INF, INF)
    assert dense_uplink_time(1.0, INF, 0.0) == INF


def test_free_gradients():
    assert rennala_time([0.0, 1.0], 3.0) == 0
    assert dense_uplink_time([0.0, 1.0], [2.0, 1.0], 3.0) == 2


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: sgd_one_time(-1.0, 1.0), "h = -1"),
        (lambda: minibatch_time(1.0, -1.0, 1.0), "tau_dense = -1"),
        (lambda: qsgd_time(1.0, 1.0, -1.0, 1.0), "omega = -1"),
        (lambda: rennala_time([1.0], -1.0), "noise_ratio = -1"),
        (lambda: dense_uplink_time([], 1.0, 1.0), r"h has shape \(0,\)"),
        (lambda: batch_qsgd_time(1.0, 1.0, 1.0, 1.0, 0), "n = 0"),
    ],
)
def test_bad_values_are_named(call, names):
    with pytest.raises(ConfigurationError, match=names):
        call()
