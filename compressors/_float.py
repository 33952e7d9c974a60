"""Floats at the ends of their range: bits, which nobody flushes to zero, and safe quotients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt


class Format(NamedTuple):
    """A float dtype: a sign bit, `exponent` bits and `mantissa` bits, read as `integer`."""

    exponent: int
    mantissa: int
    integer: Any

    @property
    def infinity(self) -> int:
        """The bits of +∞: those of the magnitude of a NaN are more."""
        return (1 << self.exponent) - 1 << self.mantissa

    @property
    def one(self) -> int:
        """The biased exponent of 1."""
        return (1 << self.exponent - 1) - 1


def float_format(dtype: Any) -> Format:
    """The format of a float dtype."""
    limits = jnp.finfo(dtype)
    integer = {16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}[int(limits.bits)]
    return Format(int(limits.nexp), int(limits.nmant), integer)


def bits_of(x: Float[Array, "*shape"]) -> UInt[Array, "*shape"]:
    """The bits of `x`."""
    return jax.lax.bitcast_convert_type(x, float_format(x.dtype).integer)


def magnitude_bits(x: Float[Array, "*shape"]) -> UInt[Array, "*shape"]:
    """The bits of |x|, in the same order as |x|."""
    form = float_format(x.dtype)
    return bits_of(x) & ((1 << form.exponent + form.mantissa) - 1)


def largest(x: Float[Array, "*shape"]) -> Float[Array, ""]:
    """max|x_j|, and ∞ where `x` holds a NaN, which XLA's own maximum loses in a long vector."""
    return jnp.max(jnp.where(x == x, jnp.abs(x), jnp.inf))


def quotient(x: Float[Array, "*shape"], by: Float[Array, ""]) -> Float[Array, "*shape"]:
    """x/by in the dtype of `by`, where |x_j| ≤ by; `x` itself where `by` is 0.

    XLA multiplies by 1/by, which for the largest numbers is subnormal and flushed to zero: both
    are quartered first.
    """
    scale = jnp.where(by > 1, 0.25, 1).astype(by.dtype)
    return x.astype(by.dtype) * scale / jnp.where(by > 0, by * scale, 1)
