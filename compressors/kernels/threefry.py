"""Random words from counters: Threefry-2x32 with 20 rounds, in plain `jnp`.

Block i of a key (k0, k1) enciphers the counter (i, TAG) to two words of 32 bits. `jax.random.bits`
uses the same cipher, but one word a block instead of two, and on a CPU JAX 0.10 compiles its rounds
as a loop. No result depends on the backend or on JAX's version.

    x0, x1 = i + k0, TAG + k1;  k2 = k0 ^ k1 ^ 0x1BD11BDA
    round r = 0 … 19:  x0 += x1;  x1 = rotl(x1, R[r mod 8]) ^ x0
    after round 4g − 1 (g = 1 … 5):  x0 += k[g mod 3];  x1 += k[(g + 1) mod 3] + g

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32


ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS = 20
PARITY = 0x1BD11BDA
TAG = 0x9E3779B9
"""Keeps the counters apart from (0, j), which `fold_in` and `split` encipher to make keys."""


def threefry2x32(
    key: tuple[UInt32[Array, ""], UInt32[Array, ""]],
    counter: tuple[UInt32[Array, "*S"], UInt32[Array, "*S"]],
) -> tuple[UInt32[Array, "*S"], UInt32[Array, "*S"]]:
    """The two words that `key` makes of each `counter`."""
    k = (*key, key[0] ^ key[1] ^ jnp.uint32(PARITY))
    x0, x1 = counter[0] + k[0], counter[1] + k[1]
    for r in range(ROUNDS):
        turn = ROTATIONS[r % len(ROTATIONS)]
        x0 = x0 + x1
        x1 = ((x1 << turn) | (x1 >> (32 - turn))) ^ x0
        if r % 4 == 3:
            g = r // 4 + 1
            x0, x1 = x0 + k[g % 3], x1 + k[(g + 1) % 3] + jnp.uint32(g)
    return x0, x1


def random_words(key: PRNGKeyArray, count: int) -> UInt32[Array, " count"]:
    """`count` words, uniform and independent; `key` is a typed key of two words, as JAX's own."""
    k0, k1 = jax.random.key_data(key)
    blocks = jnp.arange((count + 1) // 2, dtype=jnp.uint32)
    words = threefry2x32((k0, k1), (blocks, jnp.full_like(blocks, TAG)))
    # Without the barrier XLA enciphers every block twice, once for each of its words. What is too
    # much is cut off before the two are joined: a cut through a `concatenate` is twice as slow.
    first, second = jax.lax.optimization_barrier(words)
    return jnp.concatenate((first, second[: count // 2]))
