"""The theory columns: by hand on two workers, on random clusters, and against measured runs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from compressors import Identity, IndependentFamily, RandK
from dopt.costs import Costs
from dopt.data import Digits
from dopt.methods import (
    EF21,
    MARINA,
    QSGD,
    AsynchronousSGD,
    GradientDescent,
    MinibatchSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
)
from dopt.problems import GaussianNoise, MultinomialLogistic, ProgressiveNoise, TridiagonalQuadratic
from dopt.replay import replay
from experiments.theory import Setting, bits_bound, lower_bound, setting_of, upper_bound
from simulators import timeline
from simulators.cluster import Cluster


L, SIGMA2, DELTA, EPS, D = 2.0, 6.0, 5.0, 1.5, 10
SETTING = Setting(L, SIGMA2, DELTA, EPS, D)
S = SIGMA2 / EPS


def seconds_of(h, tau, dense, down):
    """Costs with these seconds of every worker."""
    return Costs(*map(np.array, (h, tau, dense, down)), message_bits=64, dense_bits=320)


COSTS = seconds_of([1.0, 2.0], [0.5, 1.0], [3.0, 4.0], [0.25, 0.0])


def steps(gamma, a, c):
    """The descent lemma: least K with Δ/(γK) + Lγc/2 <= ε(1 − Lγ(1 + a)/2)."""
    return math.ceil(DELTA / gamma / (EPS * (1 - L * gamma * (1 + a) / 2) - L * gamma * c / 2))


def test_minibatch_sgd():
    bound = upper_bound(MinibatchSGD(1.0), COSTS, SETTING)
    assert bound.step_size == min(1 / L, 2 * EPS / (2 * L * SIGMA2)) == 0.125
    assert bound.seconds == pytest.approx(steps(0.125, 0.0, SIGMA2 / 2) * (2 + 4), rel=1e-12)


def test_qsgd():
    omega = D / 2 - 1
    bound = upper_bound(QSGD(1.0, RandK(2)), COSTS, SETTING)
    gamma = min(1 / (L * (1 + omega / 2)), 2 * EPS / (2 * (1 + omega) * L * SIGMA2))
    assert bound.step_size == pytest.approx(gamma)
    K = steps(gamma, omega / 2, (1 + omega) * SIGMA2 / 2)
    assert bound.seconds == pytest.approx(K * (2 + 1), rel=1e-12)


def test_sgd_one():
    bound = upper_bound(SGDOne(1.0), COSTS, SETTING)
    assert bound.step_size == EPS / (2 * L * SIGMA2) == 0.0625
    assert bound.seconds == pytest.approx(steps(0.0625, 0.0, SIGMA2) * 1, rel=1e-12)


def test_rennala_sgd():
    """Theory's own batch B = σ²/ε = 4, whatever the method's."""
    bound = upper_bound(RennalaSGD(1.0, 100), COSTS, SETTING)
    assert bound.step_size == min(1 / L, 4 * EPS / (2 * L * SIGMA2)) == 0.25
    slowest_alone, both = (4 + 1) * 4.25, (4 + 2) / (1 / 4.25 + 1 / 6)
    per_step = 2 * min(slowest_alone, both)
    assert bound.seconds == pytest.approx(steps(0.25, 0.0, SIGMA2 / 4) * per_step, rel=1e-12)


def t_star(h, tau, omega):
    """The equilibrium time in the two steps of the paper."""
    order = np.argsort(np.maximum(h, tau))
    h, tau = np.asarray(h)[order], np.asarray(tau)[order]

    def root(j):
        hs, taus = h[:j], tau[:j]

        def excess(s):
            terms = 2 * taus * omega + 4 * taus * hs * S * omega / s + 2 * hs * S
            return s * np.sum(1 / terms) - 1

        return brentq(excess, 1e-9, 1e9, xtol=1e-12)

    return min(max(h[j], tau[j], root(j + 1)) for j in range(len(h)))


def test_shadowheart_sgd():
    """A round takes 2t* and, where the model must come down, its download."""
    bound = upper_bound(ShadowheartSGD(1.0, RandK(2), 99.0), COSTS, SETTING)
    assert bound.step_size == 1 / (2 * L)
    K = math.ceil(8 * L * DELTA / EPS)
    assert steps(0.25, 1.0, EPS) == K
    round_seconds = 2 * t_star(COSTS.h, COSTS.tau, D / 2 - 1) + 0.25
    assert bound.seconds == pytest.approx(K * round_seconds, rel=1e-9)


def test_the_clip_of_shadowheart_costs_step_size():
    """Cheap messages: 5 of them where 2000 fit, so that N < 1 and γ = N/(2L)."""
    cheap = seconds_of([1.0, 2.0], [0.001, 0.001], [0.005, 0.005], [0.0, 0.0])
    method = ShadowheartSGD(1.0, RandK(2), 99.0, clip=True)
    plan = replace(method, noise_ratio=S).plan(cheap, D)
    assert plan.messages.max() == 5
    assert plan.N < 1
    bound = upper_bound(method, cheap, SETTING)
    assert bound.step_size == pytest.approx(plan.N / (2 * L))
    assert bound.seconds > upper_bound(replace(method, clip=False), cheap, SETTING).seconds


@pytest.mark.parametrize(("rule", "times"), [("plain", 1), ("adaptive", 2)])
def test_asynchronous_sgd(rule, times):
    """Jobs of 4.25 and 6 s: during a slow one at most 2 fast ones arrive, and itself."""
    bound = upper_bound(AsynchronousSGD(1.0, rule), COSTS, SETTING)
    R = 2 + 1 + 1
    assert bound.step_size == min(1 / (2 * R * L), EPS / (4 * L * SIGMA2)) == 0.03125
    K = times * math.ceil(8 * R * L * DELTA / EPS + 16 * SIGMA2 * L * DELTA / EPS**2)
    ends = sorted([j * 4.25 for j in range(1, K + 1)] + [j * 6.0 for j in range(1, K + 1)])
    assert bound.seconds == pytest.approx(ends[K - 1], rel=1e-12)


def test_equal_workers_have_no_late_gradients():
    """All delays are below n: the delay-adaptive rule is the plain one."""
    equal = seconds_of([2.0] * 4, [0.0] * 4, [1.0] * 4, [0.0] * 4)
    plain, adaptive = (AsynchronousSGD(1.0, rule) for rule in ("plain", "adaptive"))
    assert upper_bound(plain, equal, SETTING) == upper_bound(adaptive, equal, SETTING)


def test_where_theory_promises_nothing():
    silent = upper_bound(AsynchronousSGD(1.0, "discard"), COSTS, SETTING)
    assert math.isnan(silent.step_size)
    assert silent.seconds == math.inf
    assert upper_bound(EF21(1.0, Identity()), COSTS, SETTING).seconds == math.inf


def test_workers_that_never_answer():
    """Rounds of all wait for ever; the others do without them."""
    h, tau = [1.0, 2.0, np.inf], [0.5, 1.0, 1.0]
    with_one = seconds_of(h, tau, [3.0, 4.0, 4.0], [0.25, 0.0, 0.0])
    for method in (MinibatchSGD(1.0), QSGD(1.0, RandK(2))):
        assert upper_bound(method, with_one, SETTING).seconds == math.inf
    shadowheart = ShadowheartSGD(1.0, RandK(2), S)
    for method in (SGDOne(1.0), RennalaSGD(1.0, 1), AsynchronousSGD(1.0, "plain"), shadowheart):
        alone = upper_bound(method, COSTS, SETTING)
        assert upper_bound(method, with_one, SETTING) == pytest.approx(alone, rel=1e-9)


def test_the_lower_bound_is_that_of_one_coordinate_a_message():
    one = replace(COSTS, tau=np.array([0.1, 0.2]))
    expected = L * DELTA / EPS * t_star(one.h, one.tau, D - 1)
    assert lower_bound(one, SETTING) == pytest.approx(expected, rel=1e-9)


TIMES = st.lists(st.floats(0.1, 10.0), min_size=1, max_size=6)


def cluster_costs(h, uplink, message_bits=64):
    return Cluster(h, uplink, downlink=0.01).costs(d=D, dtype=np.float64, message_bits=message_bits)


@settings(max_examples=40, deadline=None)
@given(h=TIMES, uplink=st.floats(0.0, 1.0))
def test_a_batch_of_rennala_comes_in_time(h, uplink):
    costs, K = cluster_costs(h, uplink), 25
    per_step = upper_bound(RennalaSGD(1.0, 1), costs, SETTING).seconds / steps(
        0.25, 0.0, SIGMA2 / 4
    )
    schedule = timeline(RennalaSGD(1.0, 4).policy(costs, D), costs, steps=K)
    assert np.diff(schedule.time).max() <= per_step * (1 + 1e-6)


@settings(max_examples=40, deadline=None)
@given(h=TIMES, uplink=st.floats(0.0, 1.0))
def test_a_round_of_shadowheart_ends_in_time(h, uplink):
    costs = cluster_costs(h, uplink, message_bits=128)
    method = ShadowheartSGD(1.0, RandK(1), S)
    per_step = upper_bound(method, costs, SETTING).seconds / math.ceil(8 * L * DELTA / EPS)
    schedule = timeline(method.policy(costs, D), costs, steps=3)
    assert np.diff(schedule.time).max() <= per_step * (1 + 1e-6)


@settings(max_examples=40, deadline=None)
@given(h=TIMES, uplink=st.floats(0.0, 1.0))
def test_delays_and_arrivals_of_asynchronous_sgd_are_bounded(h, uplink):
    """Delays below R, weights that sum to half of the steps, and K arrivals in time."""
    costs, method = cluster_costs(h, uplink), AsynchronousSGD(1.0)
    quiet = Setting(L, 0.0, DELTA, EPS, D)
    bound = upper_bound(method, costs, quiet)
    R = round(1 / (2 * L * bound.step_size))
    schedule = timeline(method.policy(costs, D), costs, steps=300)
    arrivals = schedule.arrivals
    assert (arrivals.step - arrivals.version).max() < R
    assert arrivals.weight.sum() >= 300 / 2
    K = math.ceil(8 * R * L * DELTA / EPS)
    K *= 2 if costs.n + 1 < R else 1
    in_time = timeline(method.policy(costs, D), costs, steps=K)
    assert in_time.time[-1] <= bound.seconds * (1 + 1e-6)


def test_the_setting_of_a_problem():
    quadratic = TridiagonalQuadratic(20, mu=1e-3, noise=GaussianNoise(0.3))
    found = setting_of(quadratic, 0.5)
    matrix = (2 * np.eye(20) - np.eye(20, k=1) - np.eye(20, k=-1)) / 4
    values = np.linalg.eigvalsh(matrix)
    matrix += (1e-3 - values[0]) * np.eye(20)
    b = np.zeros(20)
    b[0] = -0.25
    x = np.zeros(20)
    x[0] = math.sqrt(20)
    gap = 0.5 * x @ matrix @ x - b @ x + 0.5 * b @ np.linalg.solve(matrix, b)
    assert found == pytest.approx((values[-1] - values[0] + 1e-3, 20 * 0.3**2, gap, 0.5, 20))
    assert setting_of(TridiagonalQuadratic(20, noise=ProgressiveNoise(0.5)), 0.5) is None


def test_the_setting_of_logistic_regression():
    """f* = 0 is a bound, so that the gap is the loss at the start."""
    images = np.random.default_rng(0).random((30, 4), np.float32)
    digits = Digits(images, np.arange(30, dtype=np.int32) % 10, "made up")
    found = setting_of(MultinomialLogistic.from_digits(digits, batch=2), 0.1)
    assert found.Delta == pytest.approx(math.log(10), rel=1e-6)
    assert (found.eps, found.d) == (0.1, 50)


METHODS = [
    MinibatchSGD(1.0),
    QSGD(1.0, RandK(2)),
    SGDOne(1.0),
    RennalaSGD(1.0, 2),
    AsynchronousSGD(1.0),
    ShadowheartSGD(1.0, RandK(1), 1.8),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_run_with_the_step_size_of_theory_keeps_the_promise(method):
    """(1/K) Σ_{k<K} E‖∇f(x^k)‖² <= ε within the seconds promised, on a quadratic with noise."""
    problem = TridiagonalQuadratic(20, mu=1e-3, noise=GaussianNoise(0.3))
    setting = setting_of(problem, 1.0)
    assert setting.sigma2 == pytest.approx(1.8)
    cluster = Cluster([1.0, 2.0, 3.0, 5.0, 8.0], [0.1, 0.02, 0.03, 0.05, 0.08], 0.01)
    bits = method.compressor.nbits(problem.d, problem.dtype)
    costs = cluster.costs(d=problem.d, dtype=problem.dtype, message_bits=bits)
    bound = upper_bound(method, costs, setting)
    method = replace(method, step_size=bound.step_size)
    # The average first meets the target long before the bound: records up to there are enough.
    schedule = timeline(method.policy(costs, problem.d), costs, seconds=bound.seconds)
    K = min(schedule.K, 300)
    schedule = schedule.until(K)
    trace = replay(problem, method, schedule, seeds=range(12), records=np.arange(K + 1))
    average = np.cumsum(trace.grad_norm2[:, 0].mean(0)) / np.arange(1, K + 2)
    met = average <= setting.eps
    assert trace.grad_norm2[:, 0, 0].min() > 5 * setting.eps
    assert met.any()
    assert met[met.argmax() :].all()
    assert trace.time[met.argmax()] <= bound.seconds


def test_bits_of_marina_and_of_gradient_descent():
    """2Δ/(γε) steps: the first dense, each later one with probability p."""
    gamma, p = 0.02, 0.25
    steps_needed = math.ceil(2 * DELTA / (gamma * EPS))
    marina = MARINA(1.0, IndependentFamily(RandK(2)), p)
    expected = 320 + (steps_needed - 1) * (p * 320 + (1 - p) * 64)
    assert bits_bound(marina, gamma, COSTS, SETTING) == pytest.approx(expected)
    assert bits_bound(GradientDescent(1.0), gamma, COSTS, SETTING) == steps_needed * 320
    assert math.isnan(bits_bound(marina, None, COSTS, SETTING))
    assert math.isnan(bits_bound(EF21(1.0, Identity()), gamma, COSTS, SETTING))
