"""Grids of up to 256 points, with the arithmetic that quantizes to them: one for all backends.

A grid turns a number into a code of `bits` bits and back, given the scale of the number's group. It
computes in float32 up to a product, and then in integers: there is no sum of a product, which a
compiler may contract to one operation with one rounding, so that codes are the same everywhere.

Rounding is one formula. The position on the grid, cut off at 2^−F, is a fixed-point number; F bits
of a random word are added to it, and the fraction is dropped. That is unbiased, but for the cut: a
mean is too near to zero by less than 2^−F of a step, with F ≥ 23. The constant `HALF` in place of a
random word rounds to the nearest point, and up where two are equally near.

A NaN is rounded as zero is, and infinities are clipped: a scale that was computed from the vector
carries them to the decoder. Scales and their reciprocals must be normal float32 numbers; where a
scale is 0, or not finite, the code is that of zero.
"""

import abc
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, UInt32


HALF = 1 << 31
"""The word that rounds to the nearest point."""

MANTISSA = 23
ONE = 127
"""The biased exponent of 1 in float32."""


class Grid(abc.ABC):
    """Points, in units of the scale of a group."""

    random = True
    """Whether random words make its rounding unbiased."""

    shifted = False
    """Whether each group has a zero point besides its scale."""

    multiples = True
    """Whether its points are multiples of the scale."""

    @property
    @abc.abstractmethod
    def bits(self) -> int:
        """Bits of a code, at most 8."""

    @abc.abstractmethod
    def encode(
        self,
        x: Float32[Array, "*S"],
        inverse: Float32[Array, "..."],
        zero: Int32[Array, "..."],
        word: UInt32[Array, "..."],
    ) -> UInt32[Array, "*S"]:
        """The codes, given one over the scale, the zero points and the words to round with."""

    @abc.abstractmethod
    def decode(
        self, code: UInt32[Array, "*S"], scale: Float32[Array, "..."], zero: Int32[Array, "..."]
    ) -> Float32[Array, "*S"]:
        """The numbers that codes stand for."""

    def count(self, code: UInt32[Array, "*S"], zero: Int32[Array, "..."]) -> Int32[Array, "*S"]:
        """The multiple of the scale that a code stands for.

        Raises:
            TypeError: the points are not multiples of the scale.
        """
        raise TypeError(f"the points of {self} are not multiples of the scale")


@dataclass(frozen=True)
class Levels(Grid):
    """The levels −s … s, sent as level + s: QSGD with the scale ‖x‖/s, ternary with s = 1.

    A symmetric grid of b bits has s = 2^(b − 1) − 1.
    """

    s: int

    def __post_init__(self) -> None:
        if not 1 <= self.s <= 127:
            raise ValueError(f"{self.s} levels above zero do not fit 8 bits: give s from 1 to 127")

    @property
    def bits(self) -> int:
        """⌈log2(2s + 1)⌉."""
        return (2 * self.s).bit_length()

    def encode(
        self,
        x: Float32[Array, "*S"],
        inverse: Float32[Array, "..."],
        zero: Int32[Array, "..."],
        word: UInt32[Array, "..."],
    ) -> UInt32[Array, "*S"]:
        """The level nearest, or next by chance, plus s; the zero point is not used."""
        y = _clipped(x * inverse, -float(self.s), float(self.s))
        return (_rounded(y, 31 - self.s.bit_length(), word) + self.s).astype(jnp.uint32)

    def decode(
        self, code: UInt32[Array, "*S"], scale: Float32[Array, "..."], zero: Int32[Array, "..."]
    ) -> Float32[Array, "*S"]:
        """Level times scale."""
        return self.count(code, zero).astype(jnp.float32) * scale

    def count(self, code: UInt32[Array, "*S"], zero: Int32[Array, "..."]) -> Int32[Array, "*S"]:
        """The level."""
        return code.astype(jnp.int32) - self.s


@dataclass(frozen=True)
class Affine(Grid):
    """The codes 0 … 2^bits − 1, which stand for (code − zero)·scale with a zero point a group."""

    width: int
    shifted = True

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 8:
            raise ValueError(f"codes of {self.width} bits are not served: give 1 to 8 bits")

    @property
    def bits(self) -> int:
        """The width."""
        return self.width

    def encode(
        self,
        x: Float32[Array, "*S"],
        inverse: Float32[Array, "..."],
        zero: Int32[Array, "..."],
        word: UInt32[Array, "..."],
    ) -> UInt32[Array, "*S"]:
        """x/scale rounded, plus the zero point, in 0 … 2^bits − 1."""
        below, above = -zero, (1 << self.width) - 1 - zero
        y = _clipped(x * inverse, below.astype(jnp.float32), above.astype(jnp.float32))
        return (_rounded(y, 31 - self.width, word) + zero).astype(jnp.uint32)

    def decode(
        self, code: UInt32[Array, "*S"], scale: Float32[Array, "..."], zero: Int32[Array, "..."]
    ) -> Float32[Array, "*S"]:
        """(code − zero)·scale."""
        return self.count(code, zero).astype(jnp.float32) * scale

    def count(self, code: UInt32[Array, "*S"], zero: Int32[Array, "..."]) -> Int32[Array, "*S"]:
        """Code minus zero point."""
        return code.astype(jnp.int32) - zero


@dataclass(frozen=True)
class Powers(Grid):
    """Natural compression: ±scale·2^(k − s) for k = 1 … s = 2^(width − 1) − 1, and 0.

    The code is k, and the sign in the bit above. The mantissa of |x|/scale is the probability of
    the upper power; below the lowest power a number becomes zero or that power. With 8 bits the
    powers reach down to 2^−126 of the scale.
    """

    width: int
    multiples = False

    def __post_init__(self) -> None:
        if not 2 <= self.width <= 8:
            raise ValueError(f"signs and powers in {self.width} bits: give 2 to 8 bits")

    @property
    def bits(self) -> int:
        """The width."""
        return self.width

    @property
    def s(self) -> int:
        """How many powers there are."""
        return (1 << self.width - 1) - 1

    def encode(
        self,
        x: Float32[Array, "*S"],
        inverse: Float32[Array, "..."],
        zero: Int32[Array, "..."],
        word: UInt32[Array, "..."],
    ) -> UInt32[Array, "*S"]:
        """Number of the power, and sign; the zero point is not used."""
        y = _clipped(jnp.abs(x) * inverse, 0.0, 1.0)
        exponent = (_bits(y) + (word >> (32 - MANTISSA))) >> MANTISSA
        power = exponent.astype(jnp.int32) - (ONE - self.s)
        lowest = _rounded(jnp.minimum(y * 2.0 ** (self.s - 1), 1.0), 30, word)
        k = jnp.where(y < 2.0 ** (1 - self.s), lowest, power).astype(jnp.uint32)
        sign = (_bits(x) >> 31) << (self.width - 1)
        return jnp.where(k == 0, jnp.uint32(0), k | sign)

    def decode(
        self, code: UInt32[Array, "*S"], scale: Float32[Array, "..."], zero: Int32[Array, "..."]
    ) -> Float32[Array, "*S"]:
        """The power with its sign, times scale."""
        k = code & jnp.uint32(self.s)
        exponent = jnp.where(k == 0, jnp.uint32(0), k + jnp.uint32(ONE - self.s)) << MANTISSA
        power = jax.lax.bitcast_convert_type(exponent, jnp.float32)
        return jnp.where(code >> (self.width - 1) == 1, -power, power) * scale


@dataclass(frozen=True)
class Signs(Grid):
    """One bit: ±scale, with 1 for negative numbers and −0. Nothing is rounded."""

    random = False

    @property
    def bits(self) -> int:
        """One."""
        return 1

    def encode(
        self,
        x: Float32[Array, "*S"],
        inverse: Float32[Array, "..."],
        zero: Int32[Array, "..."],
        word: UInt32[Array, "..."],
    ) -> UInt32[Array, "*S"]:
        """The sign bit; the other arguments are not used."""
        return _bits(x) >> 31

    def decode(
        self, code: UInt32[Array, "*S"], scale: Float32[Array, "..."], zero: Int32[Array, "..."]
    ) -> Float32[Array, "*S"]:
        """±scale."""
        return self.count(code, zero).astype(jnp.float32) * scale

    def count(self, code: UInt32[Array, "*S"], zero: Int32[Array, "..."]) -> Int32[Array, "*S"]:
        """±1."""
        return 1 - 2 * code.astype(jnp.int32)


def _clipped(
    y: Float32[Array, "*S"],
    low: float | Float32[Array, "..."],
    high: float | Float32[Array, "..."],
) -> Float32[Array, "*S"]:
    return jnp.where(y == y, jnp.minimum(jnp.maximum(y, low), high), 0.0)


def _rounded(
    y: Float32[Array, "*S"], fraction: int, word: UInt32[Array, "..."]
) -> Int32[Array, "*S"]:
    """⌊([y·2^F] + F bits of the word)/2^F⌋, where [·] drops what is behind the point."""
    fixed = (y * 2.0**fraction).astype(jnp.int32)
    return (fixed + (word >> (32 - fraction)).astype(jnp.int32)) >> fraction


def _bits(x: Float32[Array, "*S"]) -> UInt32[Array, "*S"]:
    return jax.lax.bitcast_convert_type(x, jnp.uint32)
