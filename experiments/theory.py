"""The theory columns of the table: what theorems promise for a method, in seconds and in bits.

Upper bounds use theory's own step size and batch, not the tuned ones, and hold with the constants
that the problem declares; the lower bound is a worst-case order with constant 1, no verdict on an
easy problem.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from compressors import Unbiased
from dopt.costs import Costs
from dopt.methods import (
    MARINA,
    QSGD,
    AsynchronousSGD,
    GradientDescent,
    Method,
    MinibatchSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
)
from dopt.problems import Problem
from dopt.theory import (
    asynchronous_sgd,
    lower_bounds,
    minibatch_sgd,
    noise_batch,
    qsgd,
    rennala_sgd,
    sgd_one,
    shadowheart_sgd,
)


class Bound(NamedTuple):
    """Theory's step size, and the virtual seconds within which it promises the target."""

    step_size: float
    seconds: float


class Setting(NamedTuple):
    """What theory asks of a problem and a target."""

    L: float
    sigma2: float
    Delta: float
    eps: float
    d: int


def setting_of(problem: Problem, target: float) -> Setting | None:
    """L, σ², Δ = f(x⁰) − f* and ε of a problem, bounds where exact values are not known.

    `None` where the problem does not know one of them: then theory promises nothing.
    """
    L, sigma2, f_star = (getattr(problem.constants, name) for name in ("L", "sigma2", "f_star"))
    if L is None or sigma2 is None or f_star is None:
        return None
    gap = float(problem.value(problem.start())) - f_star.value
    return Setting(L.value, sigma2.value, gap, target, problem.d)


def upper_bound(method: Method, costs: Costs, s: Setting) -> Bound:
    """Seconds within which a method promises min E‖∇f‖² ≤ ε; `costs` with its own messages."""
    n = costs.n
    dense = costs.h + costs.tau_dense + costs.tau_down
    if isinstance(method, MinibatchSGD):
        guarantee = minibatch_sgd(s.L, s.eps, s.sigma2, n)
        per_step = float(dense.max())
    elif isinstance(method, QSGD) and isinstance(method.compressor, Unbiased):
        omega = method.compressor.omega(s.d).value
        guarantee = qsgd(s.L, s.eps, s.sigma2, omega, n)
        per_step = float((costs.h + costs.tau + costs.tau_down).max())
    elif isinstance(method, SGDOne):
        guarantee = sgd_one(s.L, s.eps, s.sigma2)
        per_step = float(costs.h.min())
    elif isinstance(method, RennalaSGD):
        guarantee = rennala_sgd(s.L, s.eps, s.sigma2)
        # A batch of B fresh gradients takes at most twice this, since stale jobs end first.
        batch = noise_batch(s.sigma2 / s.eps)
        per_step = 2.0 * _batch_seconds(dense, batch)
    elif isinstance(method, ShadowheartSGD):
        plan = replace(method, noise_ratio=s.sigma2 / s.eps).plan(costs, s.d)
        # The authors' clip may leave N below 1; the step size is then smaller by as much.
        guarantee = shadowheart_sgd(s.L, s.eps, min(1.0, plan.N))
        per_step = 2.0 * plan.t_star + float(costs.tau_down[plan.messages > 0].max())
    elif isinstance(method, AsynchronousSGD) and method.rule != "discard":
        finite = dense[np.isfinite(dense)]
        # A job of the slowest worker spans at most this many arrivals of the others.
        R = int(np.ceil(finite.max() / finite).sum()) + 1
        guarantee = asynchronous_sgd(s.L, s.eps, s.sigma2, R)
        steps = guarantee.steps(s.Delta)
        if method.rule == "adaptive" and n + 1 < R:
            # The same proof bounds the mean weighted by min(1, n/δ). Delays are below n on average,
            # so that these weights sum to at least half of the steps.
            steps *= 2
        return Bound(guarantee.gamma, _arrivals_seconds(finite, steps))
    else:
        return Bound(math.nan, math.inf)
    return Bound(guarantee.gamma, guarantee.steps(s.Delta) * per_step)


def bits_bound(method: Method, gamma: float | None, costs: Costs, s: Setting) -> float:
    """Bits of a worker within which MARINA and gradient descent promise min E‖∇f‖² ≤ ε.

    Both take 2Δ/(γε) steps with the γ of their theorem; of MARINA's messages the first is dense,
    and each later one with probability p. Of other methods NaN.
    """
    if gamma is None or not isinstance(method, GradientDescent | MARINA):
        return math.nan
    steps = math.ceil(2 * s.Delta / (gamma * s.eps))
    if isinstance(method, GradientDescent):
        return float(steps * costs.dense_bits)
    later = method.p * costs.dense_bits + (1 - method.p) * costs.message_bits
    return costs.dense_bits + (steps - 1) * later


def _batch_seconds(seconds: np.ndarray, batch: int) -> float:
    """min_m (B + m)/Σ_{i ≤ m} 1/s_i: within it the workers finish B jobs from scratch."""
    order = np.sort(seconds[np.isfinite(seconds)])
    m = np.arange(1, len(order) + 1)
    return float(((batch + m) / np.cumsum(1 / order)).min())


def _arrivals_seconds(seconds: np.ndarray, arrivals: float) -> float:
    """The time of an arrival count: the least T with Σ ⌊T/s_i⌋ ≥ arrivals."""
    if not math.isfinite(arrivals):
        return math.inf
    rate = float((1 / seconds).sum())
    low, high = arrivals / rate, (arrivals + len(seconds)) / rate
    for _ in range(60):
        middle = (low + high) / 2
        enough = np.floor(middle / seconds).sum() >= arrivals
        low, high = (low, middle) if enough else (middle, high)
    return high


def lower_bound(costs: Costs, s: Setting) -> float:
    """(LΔ/ε)·t*(d − 1, σ²/ε, h, τ̇): worst-case order, constant 1; `costs` with K = 1 messages."""
    S = s.sigma2 / s.eps
    bounds = lower_bounds(costs.h, costs.tau, float(s.d - 1), S)
    return bounds.compressed * s.L * s.Delta / s.eps
