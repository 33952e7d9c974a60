"""The root mean square s = 2^e·√mean((x/2^e)²) of a block of any magnitude, in parts.

2^e is the power of two at or below the largest magnitude, so that squares neither overflow nor
vanish, and numbers over it are exact. In a block of zeros, or of numbers below the normal ones, 2^e
is 1 and s is 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32


EXPONENT = 0x7F800000
"""The bits of a float32's exponent."""


def power_below(largest: Float32[Array, "*S"]) -> Float32[Array, "*S"]:
    """2^e, infinite where `largest` is."""
    bits = jax.lax.bitcast_convert_type(largest, jnp.uint32) & jnp.uint32(EXPONENT)
    power = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return jnp.where(power > 0, power, jnp.float32(1))


def inverse_root(mean: Float32[Array, "*S"]) -> Float32[Array, "*S"]:
    """1/√mean, but 1 where that is infinite."""
    return jnp.float32(1) / jnp.sqrt(jnp.where(mean == 0, jnp.float32(1), mean))
