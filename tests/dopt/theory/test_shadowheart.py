"""The plan of a round: its time, its weights, its variance, and every degenerate cluster."""

import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError, NoProgressError
from dopt.theory import equilibrium_time, plan, variance_coefficients


INF = math.inf


def cluster(rng):
    """h, τ, ω, S and d/K of a random cluster: messages cheap, free or dear, some workers dead."""
    n = int(rng.integers(1, 12))
    h, tau = np.exp(rng.choice([0.1, 1.0, 3.0]) * rng.normal(size=(2, n)))
    tau *= 10 ** rng.uniform(-6, 2)
    tau[rng.random(n) < 0.05] = 0.0
    dead = rng.random(n) < 0.05
    dead[0] = False
    h[dead] = INF
    full = float(rng.choice([1.0, 7.5, 100.0, 7850.0]))
    return h, tau, full - 1, 10 ** rng.uniform(-3, 4), full


def test_ten_thousand_clusters():
    rng = np.random.default_rng(0)
    dense = 0
    for _ in range(10_000):
        h, tau, omega, S, full = cluster(rng)
        p = plan(h, tau, omega, S, full_messages=full)
        assert p.N >= 1
        active = p.gradients > 0
        assert active.any()
        send = np.where(p.dense, full, p.messages)[active] * tau[active]
        assert np.all(p.gradients[active] * h[active] + send <= 2 * p.t_star * (1 + 1e-9))
        a, c = variance_coefficients(p, omega, sigma2=S * 0.3)
        assert 0 <= a <= (1 + 1e-12) / p.N
        assert a + c / 0.3 == pytest.approx(1 / p.N, rel=1e-12)
        dense += p.dense.any()
    assert 3000 < dense < 9900


def test_plan_follows_the_listing():
    rng = np.random.default_rng(1)
    for _ in range(200):
        h, tau, omega, S, full = cluster(rng)
        t = equilibrium_time(h, tau, omega, S)
        p = plan(h, tau, omega, S, full_messages=full)
        assert p.t_star == t
        N = 0.0
        for i in range(h.size):
            b = math.floor(t / h[i] * (1 + 1e-12))
            m = math.floor(t / tau[i] * (1 + 1e-12)) if tau[i] else 10**9
            entry = (p.gradients[i], p.messages[i], p.dense[i], p.weights[i])
            if b == 0 or m == 0:
                assert entry == (0, 0, False, 0)
            elif m >= full:
                assert entry == (b, 1, True, 1 / S)
                N += b / S
            else:
                w = 1 / (b * omega + omega * S + m * S)
                assert entry == (b, m, False, pytest.approx(w, rel=1e-14))
                N += w * m * b
        assert pytest.approx(N, rel=1e-12) == p.N


def test_variance_coefficients_match_the_lemma():
    rng = np.random.default_rng(2)
    for _ in range(200):
        h, tau, omega, S, full = cluster(rng)
        p = plan(h, tau, omega, S, full_messages=full)
        a, c = variance_coefficients(p, omega, sigma2=5.0)
        total_a = total_c = 0.0
        for b, m, dense, w in zip(p.gradients, p.messages, p.dense, p.weights, strict=True):
            error = 0.0 if dense else omega
            b, m = float(b), float(m)
            total_a += w**2 * m * error * b**2 / p.N**2
            total_c += w**2 * (m * error * b + m**2 * b) * 5.0 / p.N**2
        assert a == pytest.approx(total_a, rel=1e-12)
        assert c == pytest.approx(total_c, rel=1e-12)


def test_variance_of_the_estimator():
    """Monte Carlo with RandK (exact ω) and Gaussian noise, on a plan with a dense worker."""
    rng = np.random.default_rng(3)
    d, K, sigma2, draws = 6, 2, 4.0, 20_000
    omega = d / K - 1
    p = plan([1.0, 2.0, 2.5], [1.0, 0.4, 3.0], omega, 4.0, full_messages=d / K)
    assert p.dense.any()
    assert np.any(p.messages[~p.dense] > 1)
    gradient = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
    g = np.zeros((draws, d))
    for b, m, dense, w in zip(p.gradients, p.messages, p.dense, p.weights, strict=True):
        noise = rng.normal(size=(draws, b, d)) * math.sqrt(sigma2 / d)
        total = np.sum(gradient + noise, axis=1)
        for _ in range(m):
            kept = rng.random((draws, d)).argsort(axis=1) < K
            g += w / p.N * (total if dense else np.where(kept, total * d / K, 0.0))
    a, c = variance_coefficients(p, omega, sigma2)
    error = np.sum((g - gradient) ** 2, axis=1)
    expected = a * np.sum(gradient**2) + c
    assert abs(error.mean() - expected) <= 5 * error.std() / math.sqrt(draws)
    bias = np.abs(g.mean(axis=0) - gradient)
    assert np.all(bias <= 5 * g.std(axis=0) / math.sqrt(draws))


def test_clipping_as_the_authors_do_loses_the_guarantee():
    rng = np.random.default_rng(4)
    least = INF
    for _ in range(1000):
        h, tau, omega, S, full = cluster(rng)
        p = plan(h, tau, omega, S, full_messages=full, clip_number_of_communications=True)
        assert not p.dense.any()
        assert p.messages.max() <= math.ceil(full)
        a, c = variance_coefficients(p, omega, sigma2=S)
        assert a + c == pytest.approx(1 / p.N, rel=1e-12)
        least = min(least, p.N)
    assert 0 < least < 0.6


def test_clipping_rounds_up():
    p = plan(1.0, 1e-3, 6.5, 1.0, full_messages=7.5, clip_number_of_communications=True)
    assert p.messages[0] == 8


@pytest.mark.parametrize(("full", "dense"), [(2.0, True), (1.99, True), (2.01, False)])
def test_dense_from_exactly_the_size_of_a_dense_message(full, dense):
    p = plan(0.125, 1.0, 1.0, 0.0, full_messages=full)
    assert p.t_star == 2.0
    assert (p.dense[0], p.messages[0], p.gradients[0]) == (dense, 1 if dense else 2, 16)


def test_no_noise_and_no_compression_is_plain_averaging():
    p = plan([1.0, 2.0, 1.0], [1.0, 0.5, INF], 0.0, 0.0, full_messages=1.0)
    np.testing.assert_array_equal(p.gradients, [1, 0, 0])
    np.testing.assert_array_equal(p.weights, [1, 0, 0])
    assert (p.t_star, p.N) == (1.0, 1.0)
    assert variance_coefficients(p, 0.0, 0.0) == (0.0, 0.0)


def test_without_noise_only_exact_messages_count():
    h, tau = [1.0, 1.0, 1.0], [0.1, 10.0, 2.0]
    p = plan(h, tau, 9.0, 0.0, full_messages=10.0)
    assert p.t_star == pytest.approx(2 * 9 * 0.1)
    np.testing.assert_array_equal(p.dense, [True, False, False])
    mixed = plan(h, [0.1, 0.3, 2.0], 9.0, 0.0, full_messages=10.0)
    np.testing.assert_array_equal(mixed.dense, [True, False, False])
    np.testing.assert_array_equal(mixed.messages, [1, 0, 0])
    np.testing.assert_array_equal(mixed.weights, [1, 0, 0])
    assert mixed.gradients[0] == mixed.N
    assert variance_coefficients(mixed, 9.0, 0.0) == (0.0, 0.0)


def test_without_noise_and_exact_messages_all_compressed_count():
    p = plan(1.0, np.full(20, 1.0), 9.0, 0.0, full_messages=10.0)
    np.testing.assert_array_equal(p.messages, 1)
    np.testing.assert_allclose(p.weights, 1 / 9)
    assert pytest.approx(20 / 9) == p.N


def test_exact_compressor_sends_one_message_and_averages():
    p = plan([1.0, 2.0], [0.5, 0.7], 0.0, 10.0, full_messages=50.0)
    np.testing.assert_array_equal(p.messages, 1)
    assert not p.dense.any()
    np.testing.assert_allclose(p.weights, 0.1)
    assert pytest.approx(p.gradients.sum() / 10) == p.N


def test_free_messages_are_dense():
    p = plan([1.0, 3.0], 0.0, 99.0, 10.0, full_messages=100.0)
    assert p.dense.all()
    assert p.t_star == pytest.approx(2 * 10 / (1 + 1 / 3))


def test_no_worker_can_help():
    with pytest.raises(NoProgressError, match="2 workers is infinite"):
        plan([1.0, INF], [INF, 1.0], 9.0, 1.0, full_messages=10.0)


def test_gradients_without_time_are_refused():
    with pytest.raises(ConfigurationError, match=r"h\[1\] = 0.0 .*positive time"):
        plan([1.0, 0.0], 1.0, 9.0, 1.0, full_messages=10.0)
    with pytest.raises(ConfigurationError, match=r"h\[0\] = 0.0"):
        plan(0.0, 0.0, 9.0, 1.0, full_messages=10.0)
    with pytest.raises(ConfigurationError, match=r"h\[0\] = 1e-300"):
        plan(1e-300, 1.0, 9.0, 1.0, full_messages=10.0)


def test_an_idle_worker_may_have_free_gradients():
    p = plan([1.0, 0.0], [1.0, 1e9], 9.0, 1.0, full_messages=10.0)
    np.testing.assert_array_equal(p.gradients > 0, [True, False])


@pytest.mark.parametrize("full", [0.5, math.nan, INF])
def test_dense_messages_of_no_size_are_refused(full):
    with pytest.raises(ConfigurationError, match="full_messages = "):
        plan(1.0, 1.0, 9.0, 1.0, full_messages=full)


def test_weights_beyond_floats_are_refused():
    with pytest.raises(ConfigurationError, match="noise_ratio = 1e-310"):
        plan(1.0, 0.0, 9.0, 1e-310, full_messages=10.0)


def test_variance_refuses_bad_constants():
    p = plan(1.0, 1.0, 9.0, 1.0, full_messages=10.0)
    with pytest.raises(ConfigurationError, match="sigma2 = -1"):
        variance_coefficients(p, 9.0, -1.0)
