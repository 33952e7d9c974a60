"""HIGGS with the error of each p columns made good by the columns that follow.

With R the rotation of the inputs, H' = R·H·Rᵀ is the matrix of the rotated weights W' = W·Rᵀ, and
in `propagation` p columns of W' are rounded at once: to scale times the nearest point, with the
scales fixed beforehand.

Source: the HIGGS paper (see `higgs`), its combination with GPTQ.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int, UInt

from compressors.grids import Grid
from compressors.kernels.pack.layout import code_dtype
from compressors.weights.propagation import BLOCK, check_hessian, inverse_factor, propagate
from compressors.weights.quantizer import Report
from compressors.weights.rotation import Rotation


def fed_back(
    turned: Float32[Array, "out in"],
    scales: Float[Array, "out groups"],
    H: Float[np.ndarray, "in in"],
    grid: Grid,
    rotation: Rotation,
    damping: float,
) -> tuple[UInt[np.ndarray, "out codes"], Report]:
    """The codes of a rotated matrix, and what H took.

    Raises:
        ValueError: H of another shape, or see `inverse_factor`.
    """
    out, inputs = turned.shape
    check_hessian(H, inputs)
    p, spare = grid.p, -inputs % grid.p
    U, damping, tries = inverse_factor(_rotated(H, rotation), damping)
    # Weights that only fill up the last code are coupled to no other.
    U = np.pad(U, (0, spare))
    U[range(inputs, inputs + spare), range(inputs, inputs + spare)] = 1
    W = np.pad(np.asarray(turned, np.float64), ((0, 0), (0, spare)))
    steps = np.repeat(np.asarray(scales, np.float64), inputs // scales.shape[1], axis=1)
    steps = np.pad(steps, ((0, 0), (0, spare)))
    codes = np.empty((out, W.shape[1] // p), code_dtype(grid.width))
    nearest = _Nearest(grid)

    def round_columns(columns: np.ndarray, first: int) -> np.ndarray:
        step = steps[:, first : first + p]
        chosen = nearest(columns / np.where(step == 0, 1, step))
        codes[:, first // p] = chosen
        return grid.points[chosen] * step

    propagate(W, U, round_columns, step=p, block=BLOCK // p * p)
    return codes, Report(damping, tries)


class _Nearest:
    """The places of the points nearest to vectors, on the host."""

    def __init__(self, grid: Grid) -> None:
        from scipy.spatial import cKDTree

        self._cuts = grid.thresholds if grid.p == 1 else None
        self._tree = cKDTree(grid.points)

    def __call__(self, vectors: Float64[np.ndarray, "m p"]) -> Int[np.ndarray, " m"]:
        if self._cuts is not None:
            return np.searchsorted(self._cuts, vectors[:, 0])
        return self._tree.query(vectors)[1]


def _rotated(H: Float[np.ndarray, "in in"], rotation: Rotation) -> Float64[np.ndarray, "in in"]:
    """R·H·Rᵀ, computed in float32, of H over its mean diagonal."""
    mean = float(np.mean(np.diag(H))) or 1.0
    half = rotation.apply(jnp.asarray(H / mean, jnp.float32))
    return np.asarray(jax.device_get(rotation.apply(half.T)), np.float64)
