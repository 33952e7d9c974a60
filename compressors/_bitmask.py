"""Masks as words of 32 bits: counted, ranked and listed without a scan over the coordinates.

Bit i mod 32 of word i // 32 is coordinate i. A `cumsum` over d coordinates costs XLA on a CPU as
much as 60 copies of the vector; here a scan runs over d/32 words and population counts do the rest.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from compressors.kernels.pack import pack


WORD = 32


def to_words(mask: Bool[Array, " d"]) -> UInt32[Array, " words"]:
    """The mask, ⌈d/32⌉ words; the bits beyond d are zero."""
    return pack(mask.astype(jnp.uint8), 1, layout="sequential")


def count(words: UInt32[Array, " words"]) -> Int[Array, ""]:
    """How many bits are set."""
    return _ones(words).sum(dtype=jnp.int32)


def ranks(words: UInt32[Array, " words"]) -> Int[Array, " bits"]:
    """For each of the 32 bits of each word, how many bits before it are set."""
    before = jax.lax.associative_scan(jnp.add, _ones(words)) - _ones(words)
    lower = (jnp.uint32(1) << jnp.arange(WORD, dtype=jnp.uint32)) - jnp.uint32(1)
    return (before[:, None] + _ones(words[:, None] & lower[None, :])).reshape(-1)


def positions(words: UInt32[Array, " words"], size: int) -> Int[Array, " size"]:
    """The first `size` set bits, in order; 32·words where there are fewer.

    For each slot the word, as the number of words that end before it, then the bit in the word by
    five halvings.
    """
    ends = jax.lax.associative_scan(jnp.add, _ones(words))
    slot = jnp.arange(size, dtype=jnp.int32)
    ended = jnp.zeros(size, jnp.int32).at[ends].add(1, mode="drop")
    found = jax.lax.associative_scan(jnp.add, ended)
    word = words.at[found].get(mode="clip")
    rank = slot - (ends.at[found].get(mode="clip") - _ones(word))
    bit = jnp.zeros(size, jnp.int32)
    for half in (16, 8, 4, 2, 1):
        low = _ones(word & jnp.uint32((1 << half) - 1))
        upper = rank >= low
        rank = jnp.where(upper, rank - low, rank)
        word = jnp.where(upper, word >> half, word)
        bit = jnp.where(upper, bit + half, bit)
    return jnp.where(found < words.shape[0], WORD * found + bit, WORD * words.shape[0])


def _ones(words: UInt32[Array, "..."]) -> Int[Array, "..."]:
    return jax.lax.population_count(words).astype(jnp.int32)
