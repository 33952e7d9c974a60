"""What a grid costs on Gaussian groups that are scaled by their largest |z|."""

import math

import numpy as np
from jaxtyping import Float

from compressors.grids.grid import Grid


NODES = 400


def absmax_error(grid: Grid, group: int) -> float:
    """E‖z − M·q(z/M)‖²/group for z standard normal and M = max|z_j|: the t² of absmax formats.

    Given M, one coordinate is ±M and the others are normal within [−M, M], so that the mean over
    them is a closed form. That over M is a Gauss-Legendre sum in U = P(|z| ≤ M)^group, which is
    uniform. M is not rounded.

    Args:
        grid: of p = 1, in multiples of M.
        group: numbers that share a scale, 1 or more.

    Raises:
        ValueError: p ≠ 1 or a group below 1.
    """
    from scipy.special import ndtr, ndtri

    if group < 1:
        raise ValueError(f"groups of {group} numbers: give 1 or more")
    line, cuts = grid.points[:, 0], grid.thresholds
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    # P(|z| > M) of the largest of `group`; 1 − U^(1/group) would lose the digits of the tail.
    beyond = -np.expm1(np.log((nodes + 1) / 2) / group)
    most = -ndtri(beyond / 2)[:, None]
    edges = most * np.clip(np.concatenate([[-1.0], cuts, [1.0]]), -1, 1)[None, :]
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    masses = np.diff(ndtr(edges), axis=1)
    first = -np.diff(density, axis=1)
    second = masses - np.diff(edges * density, axis=1)
    points = most * line[None, :]
    inner = np.sum(second - 2 * points * first + points**2 * masses, axis=1) / (1 - beyond)
    ends = np.array([-1.0, 1.0])
    outer = most[:, 0] ** 2 * np.mean(_squared_errors(ends, line, cuts))
    return float(weights / 2 @ ((group - 1) * inner + outer)) / group


def _squared_errors(
    x: Float[np.ndarray, " m"], line: Float[np.ndarray, " n"], cuts: Float[np.ndarray, " cuts"]
) -> Float[np.ndarray, " m"]:
    return (x - line[np.searchsorted(cuts, x)]) ** 2
