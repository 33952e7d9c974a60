"""Signed levels of a norm: what dithering compressors send."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from compressors._base import Message
from compressors._dtype import wide
from compressors._float import largest, quotient
from compressors.kernels.pack import code_dtype, pack, unpack


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Levels:
    """Small signed integers, the norm that gives them a size, and the dtype of the vector."""

    levels: Int[Array, "*batch d"]
    norm: Float[Array, "*batch"]
    dtype: Any = field(metadata={"static": True})


def check_norm(name: str, p: int | float) -> None:
    """Raises `ValueError` unless p ≥ 1, for which ‖x‖_p is a norm."""
    if not p >= 1:
        raise ValueError(f"{name} cannot divide by a p-norm with p = {p}: give p >= 1 or math.inf")


def norm(x: Float[Array, " d"], p: int | float) -> Float[Array, ""]:
    """‖x‖_p, float32 or wider, without overflow on the way and never below max|x_j|.

    Where ‖x‖_p itself overflows the dtype of `x` it is the largest number of that dtype, which is
    still no less than max|x_j|. With a NaN or an infinity in `x` it is not finite.
    """
    most = largest(x).astype(wide(x))
    unit = quotient(x, most)
    if p == math.inf:
        root = jnp.ones_like(most)
    elif p == 2:
        root = jnp.sqrt(jnp.sum(unit * unit))
    else:
        root = jnp.sum(jnp.abs(unit) ** p) ** (1 / p)
    value = jnp.minimum(most * jnp.maximum(root, 1), float(jnp.finfo(x.dtype).max))
    return jnp.where(jnp.isfinite(most), value, most)


def fractions(x: Float[Array, " d"], norm: Float[Array, ""]) -> Float[Array, " d"]:
    """|x_j|/norm in [0, 1]; zeros where the norm is not finite."""
    return jnp.where(jnp.isfinite(norm), quotient(jnp.abs(x), norm), 0)


def signed(x: Float[Array, " d"], levels: Int[Array, " d"], s: int) -> Int[Array, " d"]:
    """`levels`, at most s, with the signs of `x`, in the smallest dtype."""
    return jnp.where(jnp.signbit(x), -levels, levels).astype(level_dtype(s))


def level_dtype(s: int) -> Any:
    """The smallest integer dtype that holds −s … s."""
    return jnp.int8 if s <= jnp.iinfo(jnp.int8).max else jnp.int16


def level_bits(s: int) -> int:
    """Bits of one of the 2s + 1 levels −s … s."""
    return (2 * s).bit_length()


def pack_levels(code: Levels, s: int) -> Message:
    """`{"norm", "words"}`, and "dtype": an empty array that has the dtype of the vector.

    The words hold level + s, in `level_bits(s)` bits each.
    """
    shifted = (code.levels.astype(jnp.int32) + s).astype(code_dtype(level_bits(s)))
    words = pack(shifted, level_bits(s))
    return {"norm": code.norm, "words": words, "dtype": jnp.zeros(0, code.dtype)}


def unpack_levels(message: Message, s: int, d: int) -> Levels:
    """The inverse of `pack_levels`."""
    shifted = unpack(message["words"], level_bits(s), d).astype(jnp.int32)
    return Levels((shifted - s).astype(level_dtype(s)), message["norm"], message["dtype"].dtype)


def norm_bits(dtype: Any) -> int:
    """Bits of a norm: 64 for float64, else 32."""
    return max(32, 8 * jnp.dtype(dtype).itemsize)


def flatness(d: int, p: int | float) -> float:
    """The largest ‖x‖_p/‖x‖₂ over d-vectors, d^max(0, 1/p − 1/2); for p ≤ 2 at constant |x_j|."""
    return d ** max(0.0, 1 / p - 0.5)
