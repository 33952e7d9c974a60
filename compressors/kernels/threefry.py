"""Random words from counters: Threefry-2x32 with 20 rounds, in plain `jnp`.

Block i of a key (k0, k1) enciphers the counter (i, TAG) to two words of 32 bits. `jax.random.bits`
uses the same cipher, but one word a block instead of two, and on a CPU it compiles the rounds as a
loop. No result depends on the backend or on JAX's version.

    x0, x1 = i + k0, TAG + k1;  k2 = k0 ^ k1 ^ 0x1BD11BDA
    round r = 0 … 19:  x0 += x1;  x1 = rotl(x1, R[r mod 8]) ^ x0
    after round 4g − 1 (g = 1 … 5):  x0 += k[g mod 3];  x1 += k[(g + 1) mod 3] + g

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt16, UInt32


ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS = 20
PARITY = 0x1BD11BDA
IMPL = "threefry2x32"
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


def fold_in(key: PRNGKeyArray, data: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key that `jax.random.fold_in` gives, without a loop over rounds; 0 ≤ data < 2³²."""
    counter = jnp.uint32(0), jnp.asarray(data).astype(jnp.uint32)
    return jax.random.wrap_key_data(jnp.stack(threefry2x32(_words(key), counter)), impl=IMPL)


def random_words(key: PRNGKeyArray, count: int) -> UInt32[Array, " count"]:
    """`count` words, uniform and independent."""
    blocks = jnp.arange((count + 1) // 2, dtype=jnp.uint32)
    words = threefry2x32(_words(key), (blocks, jnp.full_like(blocks, TAG)))
    # Stacked behind a barrier, since XLA would fuse the cipher into the readers of either word and
    # so encipher every block twice. What is too much is cut off before the halves are joined: a cut
    # through a `concatenate` is twice as slow.
    first, second = jax.lax.optimization_barrier(jnp.stack(words))
    return jnp.concatenate((first, second[: count // 2]))


def random_halves(key: PRNGKeyArray, count: int) -> UInt16[Array, " count"]:
    """`count` numbers of 16 bits, uniform and independent: of a word the low half comes first."""
    words = random_words(key, (count + 1) // 2)
    return jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:count]


def _words(key: PRNGKeyArray) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    if jax.random.key_impl(key) != IMPL:
        raise ValueError(
            f"a key of {jax.random.key_impl(key)!r} cannot be used here: leave "
            f"jax_default_prng_impl at {IMPL!r}, or give jax.random.key(seed, impl={IMPL!r})"
        )
    k0, k1 = jax.random.key_data(key)
    return k0, k1
