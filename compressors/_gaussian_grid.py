"""The Lloyd-Max grids of a standard normal variable, and what they cost on a sphere."""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from compressors import grids


MOST_BITS = 8


class Grid(NamedTuple):
    """A symmetric grid; `thresholds` lie halfway between neighbours.

    `distortion` is D = E(g − q(g))² for g standard normal; E q(g)² = E g·q(g) = 1 − D.
    """

    points: Float[np.ndarray, " levels"]
    thresholds: Float[np.ndarray, " cuts"]
    distortion: float


@functools.cache
def lloyd_max(bits: int) -> Grid:
    """The 2^bits points of least D: each the mean of a normal variable over its own cell.

    That of `compressors.grids`, as a vector.
    """
    grid = grids.lloyd_max(1 << bits)
    return Grid(grid.points[:, 0], grid.thresholds, grid.mse)


def _edges(points: Float[np.ndarray, " half"]) -> Float[np.ndarray, " edges"]:
    return np.concatenate([[0.0], (points[1:] + points[:-1]) / 2, [np.inf]])


@functools.cache
def sign_omega(d: int) -> float:
    """E d/‖u‖₁² − 1 for u uniform on the sphere of R^d: the ω of one bit after a uniform rotation.

    With g standard normal, ‖g‖₁ = ‖g‖·‖u‖₁ with independent factors and E 1/‖g‖² = 1/(d − 2), and
    E 1/‖g‖₁² = ∫ t·E e^{−t‖g‖₁} dt = ∫ t·erfcx(t/√2)^d dt over t > 0.
    """
    from scipy.integrate import quad
    from scipy.special import erfcx

    if d <= 2:
        return 4 / math.pi - 1 if d == 2 else 0.0
    unit = math.sqrt(math.pi / 2) / d  # of t: where e^{−t‖g‖₁} falls off
    integral, _ = quad(lambda u: u * erfcx(u * unit / math.sqrt(2)) ** d, 0, np.inf, limit=500)
    return d * (d - 2) * unit**2 * integral - 1


@functools.cache
def grid_omega_bound(bits: int, d: int) -> float:
    """An upper bound of E‖z‖²‖q‖²/⟨z, q⟩² − 1, z uniform on the sphere of radius √d, q = q(z).

    The quantity is T = tan² of the angle between z and q. Two bounds, of which the smaller counts:

    1. |q| grows with |z|, so Chebyshev's sum inequality gives d⟨|z|, |q|⟩ ≥ ‖z‖₁‖q‖₁, and with
       points m ≤ |q_j| ≤ M Schweitzer's gives ‖q‖₁² ≥ d‖q‖²·4mM/(m + M)². Hence
       1 + T ≤ (d‖z‖²/‖z‖₁²)·(m + M)²/(4mM), with mean (1 + `sign_omega`)·(m + M)²/(4mM).
    2. T ≤ s²/(1 − s²) for s = ‖z − q‖/√d, a distance from a set and so 1-Lipschitz in z/√d. The
       logarithmic Sobolev inequality of the sphere gives P(s ≥ √D_d + t) ≤ exp(−(d − 1)t²/2) with
       D_d = E s², and E T = ∫ P(T > τ) dτ up to the maximum d(m + M)²/(4mM) − 1 that 1 leaves.
       It tends to D/(1 − D) as d grows.
    """
    from scipy.integrate import quad

    if d == 1:
        return 0.0
    positive = lloyd_max(bits).points[1 << (bits - 1) :]
    spread = float((positive[0] + positive[-1]) ** 2 / (4 * positive[0] * positive[-1]))
    mean = math.sqrt(_sphere_distortion(bits, d))
    if mean >= 1:
        return (1 + sign_omega(d)) * spread - 1

    def tail(s: float) -> float:
        """P(T > τ) times dτ/ds, for s = √(τ/(1 + τ))."""
        return math.exp(-(d - 1) * (s - mean) ** 2 / 2) * 2 * s / (1 - s * s) ** 2

    most = 1 - 1 / (d * spread)
    width = min(mean + 20 / math.sqrt(d), math.sqrt(most))
    over = sum(quad(tail, *part, limit=500)[0] for part in ((mean, width), (width, most**0.5)))
    return min((1 + sign_omega(d)) * spread - 1, mean**2 / (1 - mean**2) + over)


def _sphere_distortion(bits: int, d: int) -> float:
    """E(z − q(z))² for a coordinate z = √d sin θ, with the density cos^(d−2)θ/B(1/2, (d − 1)/2)."""
    from scipy.integrate import quad
    from scipy.special import beta

    points = lloyd_max(bits).points[1 << (bits - 1) :]
    edges = np.arcsin(np.minimum(_edges(points) / math.sqrt(d), 1))

    def error(theta: float, point: float) -> float:
        return (math.sqrt(d) * math.sin(theta) - point) ** 2 * math.cos(theta) ** (d - 2)

    parts = [
        quad(error, low, high, args=(point,))[0]
        for point, low, high in zip(points, edges[:-1], edges[1:], strict=True)
    ]
    return 2 * sum(parts) / float(beta(0.5, (d - 1) / 2))
