"""Greedy use of what a choice leaves of the budget."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from compressors.allocation._base import total


def filled(
    rungs: Int32[Array, " L"],
    errors: Float[Array, "L R"],
    bits: Int32[Array, "L R"],
    budget: Int32[Array, ""],
) -> Int32[Array, " L"]:
    """The rungs, raised one after the other while a rise fits and lowers the error.

    Each time it is the rise that gains most error a bit; one that costs nothing goes first. A
    choice beyond the budget stays as it is.
    """
    R = bits.shape[1]
    every = jnp.arange(R, dtype=jnp.int32)[None, :]

    def rises(rungs: Int32[Array, " L"]) -> tuple[Bool[Array, "L R"], Float[Array, "L R"]]:
        here = rungs[:, None]
        cost = bits - jnp.take_along_axis(bits, here, axis=1)
        gain = jnp.take_along_axis(errors, here, axis=1) - errors
        left = budget - total(bits, rungs)
        possible = (every > here) & (cost <= left) & (gain > 0)
        rate = jnp.where(cost > 0, gain / jnp.maximum(cost, 1).astype(gain.dtype), jnp.inf)
        return possible, rate

    def raised(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rungs, possible, rate = state
        best = jnp.argmax(jnp.where(possible, rate, -1)).astype(jnp.int32)
        rungs = rungs.at[best // R].set(best % R)
        return rungs, *rises(rungs)

    return jax.lax.while_loop(lambda state: state[1].any(), raised, (rungs, *rises(rungs)))[0]
