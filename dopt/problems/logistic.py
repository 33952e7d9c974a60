"""Binary linear classification, each worker with its own part of the data or all with the same.

    f_i(x) = (1/m_i) Σ_j φ(b_ij ⟨a_ij, x⟩) + r(x),   f = (1/n) Σ f_i,   b_ij = ±1

φ is the loss of logistic regression or a nonconvex one, r a ridge, a nonconvex regularizer, or both
(see `dopt.problems.losses`). Workers count alike however many samples they have.

Noise: one stochastic gradient averages `batch` samples of the worker's part, drawn uniformly with
replacement; with `batch=None` every gradient is ∇f_i, exact.

Constants: see `dopt.problems._margin_constants`.

Sources: the experiments of MARINA (Gorbunov, Burlachenko, Li, Richtárik, 2021, arXiv 2102.07845)
and of the compressed methods after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Int64, Key

from compressors import Constant
from dopt.data import Samples
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._cut import cut as divided
from dopt.problems._dtype import float_dtype
from dopt.problems._margin_constants import (
    Spectrum,
    margin_constants,
    sample_smoothness,
    spectrum,
    weighted_constants,
)
from dopt.problems._margin_passes import (
    local_grad,
    losses_and_grad,
    mean_loss,
    rights,
    sampled_grad,
    sum_of_parts,
)
from dopt.problems._minibatches import MiniBatched
from dopt.problems._rows import DenseRows, dense_rows
from dopt.problems._sampling import sum_over_batches
from dopt.problems._sparse_rows import SPARSE_BELOW, SparseRows, sparse_rows
from dopt.problems._tiles import layout
from dopt.problems.losses import LogLoss, MarginLoss, Regularizer


_LOG_LOSS = LogLoss()


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LogisticRegression(MiniBatched):
    """A linear classifier; built by `from_arrays` or `from_samples`, which check the data."""

    name: ClassVar[str] = "logistic"

    rows: DenseRows | SparseRows
    labels: Float[Array, "T B"]
    shares: Float[Array, "T B"]
    """1/m_i for the samples of worker i, 0 where a tile is filled up."""
    owners: Int32[Array, " T"]
    """The worker of each tile."""
    firsts: Int32[Array, " parts"]
    """The first tile of each worker."""
    sizes: Int32[Array, " parts"]
    """m_i."""
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int | None = field(metadata={"static": True})
    batch: int | None = field(metadata={"static": True})
    loss: MarginLoss = field(metadata={"static": True})
    regularizer: Regularizer = field(metadata={"static": True})

    @classmethod
    def from_arrays(
        cls,
        features: Float[np.ndarray, "N d"],
        labels: Float[np.ndarray, " labels"],
        *,
        n: int | None = None,
        parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
        batch: int | None = 1,
        loss: MarginLoss = _LOG_LOSS,
        l2: float = 0.0,
        nonconvex: float = 0.0,
        dtype: Any = jnp.float32,
    ) -> "LogisticRegression":
        """The classification of samples with labels ±1.

        Args:
            features: a sample a row.
            labels: −1 or 1.
            n: workers with a part of the data each, cut in their order into equal parts; by
                default all workers share all data.
            parts: in place of `n`, the samples of each worker (see `dopt.data.splits`).
            batch: samples that one stochastic gradient averages; `None` for exact gradients.
            loss: φ.
            l2: the factor of the ridge ½‖x‖².
            nonconvex: the factor of Σ x_k²/(1 + x_k²).
            dtype: of the model and the data.

        Raises:
            ConfigurationError: labels other than ±1, parts of unequal size for `n`, parts that are
                empty or overlap, a bad batch, l2 or nonconvex.
        """
        samples, d = features.shape
        odd = labels[(labels != 1) & (labels != -1)]
        if odd.size:
            raise ConfigurationError(f"a label is {odd[0]}; give -1 or 1, for each sample one")
        if len(labels) != samples:
            raise ConfigurationError(
                f"{samples} samples have {len(labels)} labels; give one for each"
            )
        dtype = float_dtype(dtype)
        return cls._build(
            lambda places: dense_rows(features, places, dtype),
            labels,
            row_bytes=d * dtype.itemsize,
            d=d,
            cut=(n, parts),
            batch=batch,
            loss=loss,
            regularizer=Regularizer(l2, nonconvex),
            dtype=dtype,
        )

    @classmethod
    def from_samples(
        cls,
        samples: Samples,
        *,
        n: int | None = None,
        parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
        batch: int | None = 1,
        loss: MarginLoss = _LOG_LOSS,
        l2: float = 0.0,
        nonconvex: float = 0.0,
        dtype: Any = jnp.float32,
    ) -> "LogisticRegression":
        """The same for a LIBSVM set, whose rows stay sparse where few entries are stored.

        `SPARSE_BELOW` of `dopt.problems._sparse_rows` says how few. Arguments and errors are those
        of `from_arrays`.
        """
        if samples.nnz >= SPARSE_BELOW * len(samples.labels) * samples.d:
            return cls.from_arrays(
                samples.dense(dtype),
                samples.labels,
                n=n,
                parts=parts,
                batch=batch,
                loss=loss,
                l2=l2,
                nonconvex=nonconvex,
                dtype=dtype,
            )
        dtype = float_dtype(dtype)
        return cls._build(
            lambda places: sparse_rows(samples, places, dtype),
            samples.labels,
            row_bytes=-(-samples.nnz * (8 + dtype.itemsize) // len(samples.labels)),
            d=samples.d,
            cut=(n, parts),
            batch=batch,
            loss=loss,
            regularizer=Regularizer(l2, nonconvex),
            dtype=dtype,
        )

    @classmethod
    def _build(
        cls,
        rows: Callable[[Int64[np.ndarray, "T B"]], DenseRows | SparseRows],
        labels: Float[np.ndarray, " N"],
        *,
        row_bytes: int,
        cut: tuple[int | None, Sequence[Int64[np.ndarray, " _"]] | None],
        **others: Any,
    ) -> "LogisticRegression":
        """Divides the samples into tiles, whose rows `rows` makes."""
        n, parts = cut
        batch, dtype = others["batch"], others["dtype"]
        if batch is not None and batch < 1:
            raise ConfigurationError(f"batch = {batch}; a gradient averages at least one sample")
        division, order = divided(len(labels), n, parts)
        sizes = np.asarray(division.sizes, np.int64)
        places, owners = layout(order, sizes, row_bytes)
        there = places >= 0
        return cls(
            rows=rows(places),
            labels=jnp.asarray(np.where(there, labels[places], 1), dtype),
            shares=jnp.asarray(np.where(there, 1 / sizes[owners][:, None], 0), dtype),
            owners=jnp.asarray(owners, jnp.int32),
            firsts=jnp.asarray(np.searchsorted(owners, np.arange(len(sizes))), jnp.int32),
            sizes=division.sizes,
            n=n if parts is None else len(parts),
            **others,
        )

    @cached_property
    def constants(self) -> Constants:
        """Bounds, from eigenvalues of the data."""
        return margin_constants(self)

    def weighted(self, weights: Float[np.ndarray, " n"]) -> Constants:
        """The constants, with L_plus and L_pm under weights w_i > 0 that sum to 1.

        Sums over workers then have the factors 1/(n w_i), as in the weighted AB-inequality.
        """
        return weighted_constants(self, weights)

    def local_smoothness(self) -> Float[np.ndarray, " n"]:
        """A bound of the smoothness constant of every f_i."""
        return self.spectrum.smoothness

    def sample_smoothness(self) -> Constant:
        """√(mean_i max_j L_ij²), where the loss of sample j of worker i is L_ij-smooth.

        The constant of VR-MARINA for one sample at a time; `batch` independent ones divide its
        square by `batch`.
        """
        return sample_smoothness(self)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the data, on the host."""
        return spectrum(self)

    @property
    def f_star(self) -> Constant:
        """At least 0."""
        return Constant(0.0, "bound", "neither the loss nor the regularizer is negative")

    def start(self) -> Float[Array, " d"]:
        """Zero."""
        return jnp.zeros(self.d, self.dtype)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) over all data."""
        return mean_loss(self, x) + self.regularizer.value(x)

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇f(x) over all data."""
        return self.value_and_grad(x)[1]

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Both, with one pass over the data."""
        both = losses_and_grad(self, x)
        return both[0] + self.regularizer.value(x), both[1:] + self.regularizer.grad(x)

    def accuracy(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """The share of all samples where ⟨a, x⟩ > 0 says whether b = 1, each counted once."""
        return rights(self, x) / jnp.sum(self.sizes).astype(x.dtype)

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """∇f_i(x); ∇f(x) where the data are shared."""
        if self.n is None:
            return self.grad(x)
        return local_grad(self, x, worker) + self.regularizer.grad(x)

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
        ridge = jnp.sum(each) * self.regularizer.grad(x)
        if self.n is None:
            workers = jnp.zeros_like(workers)
        if self.batch is None:
            return sum_of_parts((self, each, workers), x) + ridge
        batch, height = self.batch, self.labels.shape[1]

        def one_pass(
            indices: Int[Array, "R batch"], shares: Float[Array, " R"]
        ) -> Float[Array, " d"]:
            drawn = indices.reshape(-1)
            return sampled_grad((self, drawn, jnp.repeat(shares / batch, batch)), x)

        total = sum_over_batches(
            one_pass,
            jnp.zeros_like(x),
            counts,
            weights,
            self.firsts[workers] * height,
            keys=keys,
            population=self.sizes[workers],
            batch=batch,
            most=most,
        )
        return total + ridge
