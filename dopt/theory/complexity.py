"""Time complexities: Table 1 of arXiv 2402.04785 beside the lower bounds, in virtual time.

Every function gives seconds for each unit of LΔ/ε: times L * Delta / eps it is the time until
(1/K) Σ E‖∇f(x^k)‖² ≤ ε *in order, with constant 1*, a yardstick of the worst case and no verdict on
an easy problem. All are homogeneous of degree 1 in the times. `equilibrium_time` is the row of
Shadowheart SGD itself; its guaranteed constant is 16 (8LΔ/ε steps of at most two t*).

Times are arrays over workers or scalars, with inf for a worker that never finishes; S = σ²/ε is
`noise_ratio`. Bad values raise `ConfigurationError`.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dopt.theory._checks import Seconds, nonnegative, positive, worker_times
from dopt.theory.equilibrium import equilibrium_time


def sgd_one_time(h: Seconds, noise_ratio: float) -> float:
    """SGD on the fastest worker alone, without communication: min_i h_i (1 + S)."""
    (hs,) = worker_times(h=h)
    return float(hs.min()) * (1 + nonnegative("noise_ratio", noise_ratio))


def minibatch_time(h: Seconds, tau_dense: Seconds, noise_ratio: float) -> float:
    """Minibatch SGD: max_i max{h_i, d τ̇_i} (1 + S/n), `tau_dense` = d τ̇ seconds a dense message."""
    hs, taus = worker_times(h=h, tau_dense=tau_dense)
    S = nonnegative("noise_ratio", noise_ratio)
    return float(np.maximum(hs, taus).max()) * (1 + S / hs.size)


def qsgd_time(h: Seconds, tau: Seconds, omega: float, noise_ratio: float) -> float:
    """QSGD: max_i max{h_i, τ_i} (1 + ω/n + (1 + ω)S/n), `tau` seconds a compressed message."""
    hs, taus = worker_times(h=h, tau=tau)
    omega, S = nonnegative("omega", omega), nonnegative("noise_ratio", noise_ratio)
    return float(np.maximum(hs, taus).max()) * (1 + (omega + (1 + omega) * S) / hs.size)


def batch_qsgd_time(h: float, tau: float, omega: float, noise_ratio: float, n: int) -> float:
    """Batch QSGD on n equal workers: h(1 + S/n) + τ(1 + (1+ω)/n) + √((1+ω) τ h S/n).

    For K = 1 of d coordinates, 1 + ω = d, the row of the table. Of the order of max{h, τ, t*}.
    """
    h, tau = nonnegative("h", h), nonnegative("tau", tau)
    S, spread = nonnegative("noise_ratio", noise_ratio), 1 + nonnegative("omega", omega)
    positive("n", n)
    return h * (1 + S / n) + tau * (1 + spread / n) + math.sqrt(spread * tau * h * S / n)


def dense_uplink_time(h: Seconds, tau_dense: Seconds, noise_ratio: float) -> float:
    """A floor of the asynchronous methods that send dense vectors, gradients summed before a send.

    min_j max{h_πj, d τ̇_πj, S / Σ_{i≤j} 1/h_πi}, π by max{h, d τ̇}: what Rennala, Malenia, Ringmaster
    and asynchronous SGD each need at least (eq. 9 of the Fragile SGD paper on a star). Where every
    gradient is sent, put h + d τ̇ for h.
    """
    hs, taus = worker_times(h=h, tau_dense=tau_dense)
    S = nonnegative("noise_ratio", noise_ratio)
    slower = np.maximum(hs, taus)
    order = np.argsort(slower)[: np.count_nonzero(slower < math.inf)]
    together = S / _rates(hs[order])
    return float(np.min(np.maximum(slower[order], together), initial=math.inf))


def rennala_time(h: Seconds, noise_ratio: float) -> float:
    """Rennala and Ringmaster with free communication: min_m (m + S) / Σ_{i≤m} 1/h_i, h ascending.

    The optimal time of homogeneous data and computation alone (arXiv 2305.12387).
    """
    (hs,) = worker_times(h=h)
    S = nonnegative("noise_ratio", noise_ratio)
    finite = np.sort(hs[hs < math.inf])
    gradients = np.arange(1, finite.size + 1) + S
    return float(np.min(gradients / _rates(finite), initial=math.inf))


class LowerBounds(NamedTuple):
    """Seconds for each unit of LΔ/ε that no method of a class beats by more than a constant."""

    one_worker: float
    computation: float
    compressed: float


def lower_bounds(h: Seconds, tau: Seconds, omega: float, noise_ratio: float) -> LowerBounds:
    """Worst-case lower bounds on a cluster, in order, with constant 1.

    Returns:
        one_worker: h (1 + S) of the fastest worker, for methods that never communicate.
        computation: `rennala_time`, for any method, even with free communication.
        compressed: t*, for methods with unbiased compression and free broadcast (arXiv 2402.04785;
            the worst case is a sparsifier with K = 1, ω = d − 1).
    """
    return LowerBounds(
        one_worker=sgd_one_time(h, noise_ratio),
        computation=rennala_time(h, noise_ratio),
        compressed=equilibrium_time(h, tau, omega, noise_ratio),
    )


def _rates(h: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
    """Gradients a second of the first 1, 2, …, j workers together; inf from an h = 0 on."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.cumsum(1 / h)
