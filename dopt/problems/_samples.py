"""Problems that are means over the samples of workers, whose parts may be of unequal size.

    f(x) = (1/n) Σ f_i(x),   f_i(x) = the mean of ℓ(x, sample) over the samples of worker i

Workers count alike however many samples they have: where parts are unequal, f is not the mean over
all samples. A subclass says what Σ_s shares[s]·ℓ(x, sample s) and its gradient are.

Memory: at most `most_at_once` samples go through ℓ at a time, whatever is asked for.
"""

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from dopt.problems._cut import Cut
from dopt.problems._minibatches import MiniBatched
from dopt.problems._parts import per_worker
from dopt.problems._sampling import sum_over_batches


AT_ONCE = 512
"""Samples taken together: enough for wide products, few enough for caches."""

Part = Callable[[Int[Array, " S"], Float[Array, " S"]], Any]
"""`part(rows, shares)`: a sum over the samples `rows` with the weights `shares`."""


class MeanOverSamples(MiniBatched):
    """The mechanics of parts, mini-batches and chunks.

    A stochastic gradient averages `batch` samples of the worker's part, drawn uniformly with
    replacement; with `batch=None` every gradient is exact. With `n=None` all share one part.
    """

    cut: Cut
    batch: int | None

    @property
    def most_at_once(self) -> int:
        """How many samples of a model go through ℓ together."""
        return AT_ONCE

    @abc.abstractmethod
    def loss_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> Float[Array, ""]:
        """Σ_s shares[s]·ℓ(x, sample rows[s])."""

    @abc.abstractmethod
    def loss_and_grad_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """The same, and its gradient by x."""

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) over all data."""
        return self._over_all(lambda *some: self.loss_sum(x, *some), self.cut.shares(x.dtype))

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇f(x) over all data."""
        return self.value_and_grad(x)[1]

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Both, in one pass."""
        shares = self.cut.shares(x.dtype)
        return self._over_all(lambda *some: self.loss_and_grad_sum(x, *some), shares)

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """The gradient over the part of `worker`; over all data where there are no parts."""
        return self.grad(x) if self.n is None else _local_grad(self, x, worker)

    def weighted_grad_sum(
        self,
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        workers: Int[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """All jobs' samples with their weights in one sum: no vector per job."""
        cut, batch = self.cut, self.batch
        workers = jnp.zeros_like(workers) if self.n is None else workers
        if batch is None and len(workers) < cut.parts:
            return super().weighted_grad_sum(
                x, counts, weights, keys=keys, workers=workers, most=most
            )
        if batch is None:
            each = jnp.zeros(cut.parts, x.dtype).at[workers].add(weights * counts.astype(x.dtype))
            shares = cut.parts * each[cut.owners] * cut.shares(x.dtype)
            return self._over_all(lambda *some: self._grad_sum(x, *some), shares)

        def one_pass(
            indices: Int[Array, "R batch"], shares: Float[Array, " R"]
        ) -> Float[Array, " d"]:
            each = jnp.repeat(shares / batch, batch)
            return self._over(lambda *some: self._grad_sum(x, *some), indices.reshape(-1), each)

        return sum_over_batches(
            one_pass,
            jnp.zeros_like(x),
            counts,
            weights,
            cut.firsts[workers],
            keys=keys,
            population=cut.sizes[workers],
            batch=batch,
            most=most,
        )

    def _grad_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> Float[Array, " d"]:
        return self.loss_and_grad_sum(x, rows, shares)[1]

    def _over_all(self, part: Part, shares: Float[Array, " N"]) -> Any:
        return self._over(part, jnp.arange(len(shares), dtype=jnp.int32), shares)

    def _over(self, part: Part, rows: Int[Array, " S"], shares: Float[Array, " S"]) -> Any:
        """The sum of `part` over chunks of samples."""
        at_once = self.most_at_once
        chunks = -(-len(rows) // at_once)
        if chunks == 1:
            return part(rows, shares)
        # Sample 0 with the share 0 fills the last chunk.
        fill = (0, chunks * at_once - len(rows))
        pieces = tuple(jnp.pad(a, fill).reshape(chunks, at_once) for a in (rows, shares))
        zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, *(a[0] for a in pieces)))

        def add(total: Any, piece: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, part(*piece)), None

        return jax.lax.scan(add, zero, pieces)[0]


def _one(problem: Any, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
    cut = problem.cut
    first, size = cut.firsts[worker], cut.sizes[worker]
    length = min(problem.most_at_once, cut.largest)

    def chunk(j: Int[Array, ""] | int) -> Float[Array, " d"]:
        place = j * length + jnp.arange(length, dtype=jnp.int32)
        inside = place < size
        shares = jnp.where(inside, 1 / size.astype(x.dtype), 0)
        return problem._grad_sum(x, first + jnp.where(inside, place, 0), shares)

    if length == cut.largest:
        return chunk(0)
    chunks = (size + length - 1) // length
    return jax.lax.fori_loop(0, chunks, lambda j, total: total + chunk(j), jnp.zeros_like(x))


def _every(problem: Any, x: Float[Array, " d"]) -> Float[Array, "n d"]:
    """Workers with small parts side by side, those with large ones one after another."""
    workers = jnp.arange(problem.n, dtype=jnp.int32)
    together = max(1, problem.most_at_once // problem.cut.largest)

    def one(worker: Int[Array, ""]) -> Float[Array, " d"]:
        return _one(problem, x, worker)

    if together >= problem.n:
        return jax.vmap(one)(workers)
    return jax.lax.map(one, workers, batch_size=together if together > 1 else None)


_local_grad = per_worker(_one, _every)
