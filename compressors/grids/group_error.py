"""What grids cost on Gaussian groups that are scaled by their largest numbers: exact t².

Given the largest |z|, or the least and the largest z of a group, the others are normal within these
bounds and independent, so that their mean error is a closed form. That over the bounds is a
Gauss-Legendre sum over variables that are uniform. Scales are not rounded.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from compressors.grids.grid import Grid


NODES = 400
NODES_OF_TWO = 80


def absmax_error(
    grid: Grid,
    group: int,
    scale: Callable[[Float[np.ndarray, " m"]], Float[np.ndarray, " m"]] = np.asarray,
) -> float:
    """E‖z − s·q(z/s)‖²/group for z standard normal, s = M = max|z_j|: the t² of absmax formats.

    One coordinate is ±M. The variable that is uniform is P(|z| ≤ M)^group.

    Args:
        grid: of p = 1, in multiples of s.
        group: numbers that share a scale, 1 or more.
        scale: s from M, where it is another: three digits are right if it jumps.

    Raises:
        ValueError: p ≠ 1 or a group below 1.
    """
    from scipy.special import ndtri

    _check_group(group, least=1)
    line, cuts = grid.points[:, 0], grid.thresholds
    uniform, weights = _nodes(NODES)
    beyond = -np.expm1(np.log(uniform) / group)
    most = -ndtri(beyond / 2)[:, None]
    unit = scale(most[:, 0])[:, None]
    ends = np.concatenate([-most, most], axis=1)
    edges = np.clip(np.concatenate([ends[:, :1], unit * cuts, ends[:, 1:]], axis=1), -most, most)
    inner = _errors(edges, unit * line) / (1 - beyond)
    outer = np.mean((ends - unit * line[np.searchsorted(cuts, ends / unit)]) ** 2, axis=1)
    return float(weights @ ((group - 1) * inner + outer)) / group


def minmax_error(n: int, group: int, *, whole: bool = True) -> float:
    """E‖z − q(z)‖²/group, z standard normal, for asymmetric integers.

    With l = min(z_j, 0) and u = max(z_j, 0) the points are s·(k − zero), k = 0 … n − 1, of the step
    s = (u − l)/(n − 1) and zero = round(−l/s), as GPTQ and compressed-tensors store them, or the
    zero is not rounded, as HQQ starts. With the
    probability W ~ Beta(2, group − 1) of what lies beyond the least and the largest z, that of what
    lies below is uniform in (0, W). The rounding makes steps in what is summed, so that three
    digits are right.

    Args:
        n: points, 2 or more: 2^bits.
        group: numbers that share a scale and a zero, 2 or more.
        whole: whether the zero is rounded.

    Raises:
        ValueError: n or a group below 2.
    """
    from scipy.special import betaincinv, ndtri

    _check_group(group, least=2)
    if n < 2:
        raise ValueError(f"a grid of {n} points: give 2 or more")
    uniform, weights = _nodes(NODES_OF_TWO)
    outside = betaincinv(2, group - 1, uniform)[:, None]
    least = ndtri(outside * uniform[None, :]).reshape(-1, 1)
    most = -ndtri(outside * (1 - uniform)[None, :]).reshape(-1, 1)
    low, high = np.minimum(least, 0), np.maximum(most, 0)
    step = (high - low) / (n - 1)
    zero = np.round(-low / step) if whole else -low / step
    points = step * (np.arange(n)[None, :] - zero)
    cuts = np.clip((points[:, 1:] + points[:, :-1]) / 2, least, most)
    inner = _errors(np.concatenate([least, cuts, most], axis=1), points)
    outer = sum(
        (end - step * (np.clip(np.round(end / step + zero), 0, n - 1) - zero)) ** 2
        for end in (least, most)
    )
    total = (group - 2) * inner.reshape(outside.size, -1) / (1 - outside)
    total = total + outer.reshape(outside.size, -1)
    return float(weights @ total @ weights) / group


@functools.cache
def _nodes(count: int) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, " count"]]:
    """Nodes and weights of the mean over (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _errors(
    edges: Float[np.ndarray, "m edges"], points: Float[np.ndarray, "m n"]
) -> Float[np.ndarray, " m"]:
    """The sum of ∫(z − c)²φ over the cells of each row."""
    from scipy.special import ndtr

    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    masses, first = np.diff(ndtr(edges), axis=1), -np.diff(density, axis=1)
    second = masses - np.diff(edges * density, axis=1)
    return np.sum(second - 2 * points * first + points**2 * masses, axis=1)


def _check_group(group: int, least: int) -> None:
    if group < least:
        raise ValueError(f"groups of {group} numbers: give {least} or more")
