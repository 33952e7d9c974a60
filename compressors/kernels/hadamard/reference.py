"""The normalised Walsh-Hadamard transform in plain `jnp`.

H is the p x p matrix with entries (−1)^{popcount(i & j)}/√p for p a power of two (Sylvester's
order): symmetric and orthogonal, H·H = I. It is a Kronecker product of small ones, so that a
transform is a few passes, each mixing one group of index bits: the lowest five by a product with a
32 x 32 matrix, the others three at a time by additions. Wider groups leave the registers. Of more
than 2^`CACHE_BITS` numbers the first passes go over a window at a time, which stays in the cache.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from compressors._dtype import wide
from compressors.kernels.threefry import random_words
from compressors.kernels.windows import by_rows


PRODUCT_BITS = 5
BUTTERFLY_BITS = 3
WINDOW_BITS = PRODUCT_BITS + 4 * BUTTERFLY_BITS
"""Of the size of a window: half a MiB of float32."""
CACHE_BITS = 20


def hadamard(x: Float[Array, " p"]) -> Float[Array, " p"]:
    """H·x, computed in float32 where `x` is narrower.

    Raises:
        ValueError: p is not a power of two.
    """
    p = x.shape[0]
    if p != padded_size(p):
        raise ValueError(
            f"a Hadamard transform has a power of two of entries, not {p}: pad with zeros to "
            f"{padded_size(p)}"
        )
    bits = p.bit_length() - 1
    inner = bits if bits <= CACHE_BITS else WINDOW_BITS
    windows = x.astype(wide(x)).reshape(-1, 1 << inner)
    y = by_rows(partial(transform, scale=1 / np.sqrt(p).item()), (windows,), 1).reshape(-1)
    for done in range(inner, bits, BUTTERFLY_BITS):
        y = _butterfly(y, min(bits - done, BUTTERFLY_BITS), stride=1 << done)
    return y.astype(x.dtype)


def rotate(x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " p"]:
    """H·diag(s)·x, with `x` padded by zeros to p = `padded_size(d)` and s random signs of `key`."""
    d = x.shape[0]
    p = padded_size(d)
    return hadamard(jnp.pad(_flip(x, _negative(key, p)[:d]), (0, p - d)))


def rotate_back(z: Float[Array, " p"], *, key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
    """The first d entries of diag(s)·H·z: the inverse of `rotate`, and its transpose."""
    return _flip(hadamard(z)[:d], _negative(key, z.shape[0])[:d])


def padded_size(d: int) -> int:
    """The least power of two that is not below d ≥ 1."""
    return 1 << (d - 1).bit_length()


def transform(rows: Float[Array, "m p"], *, scale: float) -> Float[Array, "m p"]:
    """`scale` times the unnormalised transform of every row, p a power of two."""
    bits = rows.shape[1].bit_length() - 1
    low = min(bits, PRODUCT_BITS)
    y = _product(rows.reshape(-1) * scale, low)
    for done in range(low, bits, BUTTERFLY_BITS):
        y = _butterfly(y, min(bits - done, BUTTERFLY_BITS), stride=1 << done)
    return y.reshape(rows.shape)


def _product(x: Float[Array, " p"], bits: int) -> Float[Array, " p"]:
    """The unnormalised transform over the lowest index bits, as one matrix product."""
    matrix = np.ones((1, 1))
    for _ in range(bits):
        matrix = np.kron(matrix, np.array([[1.0, 1.0], [1.0, -1.0]]))
    blocks = x.reshape(-1, 1 << bits)
    product = jnp.matmul(blocks, jnp.asarray(matrix, x.dtype), precision=jax.lax.Precision.HIGHEST)
    return product.reshape(-1)


def _butterfly(x: Float[Array, " p"], bits: int, *, stride: int) -> Float[Array, " p"]:
    """The unnormalised transform over `bits` index bits from that of weight `stride` upwards."""
    lanes = list(jnp.unstack(x.reshape(-1, 1 << bits, stride), axis=1))
    for bit in range(bits):
        half = 1 << bit
        for i in range(1 << bits):
            if not i & half:
                a, b = lanes[i], lanes[i | half]
                lanes[i], lanes[i | half] = a + b, a - b
    return jnp.stack(lanes, axis=1).reshape(-1)


def _negative(key: PRNGKeyArray, p: int) -> Array:
    """Where a sign is flipped: p fair coins, 32 of a word."""
    words = random_words(key, -(-p // 32))[:, None]
    return ((words >> jnp.arange(32, dtype=jnp.uint32)[None]) & 1).reshape(-1)[:p] == 1


def _flip(x: Float[Array, " d"], negative: Array) -> Float[Array, " d"]:
    return jnp.where(negative, -x, x)
