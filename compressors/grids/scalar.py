"""The best grids of a standard normal variable in one dimension: free, and equally spaced.

Cell j lies between the midpoints to the neighbours of point c_j and has the mass P_j; φ is the
density of the variable.
"""

import functools
import math

import numpy as np
from jaxtyping import Float

from compressors.grids.grid import Grid


LARGEST = 1 << 14
"""Beyond it rounding leaves centroids less accurate than `ACCURACY`."""
STEPS = 50
"""Of Newton's method, which needs fewer than ten."""
ACCURACY = 1e-11


@functools.cache
def lloyd_max(n: int) -> Grid:
    """The n points of least mean squared error: each the mean of a normal variable over its cell.

    Newton's method on centroid − point, in float64, from the quantiles of N(0, 3): the density of
    the points of the best grid tends to φ^(1/3) as n grows. φ is log-concave, so that the best grid
    is the only stationary one, and symmetric (Max 1960; Lloyd 1982).

    Args:
        n: from 2 to 16,384; not only powers of two.

    Raises:
        ValueError: another n.
    """
    from scipy.linalg import solve_banded
    from scipy.special import ndtri

    _check_size("lloyd_max", n)
    points = math.sqrt(3) * ndtri((np.arange(n) + 0.5) / n)
    for _ in range(STEPS):
        points = (points - points[::-1]) / 2
        masses, centroids, slopes = _cells(points)
        residual = centroids - points
        if np.max(np.abs(residual)) <= ACCURACY / 100:
            break
        # The centroid of a cell moves by φ(edge)·|edge − centroid|/P with an edge, and an edge by
        # half of each of its two points.
        below, above = slopes[0] / masses / 2, slopes[1] / masses / 2
        bands = np.zeros((3, n))
        bands[0, 1:], bands[1], bands[2, :-1] = above[:-1], below + above - 1, below[1:]
        points = points - solve_banded((1, 1), bands, residual)
    masses, centroids, _ = _cells(points)
    if not np.max(np.abs(centroids - points)) <= ACCURACY:
        raise AssertionError(f"the grid of {n} points is not stationary")
    return Grid(points[:, None], scalar_mse(points))


@functools.cache
def constrained_uniform(n: int) -> Grid:
    """Equally spaced points around zero at the step of least mean squared error: HIGGS's CH grid.

    Integers k − (n − 1)/2 times one step, for hardware that multiplies integers ("CH8": n = 256).
    The step s solves s·E u² = E z·u, u = q(z)/s.

    Args:
        n: from 2 to 16,384.

    Raises:
        ValueError: another n.
    """
    from scipy.optimize import brentq

    _check_size("constrained_uniform", n)
    units = np.arange(n) - (n - 1) / 2

    def slope(step: float) -> float:
        """−½ times the derivative of the error by the step."""
        masses, centroids, _ = _cells(step * units)
        return float(units @ (masses * centroids) - step * (units * units) @ masses)

    step = brentq(slope, 1e-6, 4.0, xtol=1e-15, rtol=1e-14)
    return Grid((step * units)[:, None], scalar_mse(step * units))


def scalar_mse(points: Float[np.ndarray, " n"]) -> float:
    """E(z − q(z))² in closed form, for points in rising order.

    1 + Σ P_j·c_j·(c_j − 2m_j), m_j the centroid of cell j.
    """
    masses, centroids, _ = _cells(points)
    return 1 + float(np.sum(masses * points * (points - 2 * centroids)))


def _cells(
    points: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "2 n"]]:
    """Masses, centroids, and P times the derivatives of the centroid by the two edges."""
    from scipy.special import ndtr

    edges = np.concatenate([[-np.inf], (points[1:] + points[:-1]) / 2, [np.inf]])
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    # A difference of two numbers near 1 would lose the digits of the upper tail.
    low, high = ndtr(edges), ndtr(-edges)
    masses = np.where(points < 0, np.diff(low), -np.diff(high))
    with np.errstate(invalid="ignore", divide="ignore"):
        centroids = np.where(masses > 0, -np.diff(density) / masses, points)
    inner = np.where(np.isfinite(edges), edges, 0)
    slopes = density[:-1] * (centroids - inner[:-1]), density[1:] * (inner[1:] - centroids)
    return masses, centroids, np.stack(slopes)


def _check_size(name: str, n: int) -> None:
    if not 2 <= n <= LARGEST:
        raise ValueError(f"{name} with n = {n} points: give from 2 to {LARGEST}")
