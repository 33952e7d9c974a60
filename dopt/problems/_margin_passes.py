"""Passes of a linear classifier over its samples: losses and gradients of k models at once.

Every function here takes a list of models xs; those that `LogisticRegression` calls are the same
for one model, and widen under `vmap`. Regularizers are left out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dopt.problems._rows import DenseRows
from dopt.problems._sparse_rows import SparseRows
from dopt.problems._tiles import Slots, copy_size, over_jobs, over_tiles, pass_size
from dopt.problems._widened import widened


Rows = DenseRows | SparseRows


def _slopes(
    problem: Any,
    rows: Rows,
    labels: Float[Array, "T B"],
    shares: Float[Array, "T B"],
    xs: Float[Array, "k d"],
) -> Float[Array, "T B k"]:
    """The derivative of shares·φ(bt) by t = ⟨a, x⟩."""
    t = labels[..., None] * rows.margins(xs)
    return (shares * labels)[..., None] * problem.loss.slope(t)


def _sum(
    problem: Any,
    xs: Float[Array, "k d"],
    part: Callable[..., Array],
    shares: Float[Array, "T B"],
    *out: int,
) -> Array:
    """The sum of `part(rows, labels, shares)`, of shape [k, *out], over all tiles."""
    T = len(problem.labels)

    def body(first: Int[Array, ""] | int, count: int, total: Array) -> Array:
        cut = (jax.lax.dynamic_slice_in_dim(a, first, count) for a in (problem.labels, shares))
        return total + part(problem.rows.run(first, count), *cut)

    size = _pass_size(problem, len(xs))
    return over_tiles(T, size, body, jnp.zeros((len(xs), *out), xs.dtype))


def _pass_size(problem: Any, models: int) -> int:
    scratch = problem.rows.scratch * problem.dtype.itemsize
    return pass_size(len(problem.labels), problem.rows.tile_bytes, models, scratch)


def _mean_losses(problem: Any, xs: Float[Array, "k d"]) -> Float[Array, " k"]:
    def part(rows: Rows, labels: Array, shares: Array) -> Array:
        losses = problem.loss.value(labels[..., None] * rows.margins(xs))
        return jnp.sum(shares[..., None] * losses, axis=(0, 1))

    return _sum(problem, xs, part, problem.shares / len(problem.sizes))


def _losses_and_grads(problem: Any, xs: Float[Array, "k d"]) -> Float[Array, "k 1+d"]:
    """The value first, then the gradient."""

    def part(rows: Rows, labels: Array, shares: Array) -> Array:
        t = labels[..., None] * rows.margins(xs)
        losses = jnp.sum(shares[..., None] * problem.loss.value(t), axis=(0, 1))
        slopes = (shares * labels)[..., None] * problem.loss.slope(t)
        return jnp.concatenate([losses[:, None], rows.total(slopes)], axis=1)

    return _sum(problem, xs, part, problem.shares / len(problem.sizes), 1 + problem.d)


def _rights(problem: Any, xs: Float[Array, "k d"]) -> Float[Array, " k"]:
    """How many samples each model has on the right side."""

    def part(rows: Rows, labels: Array, shares: Array) -> Array:
        right = (rows.margins(xs) > 0) == (labels > 0)[..., None]
        return jnp.sum(right & (shares > 0)[..., None], axis=(0, 1), dtype=xs.dtype)

    return _sum(problem, xs, part, problem.shares)


def _local_grads(
    problem: Any, xs: Float[Array, "k d"], workers: Int[Array, " P"]
) -> Float[Array, "k P d"]:
    """∇f_i of some workers, or rows of those of all where as many are asked for."""
    if len(workers) >= len(problem.sizes):
        return _of_all(problem, xs).at[:, workers].get(mode="promise_in_bounds")

    def add(each: Float[Array, "C k d"], slots: Slots, total: Array) -> Array:
        return total.at[:, slots.jobs].add(
            jnp.moveaxis(each, 0, 1), mode="promise_in_bounds", indices_are_sorted=True
        )

    zero = jnp.zeros((len(xs), len(workers), problem.d), xs.dtype)
    ones = jnp.ones(len(workers), xs.dtype)
    return _over_workers(
        problem, xs, workers, ones, lambda rows, weights: rows.by_tile(weights), add, zero
    )


def _of_all(problem: Any, xs: Float[Array, "k d"]) -> Float[Array, "k n d"]:
    """∇f_i of every worker, from the data as they lie."""
    n, T = len(problem.sizes), len(problem.labels)

    def body(first: Int[Array, ""] | int, count: int, total: Array) -> Array:
        labels, shares, owners = (
            jax.lax.dynamic_slice_in_dim(a, first, count)
            for a in (problem.labels, problem.shares, problem.owners)
        )
        rows = problem.rows.run(first, count)
        each = jnp.moveaxis(rows.by_tile(_slopes(problem, rows, labels, shares, xs)), 0, 1)
        if n == T:
            return jax.lax.dynamic_update_slice_in_dim(total, each, first, 1)
        return total.at[:, owners].add(each, mode="promise_in_bounds", indices_are_sorted=True)

    # One model's products by tile use all cores as they are, and none with less than all tiles.
    size = T if len(xs) == 1 else _pass_size(problem, len(xs))
    return over_tiles(T, size, body, jnp.zeros((len(xs), n, problem.d), xs.dtype))


def _sums_of_parts(
    given: tuple[Any, Float[Array, " P"], Int[Array, " P"]], xs: Float[Array, "k d"]
) -> Float[Array, "k d"]:
    """Σ_p each[p]·∇f_{workers[p]}, without a vector for each p."""
    problem, each, workers = given
    n = len(problem.sizes)
    if len(workers) < n:

        def add(total: Array, slots: Slots, before: Array) -> Array:
            return before + total

        return _over_workers(
            problem,
            xs,
            workers,
            each,
            lambda rows, weights: rows.total(weights),
            add,
            jnp.zeros_like(xs),
        )

    def part(rows: Rows, labels: Array, shares: Array) -> Array:
        return rows.total(_slopes(problem, rows, labels, shares, xs))

    weights = jnp.zeros(n, xs.dtype).at[workers].add(each)
    return _sum(problem, xs, part, weights[problem.owners][:, None] * problem.shares, problem.d)


def _over_workers(
    problem: Any,
    xs: Float[Array, "k d"],
    workers: Int[Array, " P"],
    weights: Float[Array, " P"],
    combine: Callable[[Rows, Float[Array, "C B k"]], Array],
    add: Callable[[Array, Slots, Array], Array],
    zero: Array,
) -> Array:
    """`add` over the tiles of workers, each tile's slopes combined with its rows, weighted."""
    n, (T, B) = len(problem.sizes), problem.labels.shape
    P = len(workers)

    def body(slots: Slots, total: Array) -> Array:
        rows = problem.rows.tiles(slots.tiles)
        labels, shares = (
            a.at[slots.tiles].get(mode="promise_in_bounds")
            for a in (problem.labels, problem.shares)
        )
        shares = (weights[slots.jobs] * slots.there.astype(xs.dtype))[:, None] * shares
        return add(combine(rows, _slopes(problem, rows, labels, shares, xs)), slots, total)

    counts = -(-problem.sizes // B)
    scratch = problem.rows.scratch * problem.dtype.itemsize
    size = copy_size(P, problem.rows.tile_bytes, len(xs), scratch)
    return over_jobs(problem.firsts[workers], counts[workers], size, body, zero, single=n == T)


def _sampled_grads(
    given: tuple[Any, Int[Array, " S"], Float[Array, " S"]], xs: Float[Array, "k d"]
) -> Float[Array, "k d"]:
    """Σ_s shares[s]·(the gradient of the loss of the sample in place drawn[s])."""
    problem, drawn, shares = given
    rows = problem.rows.rows(drawn)
    labels = problem.labels.reshape(-1).at[drawn].get(mode="promise_in_bounds")
    return rows.total(_slopes(problem, rows, labels[None], shares[None], xs))


mean_loss = widened(_mean_losses)
losses_and_grad = widened(_losses_and_grads)
rights = widened(_rights)
local_grad = widened(_local_grads)
sum_of_parts = widened(_sums_of_parts)
sampled_grad = widened(_sampled_grads)
