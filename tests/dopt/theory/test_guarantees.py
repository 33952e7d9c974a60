"""Step sizes and iteration counts against hand numbers and against what the methods really do."""

import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.theory import (
    asynchronous_sgd,
    ef21,
    marina,
    minibatch_sgd,
    noise_batch,
    qsgd,
    rennala_sgd,
    sgd,
    sgd_one,
    shadowheart_sgd,
    steps_to_accuracy,
)


SPECTRUM = np.array([1.0, 0.5, 0.1, 0.01])


def mean_squared_gradient(gamma, K, a, c, curvature=SPECTRUM, x=1.0):
    """Exact (1/K) Σ E‖∇f(x^k)‖², and E f(x^K), of SGD on f = ½ Σ λ_j x_j².

    The noise has variance a‖∇f‖² + c, spread evenly, so second moments have a closed recursion.
    """
    second, total = np.full(curvature.size, x**2), 0.0
    for _ in range(int(K)):
        squared = np.sum(curvature**2 * second)
        total += squared
        noise = (a * squared + c) / curvature.size
        second = (1 - gamma * curvature) ** 2 * second + gamma**2 * noise
    return total / K, 0.5 * np.sum(curvature * second)


@pytest.mark.parametrize(("a", "c"), [(0.0, 0.0), (3.0, 0.0), (0.0, 2.0), (5.0, 1.0)])
@pytest.mark.parametrize("shrink", [1.0, 0.3])
def test_promised_steps_reach_the_target(a, c, shrink):
    eps, Delta = 0.05, 0.5 * SPECTRUM.sum()
    gamma = shrink * sgd(1.0, eps, a, c).gamma
    steps = steps_to_accuracy(gamma, 1.0, Delta, eps, a, c)
    assert steps <= math.ceil(4 * Delta / (gamma * eps) * (1 + 1e-12))
    assert mean_squared_gradient(gamma, steps, a, c)[0] <= eps


def test_descent_lemma_is_an_equality_in_one_dimension():
    L, gamma, a, c, K = 2.0, 0.2, 0.5, 0.7, 50
    curvature = np.array([L])
    mean, last = mean_squared_gradient(gamma, K, a, c, curvature, x=3.0)
    left = mean * (1 - L * gamma * (1 + a) / 2)
    assert left == pytest.approx((L / 2 * 9 - last) / (gamma * K) + L * gamma * c / 2, rel=1e-12)


def test_promised_steps_cannot_be_fewer():
    L, gamma, eps = 2.0, 0.3, 1e-3
    K = steps_to_accuracy(gamma, L, L / 2 * 9, eps, 0.0, 0.0)
    curvature = np.array([L])
    assert mean_squared_gradient(gamma, K, 0.0, 0.0, curvature, x=3.0)[0] <= eps
    assert mean_squared_gradient(gamma, K - 2, 0.0, 0.0, curvature, x=3.0)[0] > eps


def test_no_promise_is_infinite():
    assert steps_to_accuracy(2.0, 1.0, 1.0, 0.1, 0.0, 0.0) == math.inf
    assert steps_to_accuracy(1.0, 1.0, 1.0, 0.1, 1.0, 0.0) == math.inf
    assert steps_to_accuracy(1.0, 1.0, 0.0, 0.1, 0.0, 0.2) == math.inf
    assert steps_to_accuracy(1.0, 1.0, 0.0, 0.1, 0.0, 0.05) == 1


def test_step_sizes_by_hand():
    assert sgd_one(2.0, 0.1, 4.0).gamma == pytest.approx(0.1 / 16)
    assert sgd_one(2.0, 0.1, 0.0).gamma == 0.5
    assert minibatch_sgd(2.0, 0.1, 4.0, 10).gamma == pytest.approx(0.1 * 10 / 16)
    assert minibatch_sgd(2.0, 0.1, 4.0, 1000).gamma == 0.5
    assert qsgd(2.0, 0.1, 4.0, 9.0, 5).gamma == pytest.approx(5 * 0.1 / (2 * 10 * 2 * 4))
    assert qsgd(2.0, 0.1, 0.0, 9.0, 5).gamma == pytest.approx(1 / (2 * (1 + 9 / 5)))
    assert shadowheart_sgd(2.0, 0.1).gamma == 0.25
    assert shadowheart_sgd(2.0, 0.1, N=0.4).gamma == pytest.approx(0.1)
    assert shadowheart_sgd(2.0, 0.1, N=4.0).gamma == 0.25
    assert asynchronous_sgd(2.0, 0.1, 4.0, 7).gamma == pytest.approx(0.1 / 32)
    assert asynchronous_sgd(2.0, 0.1, 0.01, 7).gamma == pytest.approx(1 / 28)
    assert ef21(2.0, 3.0, 0.1, 1.0).gamma == 0.5
    # α = 3/4: θ = 1/2, β = 1/2
    assert ef21(2.0, 3.0, 0.1, 0.75).gamma == pytest.approx(1 / 5)
    # α = 5/9: θ = 1/3, β = 4/3
    assert ef21(2.0, 3.0, 0.1, 5 / 9).gamma == pytest.approx(1 / 8)
    assert marina(2.0, 3.0, 0.1, 9.0, 0.2, 4).gamma == pytest.approx(1 / (2 + 3 * 3))
    assert marina(2.0, 3.0, 0.1, 9.0, 1.0, 4).gamma == 0.5


def test_tiny_alpha_keeps_its_digits():
    """√(β/θ) = √(1−α)/(1−√(1−α)), which tends to 2/α − 1."""
    assert 1 / ef21(1.0, 1.0, 0.1, 1e-12).gamma == pytest.approx(2e12, rel=1e-10)


def test_steps_by_hand():
    assert sgd_one(2.0, 0.1, 0.0).steps(3.0) == math.ceil(2 * 3.0 * 2 / 0.1)
    assert shadowheart_sgd(2.0, 0.125).steps(3.0) == 8 * 2 * 3 / 0.125
    assert asynchronous_sgd(2.0, 0.125, 4.0, 7).steps(3.0) == 8 * 7 * 6 * 8 + 16 * 4 * 6 * 64
    assert marina(2.0, 3.0, 0.125, 9.0, 1.0, 4).steps(3.0) == 2 * 3 * 2 * 8
    assert ef21(2.0, 3.0, 0.125, 0.75, error=1.0).steps(3.0) == pytest.approx(240 + 16, abs=1)
    assert ef21(2.0, 3.0, 0.125, 0.75).steps(0.0) == 1


@pytest.mark.parametrize("sigma2", [0.0, 0.05, 0.1, 0.15, 40.0])
def test_rennala_needs_at_most_eight(sigma2):
    rule = rennala_sgd(2.0, 0.1, sigma2)
    assert rule.steps(3.0) <= math.ceil(8 * 2.0 * 3.0 / 0.1 * (1 + 1e-12))
    assert rule.gamma >= 1 / 4 * (1 - 1e-12)


@pytest.mark.parametrize("N", [0.2, 0.9, 1.0, 3.0])
def test_shadowheart_promises_at_most_eight(N):
    rule = shadowheart_sgd(1.0, 0.05, N)
    Delta = 0.5 * SPECTRUM.sum()
    steps = rule.steps(Delta)
    assert steps <= math.ceil(8 * Delta / (0.05 * min(1, N)) * (1 + 1e-12))
    assert mean_squared_gradient(rule.gamma, steps, 1 / N, 0.05 / N)[0] <= 0.05


def test_noise_batch():
    assert [noise_batch(S) for S in (0.0, 0.3, 1.0, 1.1, 100.0)] == [1, 1, 1, 2, 100]


@pytest.mark.parametrize(("R", "sigma2"), [(1, 0.0), (1, 1.0), (8, 0.0), (8, 0.2), (5, 2.0)])
def test_asynchronous_promise_under_the_largest_delay(R, sigma2):
    """Every gradient R − 1 steps old; E‖∇f‖² is exact from the linear recursion's response."""
    eps, Delta = 0.2, 0.5 * SPECTRUM.sum()
    rule = asynchronous_sgd(1.0, eps, sigma2, R)
    K = int(rule.steps(Delta))
    x = np.ones((K, SPECTRUM.size))
    response = np.zeros((K, SPECTRUM.size))
    response[0] = 1.0
    for path in (x, response):
        for k in range(1, K):
            read = k - R
            back = path[max(read, 0)] if path is x else (path[read] if read >= 0 else 0.0)
            path[k] = path[k - 1] - rule.gamma * SPECTRUM * back
    grown = np.zeros_like(response)
    grown[1:] = np.cumsum(response[:-1] ** 2, axis=0)
    second = x**2 + rule.gamma**2 * sigma2 / SPECTRUM.size * grown
    assert np.mean(np.sum(SPECTRUM**2 * second, axis=1)) <= eps


def quadratics(rng, n, d):
    """Symmetric A_i, their mean, its L and L_plus, and the first gap at x⁰ = 1, with f* = 0."""
    A = rng.normal(size=(n, d, 2 * d))
    A = A @ A.transpose(0, 2, 1) / (2 * d)
    mean = A.mean(axis=0)
    L = np.linalg.eigvalsh(mean)[-1]
    L_plus = math.sqrt(np.linalg.eigvalsh(np.mean(A @ A, axis=0))[-1])
    return A, mean, L, L_plus, 0.5 * mean.sum()


def test_ef21_keeps_its_promise():
    n, d, kept, eps = 5, 8, 2, 0.3
    A, mean, L, L_plus, Delta = quadratics(np.random.default_rng(0), n, d)
    x = np.ones(d)

    def top(v):
        smallest = np.argsort(np.abs(v), axis=1)[:, : d - kept]
        out = v.copy()
        np.put_along_axis(out, smallest, 0.0, axis=1)
        return out

    g = top(A @ x)
    rule = ef21(L, L_plus, eps, kept / d, error=np.mean(np.sum((g - A @ x) ** 2, axis=1)))
    K = int(rule.steps(Delta))
    total = 0.0
    for _ in range(K):
        total += np.sum((mean @ x) ** 2)
        x = x - rule.gamma * g.mean(axis=0)
        g = g + top(A @ x - g)
    assert 0.01 * eps < total / K <= eps


def test_marina_keeps_its_promise():
    n, d, kept, p, eps, runs = 5, 8, 2, 0.25, 0.3, 100
    rng = np.random.default_rng(1)
    A, mean, L, L_plus, Delta = quadratics(rng, n, d)
    rule = marina(L, L_plus, eps, d / kept - 1, p, n)
    K = int(rule.steps(Delta))
    x = np.ones((runs, d))
    g = x @ mean
    total = np.zeros(runs)
    for _ in range(K):
        total += np.sum((x @ mean) ** 2, axis=1)
        step = -rule.gamma * g
        x = x + step
        change = np.einsum("nij,rj->rni", A, step)
        keep = rng.random((runs, n, d)).argsort(axis=2) < kept
        compressed = g + np.mean(np.where(keep, change * d / kept, 0.0), axis=1)
        g = np.where(rng.random((runs, 1)) < p, x @ mean, compressed)
    assert 0.01 * eps < np.mean(total) / K <= eps


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: sgd(0.0, 0.1, 0.0, 0.0), "L = 0.0"),
        (lambda: sgd(1.0, -0.1, 0.0, 0.0), "eps = -0.1"),
        (lambda: sgd(1.0, 0.1, -1.0, 0.0), "a = -1.0"),
        (lambda: sgd(1.0, 0.1, 0.0, math.nan), "c = nan"),
        (lambda: minibatch_sgd(1.0, 0.1, 1.0, 0), "batch = 0"),
        (lambda: rennala_sgd(1.0, 0.0, 1.0), "eps = 0.0"),
        (lambda: qsgd(1.0, 0.1, 1.0, 1.0, 0), "n = 0"),
        (lambda: shadowheart_sgd(1.0, 0.1, N=0.0), "N = 0.0"),
        (lambda: asynchronous_sgd(1.0, 0.1, 1.0, 0), "R = 0"),
        (lambda: ef21(1.0, 1.0, 0.1, 0.0), "alpha = 0.0"),
        (lambda: ef21(1.0, 1.0, 0.1, 1.5), "alpha = 1.5"),
        (lambda: marina(1.0, 1.0, 0.1, 1.0, 0.0, 1), "p = 0.0"),
        (lambda: sgd_one(1.0, 0.1, 1.0).steps(-1.0), "Delta = -1.0"),
        (lambda: steps_to_accuracy(0.0, 1.0, 1.0, 0.1, 0.0, 0.0), "gamma = 0.0"),
        (lambda: noise_batch(math.inf), "noise_ratio = inf"),
    ],
)
def test_bad_values_are_named(call, names):
    with pytest.raises(ConfigurationError, match=names):
        call()
