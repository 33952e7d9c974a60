"""Random words for rounding: one hash serves four neighbours.

Entry j of row r uses hash(seed, r·⌈k/4⌉ + ⌊j/4⌋) turned left by 8·(j mod 4) bits. A turn is a
bijection, so that the word of every entry is uniform over all 32 bits, and rounding with it exactly
as unbiased as with a word of its own. What four neighbours share only couples them: their leading 8
bits are independent and decide but for a tie, so |Cov(1{u < a}, 1{v < b})| ≤ 2⁻⁸ for all a and b.
"""

import jax.numpy as jnp
from jaxtyping import Array, UInt32

from compressors.kernels.hash import Word, hash_words


SHARERS = 4
OWN = 8
"""Leading bits that an entry shares with none of its three neighbours."""


def turned(word: UInt32[Array, "*S"], lane: UInt32[Array, "*S"]) -> UInt32[Array, "*S"]:
    """The word of the neighbour number `lane` of four."""
    turn = OWN * lane
    return (word << turn) | (word >> ((32 - turn) & jnp.uint32(31)))


def words_for(seed: tuple[Word, Word], rows: int, k: int) -> UInt32[Array, "rows k"]:
    """The words of all entries."""
    fours = -(-k // SHARERS)
    index = jnp.arange(rows * fours, dtype=jnp.uint32)
    word = hash_words(seed, index).reshape(rows, fours, 1)
    lane = jnp.arange(SHARERS, dtype=jnp.uint32).reshape(1, 1, SHARERS)
    shape = (rows, fours, SHARERS)
    every = turned(jnp.broadcast_to(word, shape), jnp.broadcast_to(lane, shape))
    return every.reshape(rows, fours * SHARERS)[:, :k]
