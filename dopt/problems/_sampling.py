"""Sums over mini-batches drawn with replacement, for many jobs at once, in bounded memory.

A job draws its gradients in blocks, whose length depends on the mini-batch alone; block j holds the
rows of `randint(fold_in(key, j), (length, batch))`. JAX's counter-based bits make a short draw the
beginning of a longer one, so the samples of a job's gradient l depend on its key and on l, and not
on how many gradients there are or might be.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray


LARGEST_PASS = 8192
"""Samples in one pass; a mini-batch that is larger still goes in one pass."""

Pass = Callable[[Int[Array, "R batch"], Float[Array, " R"]], Float[Array, " d"]]
"""Σ_r weights[r] · (the mean gradient over the samples `indices[r]`)."""


def sum_over_batches(
    one_pass: Pass,
    zero: Float[Array, " d"],
    counts: Int[Array, " P"],
    weights: Float[Array, " P"],
    firsts: Int[Array, " P"],
    *,
    keys: Key[Array, " P"],
    population: int | Int[Array, " P"],
    batch: int,
    most: int,
) -> Float[Array, " d"]:
    """Σ_p weights[p] Σ_{l < counts[p]} (the mean gradient over mini-batch l of job p).

    Args:
        one_pass: adds up the mini-batches of one pass.
        zero: the zero vector of the result's type.
        counts: gradients of each job.
        weights: the factor of each job.
        firsts: where each job's part of the data begins.
        keys: one key a job.
        population: samples in each part, or in the part of each job.
        batch: samples a gradient.
        most: a static bound of `counts`; but for rounding, the result does not depend on it.
    """
    length = max(1, LARGEST_PASS // batch)
    rows = max(1, min(most, length))
    together = max(1, LARGEST_PASS // (rows * batch))
    populations = jnp.broadcast_to(jnp.asarray(population, jnp.int32), counts.shape)

    def add_jobs(
        keys: Key[Array, " G"],
        counts: Int[Array, " G"],
        weights: Float[Array, " G"],
        firsts: Int[Array, " G"],
        populations: Int[Array, " G"],
    ) -> Float[Array, " d"]:
        def draw(
            key: PRNGKeyArray, population: Int[Array, ""], j: Int[Array, ""] | int
        ) -> Int[Array, "rows batch"]:
            block = jax.random.fold_in(key, j)
            return jax.random.randint(block, (rows, batch), 0, population, jnp.int32)

        def add_block(j: Int[Array, ""] | int) -> Float[Array, " d"]:
            drawn_in_part = jax.vmap(draw, in_axes=(0, 0, None))(keys, populations, j)
            indices = drawn_in_part + firsts[:, None, None].astype(jnp.int32)
            drawn = j * rows + jnp.arange(rows, dtype=counts.dtype)
            shares = jnp.where(drawn[None, :] < counts[:, None], weights[:, None], 0)
            return one_pass(indices.reshape(-1, batch), shares.reshape(-1))

        if most <= length:
            return add_block(0)
        used = (jnp.max(counts) + length - 1) // length
        return jax.lax.fori_loop(0, used, lambda j, total: total + add_block(j), zero)

    jobs = counts.shape[0]
    if jobs <= together:
        return add_jobs(keys, counts, weights, firsts, populations)
    groups = -(-jobs // together)
    padded = jnp.arange(groups * together).reshape(groups, together)
    members = jnp.minimum(padded, jobs - 1)
    counts = jnp.where(padded < jobs, counts[members], 0)

    def add_group(
        total: Float[Array, " d"], group: tuple[Array, ...]
    ) -> tuple[Float[Array, " d"], None]:
        return total + add_jobs(*group), None

    xs = keys[members], counts, weights[members], firsts[members], populations[members]
    return jax.lax.scan(add_group, zero, xs)[0]
