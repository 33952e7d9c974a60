"""Uniform random bits for stochastic rounding, four numbers for the price of one.

Threefry costs about ten times what rounding a number costs, so neighbours share a word: each reads
it rotated by another multiple of 8 bits. A rotation is a bijection, so every number is exactly
uniform over the whole word, and the expectation of whatever depends on one coordinate, so also
E C(x) and E‖C(x) − x‖², is what independent words give. The price is a small dependence of
neighbours: their leading 8 bits are independent and these decide but for a tie, of probability
2⁻⁸, whence |Cov(1{u < a}, 1{v < b})| ≤ 2⁻⁸ for all a and b.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt

from compressors.kernels.threefry import random_words


OWN = 8
"""Leading bits that a number shares with no other."""


def uniform_bits(key: PRNGKeyArray, d: int, dtype: Any) -> UInt[Array, " d"]:
    """`d` words of `dtype` (uint32 or uint64), each uniform over its whole range."""
    width = 8 * jnp.dtype(dtype).itemsize
    sharers = width // OWN
    blocks = -(-d // sharers)
    if width == 32:
        draws = random_words(key, blocks)[:, None]
    else:
        words = random_words(key, 2 * blocks).astype(dtype)
        draws = ((words[:blocks] << 32) | words[blocks:])[:, None]
    turns = OWN * jnp.arange(sharers, dtype=dtype)[None, :]
    return ((draws << turns) | (draws >> (width - turns) % width)).reshape(-1)[:d]


def happens(key: PRNGKeyArray, probability: Float[Array, " d"]) -> Bool[Array, " d"]:
    """True with the given probabilities p in [0, 1), float32 or float64.

    A number of 31 bits, as a float, is compared with 2³¹p: what is realised is within 2⁻²⁴p + 2⁻³¹
    of p. For float64 it is 63 bits, and within 2⁻⁵³p + 2⁻⁶³.
    """
    dtype = probability.dtype
    whole, signed, bits = (
        (jnp.uint32, jnp.int32, 31) if dtype == jnp.float32 else (jnp.uint64, jnp.int64, 63)
    )
    uniform = uniform_bits(key, probability.shape[0], whole) >> 1
    return uniform.astype(signed).astype(dtype) < probability * 2.0**bits
