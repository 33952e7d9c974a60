"""The equilibrium time t* of Shadowheart SGD (arXiv 2402.04785), in one search.

The paper has two steps: with the workers sorted by max{h, τ}, for each j the root s*(j) of

    Σ_{i ≤ j} s² / (a_i s + b_i) = 1,   a_i = 2 τ_i ω + 2 h_i S,   b_i = 4 τ_i h_i S ω,

and then t* = min_j max{h_j, τ_j, s*(j)}. The left side grows with s and with j, hence

    t* = inf { t ≥ min_i max{h_i, τ_i} :  Σ_{i : max{h_i, τ_i} ≤ t} t² / (a_i t + b_i) ≥ 1 },

and a term is 1 / (2u + 2v + 4uv) with u = ω τ_i/t and v = S h_i/t: free of units and, as τ_i and
h_i are at most t wherever the term is read, safe from overflow.
"""

import bisect
import math
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float, Int64

from dopt.errors import ConfigurationError
from dopt.theory._checks import Seconds, nonnegative, worker_times


MOST = np.iinfo(np.int64).max
"""The count that stands for "as many as you like": what `whole_fits` answers for h = 0."""


def equilibrium_time(
    h: Seconds,
    tau: Seconds,
    omega: float,
    noise_ratio: float,
) -> float:
    """The equilibrium time t*(ω, S, h_1, τ_1, …, h_n, τ_n) in seconds.

    Homogeneous of degree 1 in (h, τ); grows with every argument; falls when a worker joins. Workers
    with an infinite time never matter. The relative error is about 1e-14.

    Args:
        h: seconds a gradient, one a worker, or a scalar for all of them.
        tau: seconds a compressed message (not a coordinate), likewise.
        omega: ω ≥ 0 of the compressor.
        noise_ratio: S = σ²/ε ≥ 0.

    Returns:
        t*; 0 where some worker has h = τ = 0; inf where no worker has two finite times, or where t*
        is beyond the largest float.

    Raises:
        ConfigurationError: times that are negative, NaN, empty or of different lengths; ω or S
            negative, NaN or infinite.
    """
    hs, taus = worker_times(h=h, tau=tau)
    omega, noise_ratio = nonnegative("omega", omega), nonnegative("noise_ratio", noise_ratio)
    slower = np.maximum(hs, taus)
    order = np.argsort(slower, kind="stable")[: np.count_nonzero(slower < math.inf)]
    hs, taus, slower = hs[order], taus[order], slower[order]
    n = order.size
    if n == 0:
        return math.inf
    if slower[0] == 0:
        return 0.0

    j = bisect.bisect_left(
        range(n),
        1.0,
        key=lambda j: _total(slower[j], hs[: j + 1], taus[: j + 1], omega, noise_ratio),
    )
    high = float(slower[j]) if j < n else sys.float_info.max
    total = partial(_total, h=hs[:j], tau=taus[:j], omega=omega, noise_ratio=noise_ratio)
    if total(high) < 1:  # always so for j = 0, where nobody comes before
        return high if j < n else math.inf
    return _crossing(total, float(slower[j - 1]), high)


def whole_fits(t: float, h: Seconds) -> Int64[np.ndarray, " n"]:
    """How many jobs of `h` seconds fit into `t` seconds: ⌊t/h · (1 + 1e-12)⌋ for each worker.

    The slack keeps the worker whose time equals t* in the game when that time comes here by another
    route, K · τ̇ say, and is a rounding above t*. Jobs of no time fit `MOST` times, and so do jobs
    too many for int64; jobs without end never fit.

    Raises:
        ConfigurationError: `t` or an entry of `h` negative or NaN, or `h` empty.
    """
    (hs,) = worker_times(h=h)
    if not t >= 0:
        raise ConfigurationError(f"t = {t}; give a time >= 0")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        count = np.floor(t / hs * (1 + 1e-12))
    count = np.where(hs == 0, math.inf, np.where(hs == math.inf, 0.0, count))
    many = count >= float(MOST)
    return np.where(many, MOST, np.where(many, 0.0, count).astype(np.int64))


def _total(
    t: float,
    h: Float[np.ndarray, " j"],
    tau: Float[np.ndarray, " j"],
    omega: float,
    noise_ratio: float,
) -> float:
    """Σ 1 / (2u + 2v + 4uv); `t` is at least every `h` and every `tau`, so u ≤ ω and v ≤ S.

    The order of the products matters: none is 0 · inf, and where h/t or τ/t underflows the term is
    far above 1, or the error of u and v below 1e-15.
    """
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        u = omega * (tau / t)
        v = noise_ratio * (h / t)
        return float(np.sum(0.5 / (u + v + 2 * (u * v))))


def _crossing(total: Callable[[float], float], low: float, high: float) -> float:
    """The t in [low, high] with total(t) = 1, where total(low) < 1 ≤ total(high).

    A secant on logarithms. The slope d log total / d log t lies in [1, 2], as that of every term
    does: one value g at t puts the root between t/g and t/√g, and |log g| bounds its distance.
    """
    t = low
    before: tuple[float, float] | None = None
    for _ in range(200):
        g = total(t)
        if abs(g - 1) <= 4e-15:
            break
        if 0 < g < math.inf:
            slope = 1.5
            if before is not None:
                slope = (math.log(g) - math.log(before[1])) / math.log(t / before[0])
            before = (t, g)
            ends = sorted((t / g, t / math.sqrt(g)))
            low, high = max(low, ends[0]), min(high, ends[1])
            step = t / g ** (1 / min(max(slope, 1.0), 2.0))
        else:  # beyond the range of floats: halve the exponents between the ends
            low, high = (t, high) if g == 0 else (low, t)
            step = math.sqrt(low) * math.sqrt(high)
        step = min(max(step, low), high)
        if abs(step - t) <= 4e-16 * t:
            break
        t = step
    return t
