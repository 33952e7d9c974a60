"""E2M1, the float of 4 bits: a sign, two bits of exponent, one of mantissa; no NaN, no infinity."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from compressors.grids.formats import E2M1


LARGEST = max(E2M1)
SIGN = 8
"""The bit of a code that makes it negative."""
VALUES = np.array([*E2M1, *(-value for value in E2M1)], np.float32)[:, None]
"""By their codes, −0 among them."""


def e2m1_codes(x: Float32[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """The nearest values: of two equally near that of even mantissa, beyond ±6 ±6, never −0."""
    size = jnp.abs(x)
    code = jnp.zeros(x.shape, jnp.uint8)
    for low in range(SIGN - 1):
        middle = jnp.float32((E2M1[low] + E2M1[low + 1]) / 2)
        beyond = size >= middle if low % 2 else size > middle
        code = code + beyond.astype(jnp.uint8)
    negative = (x < 0) & (code > 0)
    return code + jnp.where(negative, jnp.uint8(SIGN), jnp.uint8(0))
