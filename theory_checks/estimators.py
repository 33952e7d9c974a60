"""What theory says about one server step, measured: its mean, its variance, and its time.

Put your own method through it:

    unbiased_step(problem, MyMethod(0.1), costs, x, draws=4000)

All draws come from replays of the method's first step with as many data seeds, so what is measured
is the code that experiments run.
"""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods import GradientMethod, Method, ShadowheartSGD
from dopt.problems import Problem
from dopt.replay import replay
from dopt.theory import Plan, variance_coefficients
from simulators import timeline


LEAST_DRAWS = 100
"""Fewer draws have no standard error to speak of."""

ROUNDING = 64
"""Multiples of the machine epsilon below which a difference is rounding."""


class Comparison(NamedTuple):
    """A mean over draws beside its value in theory; z = (mean − expected) / standard_error.

    |z| of 5 and more refutes an equality, z of 5 and more refutes an upper bound.
    """

    mean: float
    standard_error: float
    expected: float
    z: float


class ShadowheartVariance(NamedTuple):
    """E‖g − ∇f(x)‖² against the lemma: its exact value, and the bound (‖∇f(x)‖² + ε)/N.

    `exact` is an equality where the compressor attains its ω at every vector and the noise its σ².
    """

    exact: Comparison
    bound: Comparison


class RoundTime(NamedTuple):
    """Seconds of a round, and the bound 2t*."""

    seconds: float
    bound: float


def first_step(
    problem: Problem,
    method: Method,
    costs: Costs,
    x: Float[Array, " d"],
    *,
    draws: int,
    seed: int = 0,
) -> Float[np.ndarray, "draws d"]:
    """Independent draws of the estimator g of the first server step from x⁰ = `x`.

    Args:
        problem: what is minimized.
        method: any method; its step size and optimizer play no part.
        costs: what the cluster charges.
        x: the model.
        draws: how many.
        seed: other seeds give other draws.

    Raises:
        ConfigurationError: too few draws.
    """
    if draws < LEAST_DRAWS:
        raise ConfigurationError(
            f"draws = {draws} say nothing about a mean; give at least {LEAST_DRAWS}"
        )
    unit = replace(method, step_size=1.0, optimizer=optax.sgd)
    schedule = timeline(unit.policy(costs, problem.d), costs, steps=1)
    seeds = range(seed * draws, (seed + 1) * draws)
    trace = replay(problem, unit, schedule, x0=x, seeds=seeds)
    return np.asarray(x, float) - trace.x[:, 0]


def unbiased_step(
    problem: Problem,
    method: GradientMethod,
    costs: Costs,
    x: Float[Array, " d"],
    *,
    draws: int,
    seed: int = 0,
) -> Comparison:
    """E g = ∇f(x) for a step of fresh gradients; homogeneous data, or all workers in every step.

    Every coordinate of g is compared, and its projection on ∇f(x); the result is the worst of them.
    """
    g = first_step(problem, method, costs, x, draws=draws, seed=seed)
    gradient, rounding = _gradient(problem, x)
    direction = gradient / (np.linalg.norm(gradient) or 1.0)
    statistics = np.concatenate([g, g @ direction[:, None]], axis=1)
    expected = np.append(gradient, gradient @ direction)
    worst = [
        _compare(row, float(value), rounding)
        for row, value in zip(statistics.T, expected, strict=True)
    ]
    return max(worst, key=lambda comparison: abs(comparison.z))


def step_variance(
    problem: Problem,
    method: Method,
    costs: Costs,
    x: Float[Array, " d"],
    *,
    a: float,
    c: float,
    draws: int,
    seed: int = 0,
) -> Comparison:
    """E‖g − ∇f(x)‖² against a‖∇f(x)‖² + c."""
    g = first_step(problem, method, costs, x, draws=draws, seed=seed)
    gradient, rounding = _gradient(problem, x)
    squares = np.sum((g - gradient) ** 2, axis=1)
    return _compare(squares, a * float(gradient @ gradient) + c, rounding**2)


def shadowheart_variance(
    problem: Problem,
    method: ShadowheartSGD,
    costs: Costs,
    x: Float[Array, " d"],
    *,
    draws: int,
    seed: int = 0,
) -> ShadowheartVariance:
    """The variance lemma of Shadowheart SGD (arXiv 2402.04785) at a model.

    Its ε is σ²/S with the problem's `sigma2` and the method's `noise_ratio`.

    Raises:
        ConfigurationError: σ² is unknown, the method's noise ratio is 0, or too few draws.
    """
    sigma2 = problem.constants.need("sigma2", "the variance lemma")
    if method.noise_ratio == 0:
        raise ConfigurationError("noise_ratio = 0 leaves no eps = sigma2/noise_ratio; give S > 0")
    plan = method.plan(costs, problem.d)
    a, c = variance_coefficients(plan, method.compressor.omega(problem.d).value, sigma2)
    exact = step_variance(problem, method, costs, x, a=a, c=c, draws=draws, seed=seed)
    gradient, _ = _gradient(problem, x)
    eps = sigma2 / method.noise_ratio
    expected = (float(gradient @ gradient) + eps) / plan.N
    z = (exact.mean - expected) / exact.standard_error
    return ShadowheartVariance(exact, exact._replace(expected=expected, z=z))


def round_time(plan: Plan, costs: Costs) -> RoundTime:
    """Seconds of a round of a plan, max_i (b_i h_i + m_i τ_i) without the broadcast, and 2t*."""
    active = np.flatnonzero(plan.messages)
    seconds = costs.job_seconds(
        active,
        plan.gradients[active],
        plan.messages[active],
        plan.dense[active],
        download=False,
    )
    return RoundTime(float(seconds.max()), 2 * plan.t_star)


def _gradient(problem: Problem, x: Float[Array, " d"]) -> tuple[Float[np.ndarray, " d"], float]:
    """∇f(x), and what rounding may change in a step from `x`."""
    gradient = np.asarray(problem.grad(x), float)
    size = np.linalg.norm(gradient) + np.linalg.norm(np.asarray(x, float))
    return gradient, ROUNDING * float(jnp.finfo(problem.dtype).eps) * float(size)


def _compare(draws: Float[np.ndarray, " draws"], expected: float, rounding: float) -> Comparison:
    """The mean of the draws beside `expected`; a spread below rounding counts as rounding."""
    mean = float(draws.mean())
    error = max(float(draws.std(ddof=1)) / len(draws) ** 0.5, rounding)
    return Comparison(mean, error, expected, (mean - expected) / error)
