"""A large matrix times a vector, on all cores: XLA on a CPU gives each block of rows its own task.

One product over all rows runs on one core with JAX 0.12, and on two it is slower than its blocks
with 0.10. Over a batch of vectors it is a product of matrices, which XLA divides up by itself.
"""

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float


MOST_BLOCKS, LEAST_BLOCKS = 32, 8
SMALL = 2**20
"""Entries of a matrix that lie in the near cache of one core: others would have to fetch them."""


@custom_vmap
def rows_times(a: Float[Array, "S d"], x: Float[Array, " d"]) -> Float[Array, " S"]:
    """a·x; `x` may be mapped over."""
    if (blocks := _blocks(a)) == 1:
        return a @ x
    return jax.vmap(lambda rows: rows @ x)(a.reshape(blocks, -1, a.shape[1])).reshape(-1)


@custom_vmap
def combined(weights: Float[Array, " S"], a: Float[Array, "S d"]) -> Float[Array, " d"]:
    """Σ_s weights[s]·a[s]; `weights` may be mapped over."""
    if (blocks := _blocks(a)) == 1:
        return weights @ a
    parts = jax.vmap(jnp.matmul)(weights.reshape(blocks, -1), a.reshape(blocks, -1, a.shape[1]))
    return parts.sum(axis=0)


@rows_times.def_vmap
@combined.def_vmap
def _product(size: int, mapped: list[bool], *operands: Array) -> tuple[Array, bool]:
    """What is mapped over becomes an axis of the product."""
    if not any(mapped):
        # Forward differentiation asks so where tangents alone are mapped over.
        return jnp.matmul(*operands), False
    axes = [0 if yes else None for yes in mapped]
    return jax.vmap(jnp.matmul, in_axes=axes)(*operands), True


def _blocks(a: Array) -> int:
    """The largest number of equal blocks of rows, within limits; 1 where there is none."""
    S = a.shape[0]
    counts = [k for k in range(LEAST_BLOCKS, MOST_BLOCKS + 1) if S % k == 0]
    return max(counts) if counts and a.size > SMALL else 1
