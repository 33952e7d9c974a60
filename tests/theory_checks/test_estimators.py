"""The checks of one server step pass what is right and find what is wrong."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import METHODS, D, N, costs_for

from compressors import Identity, RandK
from dopt.errors import ConfigurationError
from dopt.methods import (
    QSGD,
    GradientMethod,
    MinibatchSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
)
from dopt.policies import Rounds, pattern
from dopt.problems import GaussianNoise, ScalarNoise, TridiagonalQuadratic
from theory_checks.estimators import (
    first_step,
    round_time,
    shadowheart_variance,
    step_variance,
    unbiased_step,
)


DRAWS, SIGMA = 4000, 0.3
SIGMA2, OMEGA = D * SIGMA**2, D / 4 - 1
PROBLEM = TridiagonalQuadratic(D, mu=0.1, noise=GaussianNoise(SIGMA))
X = jnp.asarray(np.random.default_rng(0).standard_normal(D))
GRADIENT = [name for name, build in METHODS.items() if isinstance(build(D, N), GradientMethod)]


@pytest.mark.parametrize("name", GRADIENT)
def test_a_step_of_fresh_gradients_is_unbiased(name):
    method = METHODS[name](D, N)
    found = unbiased_step(PROBLEM, method, costs_for(method, PROBLEM), X, draws=DRAWS)
    assert abs(found.z) < 5
    assert 0 < found.standard_error < 0.1


@pytest.mark.parametrize(
    ("method", "a", "c"),
    [
        (SGDOne(0.1), 0.0, SIGMA2),
        (MinibatchSGD(0.1), 0.0, SIGMA2 / N),
        (RennalaSGD(0.1, batch=9), 0.0, SIGMA2 / 9),
        (QSGD(0.1, RandK(4)), OMEGA / N, (1 + OMEGA) * SIGMA2 / N),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_variance_of_a_step_is_that_of_its_theorem(method, a, c):
    costs = costs_for(method, PROBLEM)
    found = step_variance(PROBLEM, method, costs, X, a=a, c=c, draws=DRAWS)
    assert abs(found.z) < 5
    assert found.standard_error < 0.03 * found.mean
    wrong = step_variance(PROBLEM, method, costs, X, a=a, c=1.2 * c, draws=DRAWS)
    assert wrong.z < -5


@pytest.mark.parametrize("noise", [GaussianNoise(SIGMA), ScalarNoise(SIGMA)])
@pytest.mark.parametrize("clip", [False, True])
def test_the_variance_lemma_of_shadowheart(clip, noise):
    problem = replace(PROBLEM, noise=noise)
    method = ShadowheartSGD(0.1, RandK(4), noise_ratio=3.0, clip=clip)
    found = shadowheart_variance(problem, method, costs_for(method, problem), X, draws=DRAWS)
    assert abs(found.exact.z) < 5
    assert found.bound.z < 5
    assert found.exact.mean == found.bound.mean
    plan = method.plan(costs_for(method, problem), D)
    norm2 = float(jnp.sum(problem.grad(X) ** 2))
    assert found.bound.expected == pytest.approx((norm2 + SIGMA2 / 3) / plan.N)
    assert found.exact.expected <= found.bound.expected * (1 + 1e-12)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform(ShadowheartSGD):
    """Weighs all gradients alike: unbiased, but not the best weights."""

    def policy(self, costs, d):
        rounds = super().policy(costs, d)
        weight = np.full(len(rounds.usual.worker), 1 / rounds.usual.gradients.sum())
        return Rounds(rounds.usual._replace(weight=weight))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OnceForAll(ShadowheartSGD):
    """Forgets that the weight w counts once for every message."""

    def policy(self, costs, d):
        rounds = super().policy(costs, d)
        return Rounds(rounds.usual._replace(weight=rounds.usual.weight / rounds.usual.messages))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Means(ShadowheartSGD):
    """Sends the mean of a worker's gradients in place of their sum."""

    def uplink(self, problem, memory, models, job, *, key):
        memory, total = super().uplink(problem, memory, models, job, key=key)
        return memory, total / job.gradients.astype(total.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TooFew(MinibatchSGD):
    """Divides by n − 1."""

    def policy(self, costs, d):
        return Rounds(pattern(range(costs.n), dense=True, weight=1 / (costs.n - 1)))


@pytest.mark.parametrize(
    "method",
    [
        OnceForAll(0.1, RandK(4), noise_ratio=3.0),
        Means(0.1, RandK(4), noise_ratio=3.0),
        TooFew(0.1),
    ],
    ids=lambda method: type(method).__name__,
)
def test_a_wrong_weight_is_found(method):
    found = unbiased_step(PROBLEM, method, costs_for(method, PROBLEM), X, draws=DRAWS)
    assert abs(found.z) > 20


def test_weights_that_are_not_the_best_are_found_by_the_variance():
    method = Uniform(0.1, RandK(4), noise_ratio=3.0)
    costs = costs_for(method, PROBLEM)
    assert abs(unbiased_step(PROBLEM, method, costs, X, draws=DRAWS).z) < 5
    found = shadowheart_variance(PROBLEM, method, costs, X, draws=DRAWS)
    assert found.exact.z > 20


def test_exact_steps_have_no_spread_and_no_bias():
    problem, method = TridiagonalQuadratic(D, mu=0.1), QSGD(0.1, Identity())
    costs = costs_for(method, problem)
    assert abs(unbiased_step(problem, method, costs, X, draws=100).z) < 5
    assert abs(step_variance(problem, method, costs, X, a=0.0, c=0.0, draws=100).z) < 5
    assert step_variance(problem, method, costs, X, a=-1e-9, c=0.0, draws=100).z > 5


def test_other_seeds_are_other_draws():
    method = SGDOne(0.1)
    costs = costs_for(method, PROBLEM)
    one, other = (first_step(PROBLEM, method, costs, X, draws=100, seed=s) for s in (0, 1))
    assert len(np.unique(np.concatenate([one, other]), axis=0)) == 200
    again = first_step(PROBLEM, replace(method, step_size=7.0), costs, X, draws=100)
    np.testing.assert_array_equal(one, again)


def test_a_round_takes_at_most_twice_the_equilibrium_time():
    method = METHODS["shadowheart"](D, N)
    costs = costs_for(method, PROBLEM)
    plan = method.plan(costs, D)
    seconds, bound = round_time(plan, costs)
    by_hand = [
        b * h + (tau_dense if dense else m * tau)
        for b, m, dense, h, tau, tau_dense in zip(
            plan.gradients, plan.messages, plan.dense, costs.h, costs.tau, costs.tau_dense,
            strict=True,
        )
        if m
    ]  # fmt: skip
    assert seconds == pytest.approx(max(by_hand))
    assert seconds <= bound == 2 * plan.t_star
    greedy = plan._replace(gradients=2 * plan.gradients, messages=2 * plan.messages)
    seconds, bound = round_time(greedy, costs)
    assert seconds > bound


def test_what_cannot_be_measured_is_refused():
    method = METHODS["shadowheart"](D, N)
    costs = costs_for(method, PROBLEM)
    with pytest.raises(ConfigurationError, match=r"draws = 99 .* at least 100"):
        first_step(PROBLEM, method, costs, X, draws=99)
    with pytest.raises(ConfigurationError, match="noise_ratio = 0"):
        shadowheart_variance(PROBLEM, replace(method, noise_ratio=0.0), costs, X, draws=100)
