"""What MARINA sends until its target, as a function of p, and what correlated quantization saves.

With its step size of theory MARINA takes K = 2Δ/(γε) rounds, of which a part p is dense and the
others cost c of a dense message. A worker sends (2LΔ/ε)·C(p) dense vectors and one at the start,

    C(p) = (p + (1−p)c)(1 + √((1−p)A/p)),   A = ((A' − B')L_plus² + B'·L_pm²)/L²,

A' and B' those of the family (arXiv 2110.03300), so that A is A' alone where L_plus = L and B' = 0,
as Panferov, Demidovich, Rammal, Richtárik 2024 (arXiv 2401.05518) have it. With u² = (1−p)/p,

    C = (1 + cu²)(1 + κu)/(1 + u²),   κ = √A,
    (1 + u²)²·dC/du = u·q(u),   q(u) = κcu³ − κ(1 − 3c)u + κ/u − 2(1 − c),

which is convex and least at u = 1/√(3c): C rises, falls and rises again, or only rises, and its
least value is at p = 1 or at the larger root of q.
"""

import math
from typing import Literal, NamedTuple

from dopt.errors import ConfigurationError
from dopt.theory._checks import count, fraction, nonnegative, positive
from dopt.theory.differences import family_noise


Which = Literal["exact", "published"]


class Optimum(NamedTuple):
    """The p that sends least, and C(p); p = 0 stands for the limit, with the first round dense."""

    p: float
    cost: float


def relative_noise(L: float, L_plus: float, L_pm: float, A: float, B: float) -> float:
    """((A − B)L_plus² + B·L_pm²)/L², the A of `communication`."""
    return family_noise(L_plus, L_pm, A, B) / positive("L", L) ** 2


def communication(p: float, c: float, A: float) -> float:
    """C(p) of the module, in dense vectors a worker for each unit of 2LΔ/ε.

    Args:
        p: probability of a dense round, in (0, 1].
        c: bits of a compressed message over those of a dense one.
        A: `relative_noise`.
    """
    p, c, A = fraction("p", p), positive("c", c), nonnegative("A", A)
    return (p + (1 - p) * c) * (1 + math.sqrt((1 - p) * A / p))


def least_communication(c: float, A: float) -> Optimum:
    """The minimum of C over p, to rounding.

    A = 0 and c < 1 have no best p > 0: the smaller the better, down to C = c.

    Args:
        c: bits of a compressed message over those of a dense one.
        A: `relative_noise`.

    Raises:
        ConfigurationError: c ≤ 0 or A < 0.
    """
    c, kappa = positive("c", c), math.sqrt(nonnegative("A", A))
    dense = Optimum(1.0, 1.0)
    if c >= 1:
        return dense
    if kappa == 0:
        return Optimum(0.0, c)
    if _slope(1 / math.sqrt(3 * c), c, kappa) >= 0:
        return dense
    # q is convex and positive at this u, so that Newton's steps go down to the root and not past.
    u = math.cbrt(2 * (1 - c) / (kappa * c)) + 1 / math.sqrt(c)
    while True:
        step = _slope(u, c, kappa) / (3 * kappa * c * u**2 - kappa * (1 - 3 * c) - kappa / u**2)
        if not step > 1e-15 * u:
            break
        u -= step
    p = 1 / (1 + u**2)
    cost = communication(p, c, A)
    return Optimum(p, cost) if cost < 1 else dense


def gain(
    n: int,
    d: int,
    *,
    constants: Which = "exact",
    L_pm: float = 0.0,
    float_bits: int = 32,
) -> float:
    """Bits with independent over bits with correlated one-bit quantization, each at its best p.

    Messages are ±‖x‖ with one bit a coordinate and the norm, c = (1 + d/b)/d for floats of b bits.
    Where all f_i differ by linear functions (L_pm = 0) all workers compress equal vectors, and

        constants      correlated A   independent A
        "exact"        d/n²           (d − 1)/n, an equality for every vector
        "published"    d/(4n²)        d/(4n), those of arXiv 2401.05518; violated by these messages

    with d/n² a bound that vectors come close to, and (d − 1)/n for n = 1. Otherwise both families
    have A = (d − 1)/n, which a single worker with all of the vector attains: the gain that is
    proven is 1, whatever is measured.

    Args:
        n: workers.
        d: dimension.
        constants: which A.
        L_pm: the Hessian variance of the problem; only whether it is 0 plays a part.
        float_bits: b, of the norm and of each coordinate of a dense message.

    Raises:
        ConfigurationError: n, d or b no whole number ≥ 1, L_pm < 0, unknown constants.
    """
    n, d, bits = count("n", n), count("d", d), count("float_bits", float_bits)
    if nonnegative("L_pm", L_pm) > 0:
        return 1.0
    c = (bits + d) / (bits * d)
    if _scale(constants) == 1:
        independent = (d - 1) / n
        correlated = min(d / n**2, independent)
    else:
        independent, correlated = d / (4 * n), d / (4 * n**2)
    return least_communication(c, independent).cost / least_communication(c, correlated).cost


def gain_limit(*, constants: Which = "exact", float_bits: int = 32) -> float:
    """The limit of `gain(n, n)` as n grows: 12.859 for exact constants, 7.287 for published ones.

    c tends to 1/b, the independent A to 1 (published: 1/4) and the correlated A to 0, so that
    correlated quantization costs 1/b.
    """
    bits = count("float_bits", float_bits)
    return bits * least_communication(1 / bits, _scale(constants)).cost


def _scale(constants: str) -> float:
    """The limit of n·A/d for independent quantization."""
    scales = {"exact": 1.0, "published": 0.25}
    if constants not in scales:
        raise ConfigurationError(
            f'constants = {constants!r} are not known: give "exact" or "published"'
        )
    return scales[constants]


def _slope(u: float, c: float, kappa: float) -> float:
    """q(u) of the module."""
    return kappa * c * u**3 - kappa * (1 - 3 * c) * u + kappa / u - 2 * (1 - c)
