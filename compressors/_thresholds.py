"""How many thresholds lie below each number: rounding to the nearest point of a line."""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from compressors.kernels.windows import by_rows


COUNTED = 256
"""Thresholds up to which comparing with all of them is faster than bisection."""
NUMBERS = 1 << 14
"""Numbers that are compared with all thresholds while they stay in a processor's cache."""
TOGETHER = 16
"""Thresholds that are compared with a number in one pass."""


@partial(jax.jit, static_argnames="equal")
def count_below(
    thresholds: Float[Array, " cuts"], x: Float[Array, "*batch"], *, equal: bool = False
) -> UInt32[Array, "*batch"]:
    """The number of thresholds below each number of x.

    Args:
        thresholds: in rising order.
        x: of the same dtype; a NaN gets an arbitrary number from 0 to `cuts`.
        equal: whether thresholds equal to a number count as below it.
    """
    if len(thresholds) > COUNTED:
        side = "right" if equal else "left"
        return jnp.searchsorted(thresholds, x, side=side).astype(jnp.uint32)
    spare = -len(thresholds) % TOGETHER
    bundles = jnp.pad(thresholds, (0, spare), constant_values=jnp.nan).reshape(-1, TOGETHER)
    above = jnp.greater_equal if equal else jnp.greater

    def count(x: Float[Array, " m"]) -> UInt32[Array, " m"]:
        def more(b: Array, found: Array) -> Array:
            passed = (above(x, cut).astype(jnp.uint32) for cut in jnp.unstack(bundles[b]))
            return reduce(jnp.add, passed, found)

        return jax.lax.fori_loop(0, len(bundles), more, jnp.zeros(len(x), jnp.uint32))

    # One pass needs no cache, and is fused with what makes x and what reads the result.
    window = NUMBERS if len(bundles) > 1 else max(1, x.size)
    return by_rows(count, (x.reshape(-1),), window).reshape(x.shape)
