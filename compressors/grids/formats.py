"""Grids of the formats that others store weights in, as multiples of the largest |w| of a group.

Their `mse` is that of the grid as it stands, without a scale; `absmax_error` is what a format makes
of Gaussian groups.
"""

import functools

import numpy as np

from compressors.grids.grid import Grid
from compressors.grids.scalar import scalar_mse


NF4_NEGATIVE = (-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500)
NF4_POSITIVE = (0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0)
AF4_NEGATIVE = (-1.0, -0.69441, -0.51244, -0.37370, -0.25608, -0.14982, -0.04935)
AF4_POSITIVE = (0.04273, 0.12934, 0.21961, 0.31676, 0.42564, 0.55496, 0.72425, 1.0)
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The values of E2M1 that are not negative, by their codes."""
MOST_BITS = 16


@functools.cache
def nf4() -> Grid:
    """NormalFloat of 4 bits (Dettmers et al. 2023, arXiv 2305.14314): quantiles, with a zero."""
    return _line(np.array([*NF4_NEGATIVE, 0.0, *NF4_POSITIVE]))


@functools.cache
def af4() -> Grid:
    """AbnormalFloat of 4 bits for groups of 64 (Yoshida 2023, arXiv 2306.06965): least |error|."""
    return _line(np.array([*AF4_NEGATIVE, 0.0, *AF4_POSITIVE]))


@functools.cache
def fp4() -> Grid:
    """E2M1 divided by 6: 15 points, since −0 and 0 are one; a code still takes 4 bits."""
    positive = np.array(E2M1) / max(E2M1)
    return _line(np.concatenate([-positive[:0:-1], positive]))


@functools.cache
def integer(bits: int, divisor: float | None = None) -> Grid:
    """The integers −2^(bits−1) … 2^(bits−1) − 1 divided by `divisor`.

    Args:
        bits: from 2 to 16.
        divisor: what the largest |w| of a group becomes. Without one 2^(bits−1) − 1, which a
            group's largest |w| then is exactly and the lowest integer serves nobody. With
            2^(bits−1) − ½ the steps are smaller and one end is clipped by half a step.

    Raises:
        ValueError: other bits, or a divisor that is not positive.
    """
    if not 2 <= bits <= MOST_BITS:
        raise ValueError(f"integers of {bits} bits: give from 2 to {MOST_BITS}")
    half = 1 << (bits - 1)
    span = half - 1 if divisor is None else divisor
    if not span > 0:
        raise ValueError(f"integers divided by {divisor}: give a positive divisor")
    return _line(np.arange(-half, half) / span)


def _line(points: np.ndarray) -> Grid:
    return Grid(points[:, None], scalar_mse(points))
