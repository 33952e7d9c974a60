"""Normal numbers from random words: noise on every coordinate is the bound of many simulations."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from compressors.kernels.threefry import random_words


AT_ONCE = 2**20
"""Numbers that a weighted sum draws side by side: more would only leave the cache."""


def weighted_normals(
    weights: Float[Array, " P"], d: int, *, keys: Key[Array, " P"]
) -> Float[Array, " d"]:
    """Σ_p weights[p] · normals(keys[p], d), in bounded memory."""

    def some(weights: Float[Array, " B"], keys: Key[Array, " B"]) -> Float[Array, " d"]:
        draws = jax.vmap(lambda key: normals(key, d, weights.dtype))(keys)
        return jnp.sum(weights[:, None] * draws, axis=0)

    P, block = weights.shape[0], max(1, AT_ONCE // d)
    if block >= P:
        return some(weights, keys)
    whole = P - P % block
    parts = weights[:whole].reshape(-1, block), keys[:whole].reshape(-1, block)
    total = some(weights[whole:], keys[whole:]) if P % block else jnp.zeros(d, weights.dtype)
    return jax.lax.scan(lambda total, part: (total + some(*part), None), total, parts)[0]


def normals(key: PRNGKeyArray, d: int, dtype: Any) -> Float[Array, " d"]:
    """`d` independent N(0, 1), √2·erf⁻¹(u) with u uniform on the odd multiples of 2⁻²⁴ in (−1, 1).

    They are exact in float32 and symmetric, so that the mean is exactly 0; the largest is 5.4.
    For float64 u is an odd multiple of 2⁻⁵³, and the largest 8.2.
    """
    wide = jnp.dtype(dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.float32)
    bits = jnp.finfo(wide).nmant + 1
    words = random_words(key, d * (wide.itemsize // 4))
    if wide == jnp.float32:
        k = (words >> 8).astype(jnp.int32)
    else:
        high, low = words[:d].astype(jnp.int64), words[d:].astype(jnp.int64)
        k = (high << 21) | (low >> 11)
    u = (2 * k + 1 - 2**bits).astype(wide) * 2.0**-bits
    return (jax.lax.erf_inv(u) * 2**0.5).astype(dtype)
