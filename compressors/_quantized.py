"""A member that rounds to k levels with a uniform number out of one of n strata."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

from compressors._base import Compressor, Message
from compressors._dtype import wide
from compressors._float import quotient
from compressors._levels import norm, norm_bits
from compressors.kernels.hadamard import padded_size, rotate, rotate_back
from compressors.kernels.pack import pack, unpack
from compressors.kernels.threefry import random_halves


Span = Literal["norm", "max"] | tuple[float, float]
"""The interval of a member: ±‖x‖, ±max|x_j|, or one that is given."""

COIN_ORDER, COIN_SHIFT, COIN_LEVELS, COIN_SIGNS = range(4)
"""What is drawn from the coin, by the number folded into it."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quantized:
    """Levels of p coordinates and the scale that they share.

    `scale` is r where the interval is ±r, and 1 where it is given; it is not finite where the
    vector cannot be quantized. It has the dtype to scale in; `dtype` is that of the d-vector.
    """

    levels: UInt[Array, "*batch p"]
    scale: Float[Array, "*batch"]
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Member(Compressor):
    """One member of `CorrelatedQuantization`; with n = 1, of `IndependentQuantization`.

    The k levels are (1 + slack)/(k − 1) apart and start between −slack and 0, so that they cover
    [0, 1]. Private numbers come from the key, shared ones from the coin.
    """

    coin: PRNGKeyArray
    rank: Int[Array, ""] | int
    n: int = field(metadata={"static": True})
    k: int = field(metadata={"static": True})
    span: Span = field(metadata={"static": True})
    rotated: bool = field(metadata={"static": True})
    slack: float = field(metadata={"static": True})
    name: ClassVar[str] = "quantization"
    nonfinite = "spreads"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Quantized:
        """The levels of `x`."""
        z = x.astype(wide(x))
        if self.rotated:
            z = rotate(z, key=self._shared(COIN_SIGNS))
        y, scale = self._normalised(z)
        position = (y - self._lowest(y)) / self._spacing()
        level = jnp.clip(jnp.floor(position), 0, self.k - 2)
        up = self._below(position - level, key)
        levels = level.astype(jnp.uint16) + up.astype(jnp.uint16)
        return Quantized(levels.astype(_storage(self.k)), scale, x.shape[0], jnp.dtype(x.dtype))

    def expand(self, code: Quantized) -> Float[Array, " d"]:
        """The vector."""
        u = code.levels.astype(code.scale.dtype) * self._spacing()
        u = u + self._lowest(u)
        low, high = (-1.0, 1.0) if isinstance(self.span, str) else self.span
        z = code.scale * (low * (1 - u) + high * u)
        if self.rotated:
            z = rotate_back(z, key=self._shared(COIN_SIGNS), d=code.d)
        return z.astype(code.dtype)

    def pack(self, code: Quantized) -> Message:
        """`{"levels": words of ⌈log2 k⌉ bits a level, "scale": one number, "dtype": empty}`.

        The empty array costs nothing: its dtype tells the receiver that of the vector.
        """
        words = pack(code.levels, self._bits())
        return {"levels": words, "scale": code.scale, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Quantized:
        """The code; the key is not used."""
        levels = unpack(message["levels"], self._bits(), self._size(d))
        return Quantized(
            levels.astype(_storage(self.k)), message["scale"], d, message["dtype"].dtype
        )

    def payload_bits(self, d: int, dtype: Any) -> int:
        """⌈log2 k⌉ bits a level, and the scale."""
        return self._bits() * self._size(d) + norm_bits(dtype)

    def _bits(self) -> int:
        return (self.k - 1).bit_length()

    def _spacing(self) -> float:
        return (1 + self.slack) / (self.k - 1)

    def _size(self, d: int) -> int:
        return padded_size(d) if self.rotated else d

    def _shared(self, what: int) -> PRNGKeyArray:
        return jax.random.fold_in(self.coin, what)

    def _normalised(self, z: Float[Array, " p"]) -> tuple[Float[Array, " p"], Float[Array, ""]]:
        """Coordinates in units of the interval, in [0, 1], and the scale."""
        if not isinstance(self.span, str):
            low, high = self.span
            inside = ((z >= low) & (z <= high)).all()
            # Not in one product: the reciprocal of a large length, a constant, is flushed to zero.
            unit = 2.0 ** -max(-100, min(100, math.frexp(high / 2 - low / 2)[1]))
            y = (z * unit - low * unit) / (high * unit - low * unit)
            return y, jnp.where(inside, 1, jnp.nan).astype(z.dtype)
        scale = norm(z, 2 if self.span == "norm" else math.inf)
        usable = (scale > 0) & jnp.isfinite(scale)
        return 0.5 + 0.5 * quotient(z, jnp.where(usable, scale, 1)), scale

    def _lowest(self, like: Float[Array, " p"]) -> Float[Array, "..."]:
        """The lowest level of each coordinate, in [−slack, 0)."""
        if self.slack == 0:
            return jnp.zeros((1,), like.dtype)
        offset = jax.random.uniform(self._shared(COIN_LEVELS), like.shape, like.dtype)
        return self.slack * (offset - 1)

    def _below(self, f: Float[Array, " p"], key: PRNGKeyArray) -> Bool[Array, " p"]:
        """Whether U < f, U = (stratum + V)/n, V in [0, 1) of 16 bits a coordinate and a dither."""
        private = random_halves(jax.random.fold_in(key, 0), f.shape[0])
        dither = jax.random.uniform(jax.random.fold_in(key, 1), (), f.dtype)
        if self.n > 1:
            f = f * self.n - self._stratum(f.shape[0]).astype(f.dtype)
        threshold = jnp.floor(jnp.clip(f, 0, 1) * 2**16 + dither)
        return private.astype(f.dtype) < threshold

    def _stratum(self, p: int) -> Int[Array, " p"]:
        shift = jax.random.randint(self._shared(COIN_SHIFT), (p,), 0, self.n, jnp.int32)
        moved = shift + self._order()[self.rank]
        return jnp.where(moved < self.n, moved, moved - self.n)

    def _order(self) -> Int[Array, " n"]:
        order = jnp.arange(self.n, dtype=jnp.int32)
        return jax.random.permutation(self._shared(COIN_ORDER), order)


def _storage(k: int) -> Any:
    return jnp.uint8 if k <= 1 << 8 else jnp.uint16
