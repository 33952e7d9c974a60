"""The static plan of Shadowheart SGD (arXiv 2402.04785): who computes and sends how much a round.

    symbol   here          meaning
    b_i      gradients     stochastic gradients that worker i sums, ⌊t*/h_i⌋
    m_i      messages      independent compressions of that sum it sends, ⌊t*/τ_i⌋
    w_i      weights       1 / (b_i ω + ω S + m_i S)
    N        N             Σ w_i m_i b_i, and g = (1/N) Σ_i w_i Σ_j C_ij(Σ_l ∇f(x; ξ_il))

For every such plan E‖g − ∇f‖² ≤ (‖∇f‖² + ε)/N, and t* is the time that makes N ≥ 1. A round takes
max_i (b_i h_i + m_i τ_i) ≤ 2 t*.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from dopt.errors import ConfigurationError, NoProgressError
from dopt.theory._checks import Seconds, nonnegative, worker_times
from dopt.theory.equilibrium import MOST, equilibrium_time, whole_fits


class Plan(NamedTuple):
    """What each of n workers does in a round; every entry of an idle worker is zero.

    A `dense` worker sends its sum uncompressed, once: a message of (d/K) τ_i seconds and ω_i = 0.
    """

    t_star: float
    gradients: Int64[np.ndarray, " n"]
    messages: Int64[np.ndarray, " n"]
    dense: Bool[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    N: float


def plan(
    h: Seconds,
    tau: Seconds,
    omega: float,
    noise_ratio: float,
    *,
    full_messages: float,
    clip_number_of_communications: bool = False,
) -> Plan:
    """The numbers of gradients and messages and the weights of a round of length t*.

    By default a worker with time for m_i ≥ d/K messages sends the dense vector once instead, and
    where ω = 0 one message is enough. Without noise (S = 0) exact messages have all the weight:
    where there are any, the other workers stay idle.

    Args:
        h: seconds a gradient, one a worker, or a scalar for all of them.
        tau: seconds a compressed message, likewise.
        omega: ω of the compressor.
        noise_ratio: S = σ²/ε.
        full_messages: d/K, the time of a dense message in compressed ones.
        clip_number_of_communications: the option of the authors' code: m_i ≤ ⌈d/K⌉ and no dense
            messages. N may then be less than 1, and the step size must be min{1, N}/(2L).

    Raises:
        ConfigurationError: times, ω, S or d/K out of range; a worker whose gradients take no time.
        NoProgressError: no worker has two finite times.
    """
    hs, taus = worker_times(h=h, tau=tau)
    omega, noise_ratio = nonnegative("omega", omega), nonnegative("noise_ratio", noise_ratio)
    if not 1 <= full_messages <= 2**53:
        raise ConfigurationError(
            f"full_messages = {full_messages}; a dense message is as long as d/K compressed ones, "
            "with 1 <= d/K <= 2^53"
        )
    t_star = equilibrium_time(hs, taus, omega, noise_ratio)
    if t_star == math.inf:
        raise NoProgressError(
            f"the equilibrium time of the {hs.size} workers is infinite, or beyond the largest "
            "float; give at least one worker finite times for a gradient and for a message"
        )
    b, m = whole_fits(t_star, hs), whole_fits(t_star, taus)
    active = (b >= 1) & (m >= 1)
    endless = np.flatnonzero(active & (b == MOST))
    if endless.size:
        i = endless[0]
        raise ConfigurationError(
            f"h[{i}] = {hs[i]} lets worker {i} compute more than 2^63 gradients in a round of "
            f"{t_star} seconds; give each gradient a positive time"
        )
    # Where m ≥ d/K the dense message fits into t* as well: (d/K) τ ≤ m τ ≤ t*. Its term of N, b/S,
    # exceeds that of the messages it replaces, 1 / (ω/m + ωS/(bm) + S/b), so that still N ≥ 1.
    dense = active & (m >= full_messages) & (not clip_number_of_communications)
    exact = dense | (active & (omega == 0))
    if clip_number_of_communications:
        m = np.minimum(m, math.ceil(full_messages))
    else:
        m = np.where(exact, 1, m)
    if noise_ratio == 0 and exact.any():
        active, weights = exact, np.ones(hs.size)
    else:
        error = np.where(exact, 0.0, omega)
        with np.errstate(divide="ignore", over="ignore"):
            weights = 1 / (b * error + error * noise_ratio + m * noise_ratio)
    b, m, weights = np.where(active, b, 0), np.where(active, m, 0), np.where(active, weights, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        N = float(np.sum(weights * m * b))
    if not 0 < N < math.inf:
        raise ConfigurationError(
            f"omega = {omega} and noise_ratio = {noise_ratio} give weights beyond the range of "
            "floats; give 0 for a constant that is negligible"
        )
    return Plan(t_star, b, m, dense, weights, N)


def variance_coefficients(plan: Plan, omega: float, sigma2: float) -> tuple[float, float]:
    """(a, c) with E‖g − ∇f(x)‖² = a ‖∇f(x)‖² + c for the estimator g of the plan.

    a = Σ (w_i/N)² m_i ω_i b_i²,  c = Σ (w_i/N)² (m_i ω_i b_i + m_i² b_i) σ², ω_i = 0 where dense.
    Exact for a compressor with E‖C(x) − x‖² = ω ‖x‖² and noise of variance exactly σ²; otherwise a
    bound. With the weights of `plan`, a + c/ε = 1/N wherever S = σ²/ε > 0.
    """
    omega, sigma2 = nonnegative("omega", omega), nonnegative("sigma2", sigma2)
    error = np.where(plan.dense, 0.0, omega)
    share = plan.weights * plan.messages * plan.gradients / plan.N
    active = share > 0
    share, error = share[active], error[active]
    b, m = plan.gradients[active], plan.messages[active]
    a = float(np.sum(share**2 * error / m))
    c = float(np.sum(share**2 * (error / m + 1) / b)) * sigma2
    return a, c
