"""Random coordinates out of d: any K, or K distinct ones without a permutation or a sort."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from compressors._bitmask import count, positions, to_words
from compressors.kernels.threefry import fold_in, random_words


COMPARE_AT_MOST = 128
"""Up to this K a draw is compared with all earlier ones; above it, repeats are found in a table."""

PLACES = 4
"""Places of the table of repeats for each draw."""

SPARE = 64
"""Draws beyond the mean number that it takes to see K distinct ones, and a little more."""


def below(key: PRNGKeyArray, bounds: Int[Array, " K"]) -> Int[Array, " K"]:
    """K independent integers, int32, the k-th uniform on [0, bounds[k]).

    Each is ⌊bound·u/2³²⌋ with a uniform word u, so that a probability is within 2⁻³² of 1/bound:
    off by bound/2³² of itself at most, as far as no experiment sees. `jax.random.randint` takes two
    words and two divisions a number, and is not exact either.
    """
    u, bounds = random_words(key, bounds.shape[0]), bounds.astype(jnp.uint32)
    half, low = jnp.uint32(16), jnp.uint32(0xFFFF)
    carry = (u >> half) * (bounds & low) + ((u & low) * (bounds & low) >> half)
    middle = (u & low) * (bounds >> half) + (carry & low)
    high = (u >> half) * (bounds >> half)
    return (high + (carry >> half) + (middle >> half)).astype(jnp.int32)


def distinct(key: PRNGKeyArray, K: int, d: int) -> Int[Array, " K"]:
    """K distinct indices in [0, d), int32; 1 ≤ K ≤ d is the caller's to check.

    Every K-subset is equally likely, as far as `below` is uniform; their order is not uniform.
    """
    if d == K:
        return jnp.arange(d, dtype=jnp.int32)
    if K <= COMPARE_AT_MOST:
        return floyd(key, K, d)
    return first_seen(key, K, d) if d >= 2 * K else left_over(key, K, d)


def floyd(key: PRNGKeyArray, K: int, d: int) -> Int[Array, " K"]:
    """For j = d − K, …, d − 1 a draw t uniform on [0, j] is taken, or j where t already is.

    Bentley and Floyd, "A sample of brilliance", CACM 1987. O(K²) comparisons, all lanes of a vmap
    at once: nothing is gathered or scattered.
    """
    last = jnp.arange(d - K, d, dtype=jnp.int32)
    draws = below(key, last + 1)

    def step(i: Int[Array, ""], chosen: Int[Array, " K"]) -> Int[Array, " K"]:
        taken = (chosen == draws[i]).any()
        return chosen.at[i].set(jnp.where(taken, last[i], draws[i]))

    return jax.lax.fori_loop(0, K, step, jnp.full_like(draws, -1))


def first_seen(key: PRNGKeyArray, K: int, d: int) -> Int[Array, " K"]:
    """The first K distinct values of a run of independent draws, for K ≤ d/2.

    A run without K distinct values is drawn anew: that says nothing about which they would be. It
    takes d·ln(d/(d − K)) ≤ K + 0.8 K²/d draws on average, so a second run is needed next to never.
    """
    length = K + -(-K * K // d) + SPARE

    def run(attempt: Int[Array, ""]) -> tuple[Array, Array]:
        draws = below(fold_in(key, attempt), jnp.full(length, d, jnp.int32))
        return draws, to_words(earliest(draws, d))

    def too_few(state: tuple[Array, Array, Array]) -> Bool[Array, ""]:
        return count(state[2]) < K

    def again(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        return state[0] + 1, *run(state[0] + 1)

    begin = jnp.asarray(0, jnp.int32)
    _, draws, new = jax.lax.while_loop(too_few, again, (begin, *run(begin)))
    return draws[positions(new, K)]


def earliest(draws: Int[Array, " L"], d: int) -> Bool[Array, " L"]:
    """Which draws below d equal none before them.

    A table would have d places; this one has a few a draw, and values that share a place take turns
    at it: the earliest draw there is new, and closed with its equals.
    """
    L = draws.shape[0]
    size = min(d, PLACES * L)
    place, index = draws % size, jnp.arange(L, dtype=jnp.int32)

    def turn(state: tuple[Array, Array]) -> tuple[Array, Array]:
        undecided, new = state
        table = jnp.full(size, L, jnp.int32)
        table = table.at[jnp.where(undecided, place, size)].min(index, mode="drop")
        first = table[place]
        equal = draws.at[first].get(mode="clip") == draws
        return undecided & ~equal, new | (undecided & (first == index))

    state = jnp.ones(L, bool), jnp.zeros(L, bool)
    return jax.lax.while_loop(lambda state: state[0].any(), turn, state)[1]


def left_over(key: PRNGKeyArray, K: int, d: int) -> Int[Array, " K"]:
    """What d − K distinct indices leave, in order."""
    kept = jnp.ones(d, bool).at[distinct(key, d - K, d)].set(False)
    return positions(to_words(kept), K)
