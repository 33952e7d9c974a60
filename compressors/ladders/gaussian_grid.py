"""Rounding to the nearest point of a normal variable's best grid, at the best scale."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from compressors._base import Constant, Contractive, Message
from compressors._dtype import wide
from compressors._float import quotient
from compressors._gaussian_grid import MOST_BITS, lloyd_max
from compressors._levels import norm, norm_bits
from compressors._thresholds import count_below
from compressors.kernels.pack import pack, unpack


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GridPoints:
    """The grid point of each coordinate, their scale, and the dtype of the vector."""

    levels: UInt8[Array, "*batch d"]
    scale: Float[Array, "*batch"]
    dtype: Any = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianGrid(Contractive):
    """C(x) = S·q with q the points next to √d·x/‖x‖ on Lloyd and Max's grid, and S = ⟨x, q⟩/‖q‖².

    EDEN's grid without its rotation and with the scale of least error: deterministic, biased, no
    padding, ‖C(x) − x‖² = ‖x‖²·sin²∠(x, q). With one bit it is `ScaledSign`. The message is `bits`
    a coordinate, packed, and S (float32; float64 for float64).

    Attributes:
        bits: of a coordinate, from 1 to 8.
    """

    bits: int = field(metadata={"static": True})
    name: ClassVar[str] = "GaussianGrid"
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise ValueError(f"{self.name} with bits = {self.bits}: give from 1 to {MOST_BITS}")

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> GridPoints:
        """The points and their scale; the key is not used."""
        dtype, size = wide(x), norm(x, 2)
        usable = (size > 0) & jnp.isfinite(size)
        unit = quotient(x, jnp.where(usable, size, 1))
        thresholds = jnp.asarray(lloyd_max(self.bits).thresholds, dtype)
        z = math.sqrt(x.shape[0]) * unit
        levels = count_below(thresholds, z, equal=True).astype(jnp.uint8)
        q = self._points(levels, dtype)
        scale = size * (jnp.sum(unit * q) / jnp.sum(q * q))
        scale = jnp.where(jnp.isfinite(size), scale, jnp.nan)
        return GridPoints(levels, scale, jnp.dtype(x.dtype))

    def expand(self, code: GridPoints) -> Float[Array, " d"]:
        """The vector."""
        return (code.scale * self._points(code.levels, code.scale.dtype)).astype(code.dtype)

    def pack(self, code: GridPoints) -> Message:
        """`{"scale", "words"}`, and "dtype": an empty array that has the dtype of the vector."""
        words = pack(code.levels, self.bits)
        return {"scale": code.scale, "words": words, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> GridPoints:
        """The code; the key is not used."""
        levels = unpack(message["words"], self.bits, d).astype(jnp.uint8)
        return GridPoints(levels, message["scale"], message["dtype"].dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """`bits` a coordinate, and a scale."""
        return self.bits * d + norm_bits(dtype)

    def alpha(self, d: int) -> Constant:
        """α = 1/d.

        |q| is a nondecreasing function of |x|, so that both are sums of indicators of the k largest
        coordinates, k = 1 … d, with weights that are not negative. Two such indicators have the
        cosine √(k/m) ≥ 1/√d, and so have their sums, whence cos²∠(x, q) ≥ 1/d.
        """
        return Constant(1 / d, "bound", "|q| is nondecreasing in |x|")

    def compress_mean(
        self, x: Float[Array, " d"], m: Array, *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """One compression: all m messages are the same."""
        return self.expand(self.compress(x, key=key))

    def _points(self, levels: UInt8[Array, " d"], dtype: Any) -> Float[Array, " d"]:
        return jnp.asarray(lloyd_max(self.bits).points, dtype)[levels]
