"""EDEN and DRIVE: rotate at random, round to the best grid for a Gaussian, rescale."""

import abc
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8, UInt32

from compressors._base import AsymptoticallyUnbiased, Compressor, Constant, Message, Unbiased
from compressors._dtype import wide
from compressors._float import quotient
from compressors._gaussian_grid import MOST_BITS, grid_omega_bound, lloyd_max, sign_omega
from compressors._levels import norm, norm_bits
from compressors._seed import key_of, seed_of
from compressors._thresholds import count_below
from compressors.kernels.hadamard import padded_size, rotate, rotate_back
from compressors.kernels.pack import pack, unpack


MOST_UNIFORM = 1 << 13
"""Largest d of a uniform rotation, which takes d²/2 normals at each end."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Rotated:
    """Grid points of a rotated vector, their scale, the seed of the rotation, and what x was."""

    levels: UInt8[Array, "*batch p"]
    scale: Float[Array, "*batch"]
    seed: UInt32[Array, "*batch 2"]
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})


@dataclass(frozen=True)
class _RotatedGrid(Compressor):
    """C(x) = S·Rᵀq with z = (√p/‖x‖)·R·x, q the grid points next to z, and S = ‖x‖√p/⟨z, q⟩.

    S makes ⟨C(x), x⟩ = ‖x‖² in every draw; what is left is orthogonal to x and has the squared
    length ‖x‖²·tan²∠(z, q). The grid is Lloyd and Max's for a normal variable: a coordinate of z is
    nearly one. Bits: `bits` a coordinate, packed, and 32 for S (64 for float64); the rotation comes
    from the key.

    Attributes:
        bits: of a coordinate, from 1 to 8; 1 is DRIVE.
    """

    bits: int = field(metadata={"static": True})
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise ValueError(f"{self.name} with bits = {self.bits}: give from 1 to {MOST_BITS}")

    @abc.abstractmethod
    def _size(self, d: int) -> int:
        """p, the number of coordinates after the rotation."""

    @abc.abstractmethod
    def _rotate(self, x: Float[Array, " d"], key: PRNGKeyArray) -> Float[Array, " p"]:
        """R·x."""

    @abc.abstractmethod
    def _rotate_back(self, z: Float[Array, " p"], key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
        """Rᵀz."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Rotated:
        """Rotate and round."""
        d, dtype = x.shape[0], wide(x)
        self.check(d)
        seed, root = seed_of(key), math.sqrt(self._size(d))
        size = norm(x, 2)
        usable = (size > 0) & jnp.isfinite(size)
        unit = quotient(x, jnp.where(usable, size, 1))
        z = root * self._rotate(unit, key_of(seed))
        thresholds = jnp.asarray(lloyd_max(self.bits).thresholds, dtype)
        levels = count_below(thresholds, z).astype(jnp.uint8)
        along = jnp.sum(z * self._points(levels, dtype))
        scale = size * (root / jnp.where(usable, along, root))
        return Rotated(levels, scale, seed, d, jnp.dtype(x.dtype))

    def expand(self, code: Rotated) -> Float[Array, " d"]:
        """Rotate back; the rotation is drawn again."""
        q = self._points(code.levels, code.scale.dtype)
        x = self._rotate_back(q, key_of(code.seed), code.d)
        return (code.scale * x).astype(code.dtype)

    def pack(self, code: Rotated) -> Message:
        """`{"scale", "words"}`, and "dtype": an empty array that has the dtype of the vector."""
        words = pack(code.levels, self.bits)
        return {"scale": code.scale, "words": words, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Rotated:
        """The code, with the seed of `key`."""
        self.check(d)
        levels = unpack(message["words"], self.bits, self._size(d))
        return Rotated(levels, message["scale"], seed_of(key), d, message["dtype"].dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """`bits` for each of p coordinates, and a scale."""
        self.check(d)
        return self.bits * self._size(d) + norm_bits(dtype)

    def _points(self, levels: UInt8[Array, " p"], dtype: Any) -> Float[Array, " p"]:
        return jnp.asarray(lloyd_max(self.bits).points, dtype)[levels]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EDEN(_RotatedGrid, AsymptoticallyUnbiased):
    """The rotation is one or two randomised Hadamard transforms: fast, and *not* unbiased.

    For a finite d the signs do not make R·x uniform on a sphere, and C(x) is biased. One transform
    is the published form (Vargaftik et al. 2021, arXiv 2105.08339, DRIVE; 2022, arXiv 2108.08842,
    EDEN). Its bias declines with max|x_j|/‖x‖, but not with d for every x: the signs of
    H·diag(s)·(1, 0.99, 0, …, 0) do not depend on the second coordinate, so that one bit loses it
    and the bias is 0.99‖x‖ for every d. The first of two transforms spreads any x, and the second
    makes the coordinates nearly normal: with two, the bias vanishes for every x as d grows.

    A vector is padded to p = 2^⌈log2 d⌉ coordinates, and all p travel.

    Attributes:
        transforms: 2, or 1 for the published form and dense vectors.
    """

    transforms: int = field(default=2, metadata={"static": True})
    name: ClassVar[str] = "EDEN"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transforms not in (1, 2):
            raise ValueError(f"EDEN with {self.transforms} Hadamard transforms: give 1 or 2")

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def limit_omega(self) -> Constant:
        """1/(1 − D) − 1, D the distortion of the grid: π/2 − 1 for one bit.

        From tan² = ‖z‖²‖q‖²/⟨z, q⟩² − 1 and E q² = E g·q = 1 − D. The limit of powers of two d; the
        part of the error that falls on the padding is cut off, so that others have less.
        """
        d = lloyd_max(self.bits).distortion
        return Constant(d / (1 - d), "bound", "attained by powers of two d")

    def _size(self, d: int) -> int:
        return padded_size(d)

    def _rotate(self, x: Float[Array, " d"], key: PRNGKeyArray) -> Float[Array, " p"]:
        for i in range(self.transforms):
            x = rotate(x, key=jax.random.fold_in(key, i))
        return x

    def _rotate_back(self, z: Float[Array, " p"], key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
        for i in reversed(range(self.transforms)):
            z = rotate_back(z, key=jax.random.fold_in(key, i), d=z.shape[0] if i else d)
        return z


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UniformEDEN(_RotatedGrid, Unbiased):
    """The rotation is uniform over all orthogonal matrices: unbiased, and slow.

    Given z, the direction of Rᵀq orthogonal to x is uniform, so E C(x) = x, for every grid. The
    rotation is a product of d − 1 random reflections and random signs (Stewart 1980): O(d²) work
    and random numbers for each of sender and receiver, one reflection after the other.
    """

    name: ClassVar[str] = "uniform EDEN"

    def check(self, d: int) -> None:
        """Raises `ValueError` where d is more than `MOST_UNIFORM`."""
        if d > MOST_UNIFORM:
            raise ValueError(
                f"a uniform rotation of d = {d} coordinates takes d²/2 normal variables: give d <= "
                f"{MOST_UNIFORM}, or take EDEN, whose rotation is fast"
            )

    def omega(self, d: int) -> Constant:
        """E tan²∠(z, q): exact for one bit, where it rises to π/2 − 1; else a bound.

        The derivations are those of `sign_omega` and `grid_omega_bound`. Where `bits` > 1 the bound
        is far above the truth for small d, and tends to the limit 1/(1 − D) − 1.
        """
        self.check(d)
        if self.bits == 1:
            return Constant(sign_omega(d), "exact", "every vector")
        return Constant(grid_omega_bound(self.bits, d), "bound", "concentration on the sphere")

    def _size(self, d: int) -> int:
        return d

    def _rotate(self, x: Float[Array, " d"], key: PRNGKeyArray) -> Float[Array, " d"]:
        last = x.shape[0] - 2
        flipped = _signs(key, x) * x
        return jax.lax.fori_loop(0, last + 1, lambda i, y: _reflect(key, last - i, y), flipped)

    def _rotate_back(self, z: Float[Array, " d"], key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
        reflected = jax.lax.fori_loop(0, d - 1, lambda k, y: _reflect(key, k, y), z)
        return _signs(key, z) * reflected


def _signs(key: PRNGKeyArray, like: Float[Array, " d"]) -> Float[Array, " d"]:
    return jax.random.rademacher(jax.random.fold_in(key, like.shape[0]), like.shape, like.dtype)


def _reflect(key: PRNGKeyArray, k: Int[Array, ""], y: Float[Array, " d"]) -> Float[Array, " d"]:
    """The reflection of coordinates k, …, d − 1 that turns e_k into a uniform direction ±v/‖v‖.

    Its axis is v ± ‖v‖e_k, with the sign of v_k so that nothing cancels.
    """
    place = jnp.arange(y.shape[0], dtype=k.dtype)
    normal = jax.random.normal(jax.random.fold_in(key, k), y.shape, y.dtype)
    v = jnp.where(place >= k, normal, 0)
    length = jnp.sqrt(jnp.sum(v * v))
    axis = jnp.where(place == k, v + jnp.copysign(length, v), v)
    return y - (2 * jnp.sum(axis * y) / jnp.sum(axis * axis)) * axis
