"""Scales as they are stored, and whether the dtype of the store can hold them."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Shaped


ScaleDtype = Literal["float16", "bfloat16", "float32"]
DIGITS = 8
"""Bits of mantissa that the largest scale keeps at least: those of bfloat16."""
REMEDY = 'give scale_dtype="bfloat16" or "float32", or scale the weights'


def safe(scales: Float[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Scales in float32 to divide by: 1 for 0, which only a group of zeros has."""
    wide = scales.astype(jnp.float32)
    return jnp.where(wide == 0, jnp.float32(1), wide)


def check_scales(scales: Shaped[Array, "out groups"], W: Float[Array, "out in"]) -> None:
    """Raises `ValueError` for scales that their dtype cannot hold.

    They underflow where the largest of a matrix that is not zero has fewer than 8 bits. Single
    groups far smaller than the rest may be rounded to 0.
    """
    if scales.size == 0:
        return
    check_finite(scales)
    top, weight = jax.device_get((jnp.max(scales.astype(jnp.float32)), jnp.max(jnp.abs(W))))
    least = float(jnp.finfo(scales.dtype).smallest_subnormal) * 2.0 ** (DIGITS - 1)
    if weight > 0 and top < least:
        raise ValueError(
            f"weights up to {weight:g} have scales below {least:g}, where {scales.dtype} has fewer "
            f"than {DIGITS} bits: {REMEDY}"
        )


def check_finite(scales: Shaped[Array, "out groups"]) -> None:
    """Raises `ValueError` for scales that overflow their dtype."""
    if not jax.device_get(jnp.isfinite(scales.astype(jnp.float32)).all()):
        most = float(jnp.finfo(scales.dtype).max)
        raise ValueError(
            f"weights so large that scales are beyond {most:g}, the largest of {scales.dtype}: "
            f"{REMEDY}"
        )
