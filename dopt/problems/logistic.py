"""Binary logistic regression, each worker with its own part of the data or all with the same.

    f_i(x) = (1/m) Σ_j log(1 + exp(−b_ij ⟨a_ij, x⟩)) + (l2/2)‖x‖²,   f = (1/n) Σ f_i,   b_ij = ±1

Noise: one stochastic gradient averages `batch` samples of the worker's part, drawn uniformly with
replacement; with `batch=None` every gradient is ∇f_i, exact.

Constants, all bounds (sigma2 = 0 is exact): the Hessian of a sample is p(1 − p) a aᵀ ⪯ ¼ a aᵀ, so

* L_i ≤ ¼ λ_max(A_iᵀA_i / m) + l2, and the same for L with all data; L_plus² ≤ (1/n) Σ L_i², and
  L_pm ≤ L_plus (0 where the data are shared);
* sigma2 ≤ max_i mean_j ‖a_ij‖² / batch: a sample's gradient is at most ‖a_ij‖ long;
* f* ≥ 0; mu ≥ l2, unknown for l2 = 0.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, sqrt
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from compressors import Constant
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants, Problem
from dopt.problems._dtype import float_dtype
from dopt.problems._parts import per_worker
from dopt.problems._products import combined, rows_times
from dopt.problems._sampling import sum_over_batches


AT_ONCE = 2**25 if jax.__version_info__ < (0, 12) else sys.maxsize
"""Bytes of data up to which a pass takes all of them at once: about a last-level cache, or any
number where XLA reads blocks of rows on all cores faster than one core reads them once."""

CHUNK = 2**22
"""Bytes of larger data taken at a time, so that the second product finds them in a near cache."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LogisticRegression(Problem):
    """Logistic regression with a ridge; built by `from_arrays`, which checks the data."""

    name: ClassVar[str] = "logistic"

    features: Float[Array, "parts m d"]
    labels: Float[Array, "parts m"]
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int | None = field(metadata={"static": True})
    batch: int | None = field(metadata={"static": True})
    l2: float = field(metadata={"static": True})

    @classmethod
    def from_arrays(
        cls,
        features: Float[np.ndarray, "N d"],
        labels: Float[np.ndarray, " labels"],
        *,
        n: int | None = None,
        batch: int | None = 1,
        l2: float = 0.0,
        dtype: Any = jnp.float32,
    ) -> "LogisticRegression":
        """The regression of labels ±1 on features.

        Args:
            features: a sample a row.
            labels: −1 or 1.
            n: workers with a part of the data each, cut in their order into equal parts; by
                default all workers share all data.
            batch: samples that one stochastic gradient averages; `None` for exact gradients.
            l2: the factor of the ridge ½‖x‖².
            dtype: of the model and the data.

        Raises:
            ConfigurationError: labels other than ±1, parts of unequal size, a bad batch or l2.
        """
        samples, d = features.shape
        odd = labels[(labels != 1) & (labels != -1)]
        if odd.size:
            raise ConfigurationError(f"a label is {odd[0]}; give -1 or 1, for each sample one")
        if len(labels) != samples:
            raise ConfigurationError(
                f"{samples} samples have {len(labels)} labels; give one for each"
            )
        if n is not None and (n < 1 or samples % n != 0):
            raise ConfigurationError(
                f"n = {n} does not cut {samples} samples into equal parts; take another n"
                + (f", or leave out the last {samples % n} samples" if n > 0 else "")
            )
        if batch is not None and batch < 1:
            raise ConfigurationError(f"batch = {batch}; a gradient averages at least one sample")
        if not (l2 >= 0 and isfinite(l2)):
            raise ConfigurationError(f"l2 = {l2}; the ridge is finite and at least 0")
        dtype, parts = float_dtype(dtype), n or 1
        return cls(
            features=jnp.asarray(features.reshape(parts, -1, d), dtype),
            labels=jnp.asarray(labels.reshape(parts, -1), dtype),
            d=d,
            dtype=dtype,
            n=n,
            batch=batch,
            l2=l2,
        )

    @cached_property
    def constants(self) -> Constants:
        """Bounds, from the largest eigenvalues of the data."""
        parts = np.asarray(self.features, np.float64)
        rows = parts.reshape(-1, self.d)
        top = [_top_eigenvalue(part) / 4 + self.l2 for part in parts]
        plus = Constant(sqrt(np.mean(np.square(top))), "bound", "the mean of the squares of L_i")
        largest = float(np.max(np.mean(np.sum(parts**2, axis=2), axis=1)))
        return Constants(
            L=Constant(_top_eigenvalue(rows) / 4 + self.l2, "bound", "p(1 - p) <= 1/4"),
            L_max=Constant(max(top), "bound", "p(1 - p) <= 1/4"),
            L_plus=plus,
            L_pm=plus if self.n else Constant(0.0, "exact", "all workers have the same f"),
            mu=Constant(self.l2, "bound", "the ridge alone") if self.l2 > 0 else None,
            sigma2=(
                Constant(0.0, "exact", "exact gradients")
                if self.batch is None
                else Constant(largest / self.batch, "bound", "the second moment")
            ),
            f_star=self.f_star,
        )

    @property
    def f_star(self) -> Constant:
        """At least 0."""
        return Constant(0.0, "bound", "a logistic loss is never negative")

    def start(self) -> Float[Array, " d"]:
        """Zero."""
        return jnp.zeros(self.d, self.dtype)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) over all data."""
        loss = self._pass(lambda a, b, _: jnp.sum(_losses(a, b, x)), self._ones())
        return loss / self.labels.size + self.l2 / 2 * jnp.vdot(x, x)

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇f(x) over all data."""
        return self._weighted(x, self._ones() / self.labels.size) + self.l2 * x

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """∇f_i(x); ∇f(x) where the data are shared."""
        return self.grad(x) if self.n is None else _local_grad(self, x, worker)

    def stochastic_grad(
        self, x: Float[Array, " d"], *, key: PRNGKeyArray, worker: Int[Array, ""]
    ) -> Float[Array, " d"]:
        """The gradient over one mini-batch: the sum of one."""
        return self.grad_sum(x, jnp.int32(1), key=key, worker=worker, most=1)

    def grad_sum(
        self,
        x: Float[Array, " d"],
        count: Int[Array, ""],
        *,
        key: PRNGKeyArray,
        worker: Int[Array, ""],
        most: int,
    ) -> Float[Array, " d"]:
        """The sum over `count` mini-batches; `count` times ∇f_i where gradients are exact."""
        if self.batch is None:
            return count.astype(x.dtype) * self.local_grad(x, worker)
        one = jnp.ones(1, x.dtype)
        return self.weighted_grad_sum(
            x, count[None], one, keys=key[None], workers=worker[None], most=most
        )

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
        """All jobs' samples stacked, their weights in the residuals: two products a pass."""
        each = weights * counts.astype(weights.dtype)
        if self.batch is None and self.n is None:
            return jnp.sum(each) * self.grad(x)
        if self.batch is None:
            return self._sum_of_parts(x, each, workers)
        parts, size = self.labels.shape
        rows = self.features.reshape(-1, self.d)
        labels = self.labels.reshape(-1)
        batch = self.batch

        def one_pass(
            indices: Int[Array, "R batch"], shares: Float[Array, " R"]
        ) -> Float[Array, " d"]:
            drawn = indices.reshape(-1)
            a = rows.at[drawn].get(mode="promise_in_bounds")
            b = labels.at[drawn].get(mode="promise_in_bounds")
            return (jnp.repeat(shares / batch, batch) * _slopes(a, b, x)) @ a

        total = sum_over_batches(
            one_pass,
            jnp.zeros_like(x),
            counts,
            weights,
            workers * size if parts > 1 else jnp.zeros_like(workers),
            keys=keys,
            population=size,
            batch=batch,
            most=most,
        )
        return total + self.l2 * jnp.sum(each) * x

    def _sum_of_parts(
        self, x: Float[Array, " d"], each: Float[Array, " P"], workers: Int[Array, " P"]
    ) -> Float[Array, " d"]:
        """Σ_p each[p]·∇f_{workers[p]}(x)."""
        parts, size = self.labels.shape
        if len(workers) >= parts:
            share = jnp.zeros(parts, x.dtype).at[workers].add(each) / size
            total = self._weighted(x, jnp.broadcast_to(share[:, None], self.labels.shape))
        else:
            a = self.features.at[workers].get(mode="promise_in_bounds").reshape(-1, self.d)
            b = self.labels.at[workers].get(mode="promise_in_bounds").reshape(-1)
            total = (jnp.repeat(each / size, size) * _slopes(a, b, x)) @ a
        return total + self.l2 * jnp.sum(each) * x

    def _weighted(
        self, x: Float[Array, " d"], shares: Float[Array, "parts m"]
    ) -> Float[Array, " d"]:
        """Σ shares · (the gradient of the loss of a sample), over all samples."""
        return self._pass(lambda a, b, shares: combined(shares * _slopes(a, b, x), a), shares)

    def _ones(self) -> Float[Array, "parts m"]:
        return jnp.ones(self.labels.shape, self.dtype)

    def _pass(
        self,
        part: Callable[
            [Float[Array, "S d"], Float[Array, " S"], Float[Array, " S"]], Float[Array, "*out"]
        ],
        shares: Float[Array, "parts m"],
    ) -> Float[Array, "*out"]:
        """The sum of `part` over all samples: in one go, or in chunks where the data are large."""
        samples, row = self.labels.size, self.d * self.dtype.itemsize
        rows = _chunk_rows(samples, row) if samples * row > AT_ONCE else samples
        pieces = (
            self.features.reshape(-1, rows, self.d),
            self.labels.reshape(-1, rows),
            shares.reshape(-1, rows),
        )
        if rows == samples:
            return part(*(piece[0] for piece in pieces))
        zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, *(p[0] for p in pieces)))
        return jax.lax.scan(lambda total, piece: (total + part(*piece), None), zero, pieces)[0]


def _slopes(
    a: Float[Array, "S d"], b: Float[Array, " S"], x: Float[Array, " d"]
) -> Float[Array, " S"]:
    """The derivative of the loss of each sample by its margin ⟨a, x⟩."""
    return -b * jax.nn.sigmoid(-b * rows_times(a, x))


def _losses(
    a: Float[Array, "S d"], b: Float[Array, " S"], x: Float[Array, " d"]
) -> Float[Array, " S"]:
    return jax.nn.softplus(-b * (a @ x))


def _one(problem: Any, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
    a, b = problem.features[worker], problem.labels[worker]
    return (_slopes(a, b, x) / len(b)) @ a + problem.l2 * x


def _every(problem: Any, x: Float[Array, " d"]) -> Float[Array, "n d"]:
    parts, size = problem.labels.shape
    slopes = _slopes(problem.features.reshape(-1, problem.d), problem.labels.reshape(-1), x)
    each = jax.vmap(jnp.matmul)(slopes.reshape(parts, size) / size, problem.features)
    return each + problem.l2 * x[None, :]


_local_grad = per_worker(_one, _every)


def _chunk_rows(samples: int, row: int) -> int:
    """The largest divisor of `samples` that fits a chunk; all, where chunks would be tiny."""
    most = max(1, CHUNK // row)
    rows = max(r for r in range(1, most + 1) if samples % r == 0)
    return rows if rows >= most // 8 else samples


def _top_eigenvalue(rows: Float[np.ndarray, "N d"]) -> float:
    """λ_max(AᵀA / N), from the smaller Gram matrix."""
    gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    return float(np.linalg.eigvalsh(gram)[-1]) / len(rows)
