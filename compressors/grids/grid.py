"""A grid: n points of R^p, and rounding to the nearest of them."""

import math
from dataclasses import dataclass
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt

from compressors._dtype import wide
from compressors._thresholds import count_below
from compressors.kernels.pack import code_dtype
from compressors.kernels.windows import by_rows


ROWS = 1 << 14
"""Vectors that are compared with all points while they stay in a processor's cache."""
TOGETHER = 16
"""Points that are compared with a vector in one pass."""


@dataclass(frozen=True, eq=False)
class Grid:
    """n distinct points of R^p, n ≥ 2, read-only.

    Two grids are equal if they are the same object, so that one can be a static argument of a
    jitted function.

    Attributes:
        points: in rising order where p = 1.
        mse: E‖z − q(z)‖²/p for z standard normal in R^p and q(z) the point nearest to it.
        mse_error: the standard error of `mse`; zero where it is a closed form.
    """

    points: Float[np.ndarray, "n p"]
    mse: float
    mse_error: float = 0.0

    def __post_init__(self) -> None:
        if len(self.points) < 2:
            raise ValueError(f"a grid of {len(self.points)} points: give 2 or more")
        if not np.isfinite(self.points).all():
            raise ValueError("a grid with a point that is not finite: give finite points")
        if len(np.unique(self.points, axis=0)) != len(self.points):
            raise ValueError("a grid with a point given twice: give distinct points")
        if self.p == 1 and (np.diff(self.points[:, 0]) < 0).any():
            raise ValueError("a grid of numbers that are not in rising order: sort them")
        self.points.setflags(write=False)

    @property
    def n(self) -> int:
        """The number of points."""
        return self.points.shape[0]

    @property
    def p(self) -> int:
        """The numbers that one code stands for."""
        return self.points.shape[1]

    @property
    def bits(self) -> float:
        """log2(n)/p, the bits of a number."""
        return math.log2(self.n) / self.p

    @property
    def width(self) -> int:
        """⌈log2 n⌉, the bits of a code packed by itself; more than p·`bits` where n ≠ 2^k."""
        return (self.n - 1).bit_length()

    @property
    def thresholds(self) -> Float[np.ndarray, " cuts"]:
        """Halfway between neighbours; only for p = 1."""
        if self.p != 1:
            raise ValueError(f"a grid of p = {self.p} has no thresholds: they belong to p = 1")
        line = self.points[:, 0]
        return (line[1:] + line[:-1]) / 2

    def nearest(self, x: Float[Array, "*batch d"]) -> UInt[Array, "*batch codes"]:
        """The code of the point nearest to each p consecutive numbers of the last axis.

        Of points equally near the lowest code counts. Distances are computed in float32, or float64
        for float64, so that points whose distances differ by rounding alone are equally near.

        Args:
            x: any float dtype, d a multiple of p; a NaN gets an arbitrary code.

        Raises:
            ValueError: p does not divide d.
        """
        d = x.shape[-1]
        if d % self.p:
            raise ValueError(
                f"an axis of {d} numbers does not split into groups of p = {self.p}: pad it to "
                f"{-(-d // self.p) * self.p}, or take a grid whose p divides it"
            )
        dtype = wide(x)
        values = x.astype(dtype)
        if self.p == 1:
            codes = count_below(jnp.asarray(self.thresholds, dtype), values)
        else:
            vectors = values.reshape(-1, self.p)
            codes = _nearest(vectors, jnp.asarray(self.points, dtype))
        return codes.astype(code_dtype(self.width)).reshape(*x.shape[:-1], d // self.p)

    def decode(
        self, codes: UInt[Array, "*batch codes"], dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Float[Array, "*batch d"]:
        """The points of the codes, side by side; a code of n or more is read as n − 1."""
        points = jnp.asarray(self.points, dtype)
        values = jnp.take(points, codes.astype(jnp.int32), axis=0, mode="clip")
        return values.reshape(*codes.shape[:-1], codes.shape[-1] * self.p)


@jax.jit
def _nearest(x: Float[Array, "m p"], points: Float[Array, "n p"]) -> UInt[Array, " m"]:
    """argmax_j ⟨x, c_j⟩ − ‖c_j‖²/2, for some vectors at a time."""
    if x.shape[0] == 0:
        return jnp.zeros(0, jnp.uint32)
    spare = -len(points) % TOGETHER
    offset = jnp.pad(jnp.sum(points * points, axis=1) / 2, (0, spare), constant_values=jnp.inf)
    bundles = jnp.pad(points, ((0, spare), (0, 0))).reshape(-1, TOGETHER, points.shape[1])
    search = partial(_largest_score, bundles=bundles, offsets=offset.reshape(-1, TOGETHER))
    return jnp.minimum(by_rows(search, (x,), ROWS), jnp.uint32(len(points) - 1))


def _largest_score(
    x: Float[Array, "m p"], bundles: Float[Array, "b t p"], offsets: Float[Array, "b t"]
) -> UInt[Array, " m"]:
    """The best bundle of points first, in passes along the vectors, and then the point in it.

    A matrix of scores would cost five times as much: most of that goes into its reduction.
    """
    axes = jnp.unstack(x, axis=1)

    def score(bundle: Array, offset: Array) -> Float[Array, " m"]:
        scores = [
            reduce(jnp.add, [c * z for c, z in zip(jnp.unstack(point), axes, strict=True)]) - shift
            for point, shift in zip(jnp.unstack(bundle), jnp.unstack(offset), strict=True)
        ]
        return reduce(jnp.maximum, scores)

    def better(b: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        best, bundle = found
        highest = score(bundles[b], offsets[b])
        return jnp.maximum(best, highest), jnp.where(highest > best, b, bundle)

    nothing = jnp.full(len(x), -jnp.inf, x.dtype), jnp.zeros(len(x), jnp.int32)
    _, bundle = jax.lax.fori_loop(0, len(bundles), better, nothing)
    exact = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("mtp,mp->mt", bundles[bundle], x, precision=exact) - offsets[bundle]
    place = jnp.arange(TOGETHER, dtype=jnp.int32)[None]
    highest = scores == jnp.max(scores, axis=1, keepdims=True)
    first = jnp.min(jnp.where(highest, place, TOGETHER - 1), axis=1)
    return (bundle * TOGETHER + first).astype(jnp.uint32)
