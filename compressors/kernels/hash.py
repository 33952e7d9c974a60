"""Random bits from counters for kernels: two words of seed and an index give 32 bits.

    mix(x):   x ^= x >> 16;  x *= 0x7FEB352D;  x ^= x >> 15;  x *= 0x846CA68B;  x ^= x >> 16
    k0 = mix(s0 + 0x9E3779B9)
    k1 = mix(mix(s1 ^ k0) + high)
    hash((s0, s1), index) = mix(mix(low + k0) ^ k1),    index = low + 2³²·high

with additions and products modulo 2³². For one seed and one `high` it is a bijection of `low`:
every word comes once in 2³² indices. k0 and k1 are two numbers for a whole kernel, so that a word
costs four products and 14 other operations, five in all where four numbers share a word.

Which generator when: `threefry.py` is a cipher, and draws what theory rests on, keys and the random
numbers of gradient compressors. This hash is a fifth of its price and for kernels on a GPU, where
the cipher would cost more than reading the array: dithers of quantizers, signs of rotations. It is
good against the tests of its test file, but nobody tried to break it. All operations are on uint32,
so that the words agree in kernels, references, backends, versions of JAX, with x64 or without.

Source of mix: Wellons, "Prospecting for hash functions", 2018: the constants of least bias found.
"""

import jax.numpy as jnp
from jaxtyping import Array, UInt32


Word = UInt32[Array, ""]
"""Half of a seed; `jax.random.bits(key, (2,), jnp.uint32)` makes both."""


def hash_words(
    seed: tuple[Word, Word], low: UInt32[Array, "*S"], high: UInt32[Array, "..."] | None = None
) -> UInt32[Array, "*S"]:
    """The hash of each index low + 2³²·high; without `high`, of `low`."""
    return scramble(schedule(seed, high), low)


def schedule(
    seed: tuple[Word, Word], high: UInt32[Array, "..."] | None = None
) -> tuple[Word, UInt32[Array, "..."]]:
    """k0 and k1: what does not depend on `low`."""
    k0 = mix(seed[0] + jnp.uint32(0x9E3779B9))
    inner = mix(seed[1] ^ k0)
    return k0, mix(inner if high is None else inner + high)


def scramble(
    keys: tuple[Word, UInt32[Array, "..."]], low: UInt32[Array, "*S"]
) -> UInt32[Array, "*S"]:
    """mix(mix(low + k0) ^ k1)."""
    return mix(mix(low + keys[0]) ^ keys[1])


def mix(x: UInt32[Array, "*S"]) -> UInt32[Array, "*S"]:
    """A bijection of 32-bit words in which every bit depends on all."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
