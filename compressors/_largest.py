"""The K largest magnitudes, exactly, without a sort; equal ones by the lowest index.

Magnitudes are compared as unsigned integers, their bit patterns: one order for all float dtypes,
with NaN above infinity. `lax.top_k` on a CPU sorts all of x but for float32.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from compressors._bitmask import WORD, count, positions, to_words


FEW = 16
"""Up to this K the largest are taken one by one; above it, those above a threshold."""

DEEPEST = 64
"""Most coordinates in a block of which only the maximum is looked at to begin with."""


def largest(x: Float[Array, " d"], K: int) -> Int[Array, " K"]:
    """The K coordinates of largest magnitude, int32.

    Their order is by magnitude up to K = `FEW` and by index above it; 1 ≤ K ≤ d is the caller's to
    check.
    """
    u = magnitudes(x)
    return one_by_one(u, K) if K <= FEW else above_threshold(u, K)


def magnitudes(x: Float[Array, " d"]) -> UInt[Array, " d"]:
    """The bit patterns of |x|; their highest bit is never set."""
    unsigned = {2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}[x.dtype.itemsize]
    return jax.lax.bitcast_convert_type(jnp.abs(x), unsigned)


def padded(u: UInt[Array, " d"], multiple: int = WORD) -> UInt[Array, " padded"]:
    """`u` and zeros up to a multiple of `multiple`, in memory of its own.

    Zeros at the end lose against all that precede them. Without the barrier XLA pads anew in every
    pass over u, an entry at a time.
    """
    missing = -u.shape[0] % multiple
    return jax.lax.optimization_barrier(jnp.pad(u, (0, missing))) if missing else u


def one_by_one(u: UInt[Array, " d"], K: int) -> Int[Array, " K"]:
    """K times the largest of the blocks' maxima: O(d + K√d), the largest first.

    Patterns are moved up by one, so that zero marks what is taken.
    """
    d = u.shape[0]
    width = 1 << (d.bit_length() // 2)
    blocks = jnp.pad(u + 1, (0, -d % width)).reshape(-1, width)

    def step(
        i: Int[Array, ""], state: tuple[UInt[Array, "rows width"], UInt[Array, " rows"], Array]
    ) -> tuple[Array, Array, Array]:
        blocks, tops, taken = state
        row = jnp.argmax(tops).astype(jnp.int32)
        column = jnp.argmax(blocks[row]).astype(jnp.int32)
        left = blocks[row].at[column].set(0)
        tops = tops.at[row].set(left.max())
        return blocks.at[row].set(left), tops, taken.at[i].set(row * width + column)

    state = blocks, blocks.max(axis=1), jnp.zeros(K, jnp.int32)
    return jax.lax.fori_loop(0, K, step, state)[2]


def above_threshold(u: UInt[Array, " d"], K: int) -> Int[Array, " K"]:
    """The coordinates above the K-th magnitude and the first that equal it, in order: O(d).

    The K-th largest of the maxima of blocks is below the K-th magnitude, and seldom far. A little
    more than K candidates are listed, and the K largest found among them.
    """
    width = min(DEEPEST, 1 << max(0, (u.shape[0] // (2 * K)).bit_length() - 1))
    spare = K // 4 + -(K + K // 4) % WORD
    u = padded(u, WORD * width)
    d = u.shape[0]
    candidates = jnp.arange(d, dtype=jnp.int32)
    if width > 1 and K + spare < d:
        maxima = u.reshape(width, -1).max(axis=0)
        low = cut(maxima, K, high=maxima.max() + 1)[0]
        mask = at_or_above(u, *cut(u, K, low=low, high=maxima.max() + 1, spare=spare))
        candidates = positions(to_words(mask), K + spare)
        u = jnp.where(candidates < d, u.at[candidates].get(mode="clip") + 1, 0)
    return candidates[positions(to_words(at_or_above(u, *cut(u, K))), K)]


def at_or_above(
    u: UInt[Array, " d"], level: UInt[Array, ""], end: Int[Array, ""]
) -> Bool[Array, " d"]:
    """The entries above `level`, and of those equal to it the ones before index `end`."""
    index = jnp.arange(u.shape[0], dtype=jnp.int32)
    return (u > level) | ((u == level) & (index < end))


def cut(
    u: UInt[Array, " d"],
    K: Int[Array, ""] | int,
    *,
    low: UInt[Array, ""] | int = 0,
    high: UInt[Array, ""] | int | None = None,
    spare: int = 0,
) -> tuple[UInt[Array, ""], Int[Array, ""]]:
    """A `level` and an `end` with K to K + spare entries `at_or_above` them.

    By bisection, first of the level between `low` and `high`, then, where equal entries leave no
    level that would do, of the index among them. At least K entries must be at or above `low`, and
    fewer than K at or above `high`.
    """
    d = u.shape[0]

    def size(level: UInt[Array, ""], end: Int[Array, ""]) -> Int[Array, ""]:
        return count(to_words(at_or_above(u, level, end)))

    def too_many(state: tuple[Array, Array, Array]) -> Bool[Array, ""]:
        below, above, n = state
        return (n > K + spare) & (above - below > 1)

    def halve_level(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        below, above, n = state
        middle = below + (above - below) // 2
        reached = size(middle, everywhere)
        enough = reached >= K
        return (
            jnp.where(enough, middle, below),
            jnp.where(enough, above, middle),
            jnp.where(enough, reached, n),
        )

    def halve_index(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        below, above, n = state
        middle = below + (above - below) // 2
        reached = size(level, middle)
        enough = reached >= K
        return (
            jnp.where(enough, below, middle),
            jnp.where(enough, middle, above),
            jnp.where(enough, reached, n),
        )

    everywhere = jnp.asarray(d, jnp.int32)
    low = jnp.asarray(low, u.dtype)
    top = jnp.asarray((jnp.iinfo(u.dtype).max >> 1) + 1 if high is None else high, u.dtype)
    level, _, n = jax.lax.while_loop(too_many, halve_level, (low, top, size(low, everywhere)))
    state = jnp.asarray(0, jnp.int32), everywhere, n
    return level, jax.lax.while_loop(too_many, halve_index, state)[1]
