"""A large matrix times a vector, on all cores: XLA on a CPU gives each block of rows its own task.

One product over all rows runs on one core with JAX 0.12, and on two it is slower than its blocks
with 0.10. Over a batch of vectors it is a product of matrices, which XLA divides up by itself.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float


MOST_BLOCKS, LEAST_BLOCKS = 32, 8
SMALL = 2**20
"""Entries of a matrix that lie in the near cache of one core: others would have to fetch them."""


def rows_times(a: Float[Array, "S d"], x: Float[Array, " d"]) -> Float[Array, " S"]:
    """a·x; `x` may be mapped over."""
    return _rows_times(a, x)


def combined(weights: Float[Array, " S"], a: Float[Array, "S d"]) -> Float[Array, " d"]:
    """Σ_s weights[s]·a[s]; `weights` may be mapped over."""
    return _combined(weights, a)


@custom_vmap
def _rows_times(a: Array, x: Array) -> Array:
    if (blocks := _blocks(a)) == 1:
        return a @ x
    return jax.vmap(lambda rows: rows @ x)(a.reshape(blocks, -1, a.shape[1])).reshape(-1)


@custom_vmap
def _combined(weights: Array, a: Array) -> Array:
    if (blocks := _blocks(a)) == 1:
        return weights @ a
    parts = jax.vmap(jnp.matmul)(weights.reshape(blocks, -1), a.reshape(blocks, -1, a.shape[1]))
    return parts.sum(axis=0)


def _as_product(product: Callable[..., Array]) -> Callable:
    """The rule of a `custom_vmap`: what is mapped over becomes an axis of the product."""

    def rule(size: int, mapped: list[bool], *operands: Array) -> tuple[Array, bool]:
        axes = [0 if yes else None for yes in mapped]
        return jax.vmap(product, in_axes=axes)(*operands), True

    return rule


_rows_times.def_vmap(_as_product(jnp.matmul))
_combined.def_vmap(_as_product(jnp.matmul))


def _blocks(a: Array) -> int:
    """The largest number of equal blocks of rows, within limits; 1 where there is none."""
    S = a.shape[0]
    counts = [k for k in range(LEAST_BLOCKS, MOST_BLOCKS + 1) if S % k == 0]
    return max(counts) if counts and a.size > SMALL else 1
