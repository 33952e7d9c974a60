"""K distinct coordinates out of d, every subset equally likely, without a permutation or a sort."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray


COMPARE_AT_MOST = 128
"""Up to this K a draw is compared with all earlier ones; above it, membership is a table of d."""


def distinct(key: PRNGKeyArray, K: int, d: int) -> Int[Array, " K"]:
    """K distinct indices in [0, d), int32, by Floyd's sampling.

    For j = d − K, …, d − 1 draw t uniform on [0, j] and take t, or j where t is already taken
    (Bentley and Floyd, "A sample of brilliance", CACM 1987). Every K-subset is equally likely; the
    order of the indices is not uniform. K draws of `randint`; 1 ≤ K ≤ d is the caller's to check.
    """
    last = jnp.arange(d - K, d, dtype=jnp.int32)
    draws = jax.random.randint(key, (K,), 0, last + 1, dtype=jnp.int32)
    return _compared(draws, last) if K <= COMPARE_AT_MOST else _tabulated(draws, last, d)


def _compared(draws: Int[Array, " K"], last: Int[Array, " K"]) -> Int[Array, " K"]:
    """O(K²) comparisons, all lanes of a vmap at once: nothing is gathered or scattered."""

    def step(i: Int[Array, ""], chosen: Int[Array, " K"]) -> Int[Array, " K"]:
        taken = (chosen == draws[i]).any()
        return chosen.at[i].set(jnp.where(taken, last[i], draws[i]))

    return jax.lax.fori_loop(0, draws.size, step, jnp.full_like(draws, -1))


def _tabulated(draws: Int[Array, " K"], last: Int[Array, " K"], d: int) -> Int[Array, " K"]:
    """O(K + d): one look-up and one mark a step."""

    def step(taken: Array, draw: tuple[Array, Array]) -> tuple[Array, Array]:
        t, j = draw
        index = jnp.where(taken[t], j, t)
        return taken.at[index].set(True), index

    return jax.lax.scan(step, jnp.zeros(d, bool), (draws, last))[1]
