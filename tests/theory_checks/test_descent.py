"""Every method keeps its theorem's descent at its step size of theory, and not at larger ones."""

from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from compressors import Budgeted, Constant, CorrelatedQuantization, PermK, RandK, TopK
from compressors.allocation import Knapsack, Uniform
from compressors.ladders import TopKLadder
from dopt.errors import ConfigurationError, UnsupportedError
from dopt.methods import (
    DASHA,
    DASHAMVR,
    DCGD,
    DIANA,
    EF14,
    EF21,
    EF21P,
    EF21PP,
    EF21SGDM,
    MARINA,
    PPMARINA,
    VRMARINA,
    GradientDescent,
    Kimad,
    LocalSGD,
    MinibatchSGD,
)
from dopt.policies import RoundTime
from dopt.problems import (
    Constants,
    GaussianNoise,
    MatrixQuadratics,
    Problem,
    from_loss,
)
from dopt.theory import dasha_mvr_step_size, vr_marina_step_size
from simulators.cluster import Cluster
from theory_checks.bias import bias_left
from theory_checks.descent import descent
from theory_checks.lyapunov import Potential, minimiser, potential
from theory_checks.trajectories import Trajectories


N, D, SIGMAS = 4, 6, 5.0
RUNS = {"steps": 12, "timelines": 32, "seeds": 4}
BIAS = {"steps": 13, "timelines": 128, "seeds": 4}
"""The same program: `descent` takes one step more."""


def costs_of(method, problem):
    bits = method.message_bits(problem.d, problem.dtype, N)
    return Cluster(np.ones(N), 0.1, 0.1).costs(d=problem.d, dtype=problem.dtype, message_bits=bits)


@cache
def unequal(noise=0.0):
    """Definite matrices far apart."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(N, D, 2 * D))
    A = A @ A.transpose(0, 2, 1) / (2 * D)
    return MatrixQuadratics.from_matrices(
        A, rng.normal(size=(N, D)), noise=GaussianNoise(noise) if noise else None
    )


@cache
def equal():
    """The same quadratic on every worker; the mean of four equal matrices is exact, and L_pm 0."""
    A, b = np.asarray(unequal().A[:1]), np.asarray(unequal().b[:1])
    return MatrixQuadratics.from_matrices(np.tile(A, (N, 1, 1)), np.tile(b, (N, 1)))


def _loss(x, examples):
    a, y = examples
    return jnp.mean((a @ x - y) ** 2) / 2


@cache
def samples():
    """Least squares of eight samples a worker, and L_batch of one of them."""
    rng = np.random.default_rng(1)
    a, y = rng.normal(size=(N, 8, D)), rng.normal(size=(N, 8))
    each = np.einsum("nsi,nsj->nsij", a, a)
    local = each.mean(axis=1)
    mean = local.mean(axis=0)

    def top(M):
        return float(np.linalg.eigvalsh(M)[-1])

    squares = np.mean(local @ local, axis=0)
    L, L_plus, L_pm = top(mean), top(squares) ** 0.5, top(squares - mean @ mean) ** 0.5
    apart = each - local[:, None]
    L_batch = top(np.mean(apart @ apart, axis=(0, 1))) ** 0.5
    x = np.linalg.solve(mean, np.einsum("nsi,ns->i", a, y) / (N * 8))
    least = float(np.mean((a @ x - y) ** 2) / 2)
    problem = from_loss(
        _loss,
        np.ones(D),
        (a.reshape(-1, D), y.reshape(-1)),
        n=N,
        constants=Constants(f_star=Constant(least, "exact", "x*")),
    )
    return problem, vr_marina_step_size(L, L_plus, L_pm, L_batch, 2 / N, 0.0, 0.2, N)


def mvr(p):
    L, L_plus = (p.constants.need(name, "") for name in ("L", "L_plus"))
    # Additive noise: two models on one sample have the same.
    return DASHAMVR(dasha_mvr_step_size(L, L_plus, 0.0, 2.0, 0.3, N), RandK(2), momentum=0.3)


def kimad(rule):
    """Two layers on ladders, links that hold what the rounds' time leaves."""
    layers = Budgeted((TopKLadder((0.3, 0.6, 1.0)),) * 2, (D - D // 2, D // 2), rule)
    return Kimad(0.0, layers, layers, RoundTime(1.6))


class Case(NamedTuple):
    """A method at step size of theory, its problem, and a factor that is too much."""

    problem: Problem
    method: Any
    factor: float


CASES = {
    "gradient descent": lambda: Case(unequal(), GradientDescent(0.0), 2),
    "DCGD": lambda: Case(unequal(), DCGD(0.0, RandK(2)), 8),
    "DIANA": lambda: Case(unequal(), DIANA(0.0, RandK(2)), 12),
    "MARINA": lambda: Case(unequal(), MARINA(0.0, RandK(2), p=0.3), 4),
    "MARINA, PermK": lambda: Case(unequal(), MARINA(0.0, PermK(), p=0.3), 4),
    "MARINA, correlated": lambda: Case(unequal(), MARINA(0.0, CorrelatedQuantization(), p=0.3), 4),
    "MARINA, correlated, equal": lambda: Case(
        equal(), MARINA(0.0, CorrelatedQuantization(), p=0.3), 4
    ),
    "PP-MARINA": lambda: Case(unequal(), PPMARINA(0.0, RandK(2), p=0.3, participants=2), 4),
    "VR-MARINA": lambda: Case(samples()[0], VRMARINA(samples()[1], RandK(2), p=0.2), 6),
    "DASHA": lambda: Case(unequal(), DASHA(0.0, RandK(2)), 4),
    "DASHA-MVR": lambda: Case(unequal(0.3), mvr(unequal(0.3)), 4),
    "EF14": lambda: Case(equal(), EF14(0.0, TopK(2)), 20),
    "EF21": lambda: Case(unequal(), EF21(0.0, TopK(2)), 8),
    "EF21-PP": lambda: Case(unequal(), EF21PP(0.0, TopK(2), participants=2), 8),
    "EF21-SGDM": lambda: Case(unequal(0.3), EF21SGDM(0.0, TopK(2), momentum=0.3), 4),
    "EF21-P": lambda: Case(unequal(), EF21P(0.0, TopK(2)), 8),
    "Kimad": lambda: Case(unequal(), kimad(Uniform()), 30),
    "Kimad+": lambda: Case(unequal(), kimad(Knapsack(50)), 30),
    "Local SGD": lambda: Case(equal(), LocalSGD(0.0, 3), 12),
    "Local SGD, unequal": lambda: Case(unequal(0.3), LocalSGD(0.0, 3), 0),
}


def at_theory(problem, method):
    if method.step_size:
        return method
    return replace(method, step_size=method.theory_step_size(problem.constants, problem.d, N))


@pytest.mark.parametrize("name", CASES)
def test_every_method_keeps_its_theorem(name):
    problem, method, factor = CASES[name]()
    method = at_theory(problem, method)
    costs = costs_of(method, problem)
    kept = descent(problem, method, costs, **RUNS)
    assert max(kept.worst.z, kept.total.z, kept.rate.z) < SIGMAS
    assert kept.rate.expected > 0
    if factor:
        larger = replace(method, step_size=factor * method.step_size)
        assert descent(problem, larger, costs, **RUNS).worst.z > SIGMAS


@pytest.mark.parametrize(
    "name", ["MARINA", "MARINA, PermK", "MARINA, correlated", "PP-MARINA", "VR-MARINA", "DASHA"]
)
def test_the_bias_dies_out(name):
    problem, method, _ = CASES[name]()
    method = at_theory(problem, method)
    assert abs(bias_left(problem, method, costs_of(method, problem), **BIAS).z) < SIGMAS


@jax.tree_util.register_dataclass
class Shrinking(RandK):
    """Says that it is unbiased."""

    def expand(self, code):
        return 0.7 * super().expand(code)

    def expand_sum(self, codes, weights):
        return 0.7 * super().expand_sum(codes, weights)


def test_a_biased_compressor_is_found():
    method = at_theory(unequal(), MARINA(0.0, Shrinking(2), p=0.3))
    assert abs(bias_left(unequal(), method, costs_of(method, unequal()), **BIAS).z) > SIGMAS


def test_a_user_gives_a_potential():
    """f alone rises now and then where MARINA's Φ falls."""

    def alone(problem, method, runs):
        return Potential(runs.value[:, :-1], 0.0, float(method.step_size))

    method = at_theory(unequal(), MARINA(0.0, RandK(2), p=0.3))
    costs = costs_of(method, unequal())
    assert descent(unequal(), method, costs, potential=alone, **RUNS).worst.z > SIGMAS


def test_the_minimiser_of_a_quadratic():
    best = minimiser(unequal())
    assert np.linalg.norm(unequal().grad(best)) < 1e-12
    quartic = from_loss(_quartic, np.ones(D), np.ones((N, 1)), n=N)
    with pytest.raises(UnsupportedError, match="strongly convex quadratic"):
        minimiser(quartic)


def _quartic(x, examples):
    return jnp.sum(x**4) * jnp.mean(examples)


def standing():
    """One run that never moves."""
    x = np.zeros((1, 2, D))
    return Trajectories(x, (), (), x[..., 0], x, np.zeros((1, 2, N, D)))


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (MinibatchSGD(0.1), "no Lyapunov function of Minibatch SGD"),
        (LocalSGD(0.1, 2, participants=2), "participants = None"),
        (LocalSGD(0.1, 2, compressor=RandK(2)), "travel uncompressed"),
        (EF21P(0.1, TopK(2), compressor=RandK(2)), "travel uncompressed"),
        (EF21(0.1, TopK(2), batch=1), "exact gradients; leave out batch"),
        (EF14(0.1, TopK(2), batch=1), "exact gradients; leave out batch"),
        (DIANA(0.1, RandK(2), batch=1), "exact gradients; leave out batch"),
        (GradientDescent(0.1, optimizer=partial(optax.sgd, momentum=0.9)), "plain steps"),
    ],
)
def test_what_no_theorem_covers_is_refused(method, names):
    with pytest.raises(UnsupportedError, match=names):
        potential(unequal(), method, standing())


def test_a_constant_that_is_missing_is_named():
    problem = samples()[0]
    with pytest.raises(ConfigurationError, match="potential of EF21-P needs the constant L"):
        potential(problem, EF21P(0.1, TopK(2)), standing())


def test_too_few_runs_are_refused():
    method, costs = GradientDescent(0.1), costs_of(GradientDescent(0.1), unequal())
    for few in ({"steps": 1}, {"timelines": 7}, {"seeds": 1}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(few))} = .*; give at least"):
            descent(unequal(), method, costs, **few)
