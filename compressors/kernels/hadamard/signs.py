"""Random signs from a seed, in plain `jnp` that kernels use as well.

The sign of place j of a row is bit j mod 32 of the hash of index j // 32 by (seed, 0); 1 is minus.
It does not depend on the row, so that activations and the rows of a weight matrix turn alike.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from compressors.kernels.hash import hash_words


HALF = 16
"""Signs that one index stands for: the least size of a block."""


def flip(
    x: Float[Array, "m p"], seed: UInt32[Array, ""], first: UInt32[Array, "m 1"]
) -> Float[Array, "m p"]:
    """Each row with the signs of the p places from `HALF`·first on."""
    count = x.shape[1] // HALF
    halves = first + jnp.arange(count, dtype=jnp.uint32)[None, :]
    bits = hash_words((seed, jnp.uint32(0)), halves >> 1) >> ((halves & 1) * HALF)
    return jnp.where(_spread(bits), -x, x)


def places(blocks: int, d: int, size: int) -> UInt32[Array, "blocks 1"]:
    """Where in its row of d numbers each block begins, in units of `HALF`."""
    order = jnp.arange(blocks, dtype=jnp.uint32) % jnp.uint32(max(d // size, 1))
    return (order * jnp.uint32(size // HALF))[:, None]


def flip_blocks(
    x: Float[Array, "*batch d"], seed: UInt32[Array, ""], size: int
) -> Float[Array, "*batch d"]:
    """Each row with its signs; `size` divides d."""
    blocks = x.reshape(-1, size)
    return flip(blocks, seed, places(blocks.shape[0], x.shape[-1], size)).reshape(x.shape)


def _spread(bits: UInt32[Array, "m h"]) -> Bool[Array, "m p"]:
    """The lowest `HALF` bits of every number, side by side."""
    places = jnp.arange(HALF, dtype=jnp.uint32)[None, None, :]
    return ((bits[:, :, None] >> places) & 1).reshape(bits.shape[0], -1) == 1
