"""A random bijection of [0, d), evaluated only where it is asked for."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt32


SHUFFLED_AT_MOST = 1024
"""Up to this d the bijection is a shuffle, every permutation equally likely; a shuffle sorts."""

ROUNDS = 8


def scattered(key: PRNGKeyArray, places: Int[Array, " k"], d: int) -> Int[Array, " k"]:
    """The images of `places`, each below d, under the bijection of `key`; int32.

    For large d it is a Feistel network on the least power of two that is not below d: each round
    adds a keyed hash of one half of the bits to the other half, which can be undone. What lands at
    or above d goes through again until it does not, along its own cycle. A shift modulo d comes
    last: the image of any single place is uniform, while several are as independent as the hash.
    """
    if d <= SHUFFLED_AT_MOST:
        return jax.random.permutation(key, jnp.arange(d, dtype=jnp.int32))[places]
    bits = (d - 1).bit_length()
    low = bits // 2
    seeds = jax.random.bits(jax.random.fold_in(key, 0), (ROUNDS,), jnp.uint32)
    shift = jax.random.randint(jax.random.fold_in(key, 1), (), 0, d, jnp.int32).astype(jnp.uint32)

    def network(v: UInt32[Array, " k"]) -> UInt32[Array, " k"]:
        upper, lower = v >> low, v & ((1 << low) - 1)
        for i in range(0, ROUNDS, 2):
            upper ^= _hash(lower, seeds[i]) >> (32 - bits + low)
            lower ^= _hash(upper, seeds[i + 1]) >> (32 - low)
        return (upper << low) | lower

    def again(v: UInt32[Array, " k"]) -> UInt32[Array, " k"]:
        return jnp.where(v < d, v, network(v))

    inside = jax.lax.while_loop(lambda v: (v >= d).any(), again, network(places.astype(jnp.uint32)))
    return ((inside + shift) % jnp.uint32(d)).astype(jnp.int32)


def _hash(v: UInt32[Array, " k"], seed: UInt32[Array, ""]) -> UInt32[Array, " k"]:
    """The finaliser of MurmurHash3, in its upper bits as well."""
    h = (v + seed) * jnp.uint32(0x9E3779B1)
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)
