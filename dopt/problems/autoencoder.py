"""A linear autoencoder: the nonconvex problem of papers whose least value is known exactly.

    f_i(D, E) = the mean of ‖D E a − a‖² over the images a of worker i,   f = (1/n) Σ f_i

with a decoder D [pixels, code] and an encoder E [code, pixels]; x holds D, then E, row by row: on
MNIST with a code of 16 numbers d = 2·784·16 = 25,088. Workers count alike however many images they
have.

With the second moments C_i = mean aaᵀ and C = (1/n) Σ C_i,

    f = tr C − 2 tr(D E C) + tr(DᵀD E C Eᵀ)
    ∇_D f = 2 (D (E C Eᵀ) − (E C)ᵀ),   ∇_E f = 2 (DᵀD E − Dᵀ) C

so that a gradient costs two products of [code, pixels] with C_i, however many images there are.
Where workers have fewer images than half the pixels on average, the C_i would take more than twice
the memory of the images and save no time: gradients go through the images then. Mini-batches always
do.

Constants: f* is exact, the sum of the eigenvalues of C without the `code` largest (Eckart, Young);
the gradient is not Lipschitz, so there is no L (`dopt.problems.estimates` measures one at points).

Source: the autoencoder of the experiments of Szlendak, Tyurin, Richtárik (ICLR 2022,
https://arxiv.org/abs/2110.03300).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64, Key

from compressors import Constant
from dopt.data import Digits
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._cut import Cut, cut
from dopt.problems._dtype import float_dtype
from dopt.problems._normal import normals
from dopt.problems._parts import per_worker
from dopt.problems._samples import MeanOverSamples


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LinearAutoencoder(MeanOverSamples):
    """The autoencoder; built by `from_digits`."""

    name: ClassVar[str] = "autoencoder"

    images: Float[Array, "N pixels"]
    """Part after part."""
    cut: Cut
    moments: Float[Array, "parts pixels pixels"] | None
    """The C_i; `None` where gradients go through the images."""
    least: float | Float[Array, ""]
    """f*."""
    code: int = field(metadata={"static": True})
    seed: int = field(metadata={"static": True})
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int | None = field(metadata={"static": True})
    batch: int | None = field(metadata={"static": True})

    @classmethod
    def from_digits(
        cls,
        digits: Digits,
        code: int = 16,
        *,
        seed: int = 0,
        batch: int | None = None,
        n: int | None = None,
        parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
        dtype: Any = jnp.float32,
    ) -> "LinearAutoencoder":
        """The autoencoder of images.

        Args:
            digits: the images; their labels are not read.
            code: numbers that an image is encoded in.
            seed: of the starting point.
            batch: images that one stochastic gradient averages; `None` for exact gradients.
            n: workers with an equal part of the images each, cut in their order; by default all
                share all.
            parts: the images of each worker, in place of `n`; of any sizes.
            dtype: of the model and the data.

        Raises:
            ConfigurationError: a code not in 1 to pixels, a bad batch, seed or cut.
        """
        samples, pixels = digits.images.shape
        if not 1 <= code <= pixels:
            raise ConfigurationError(f"code = {code}; images have {pixels} pixels: take 1 to that")
        if seed < 0:
            raise ConfigurationError(f"seed = {seed}; it must be at least 0")
        if batch is not None and batch < 1:
            raise ConfigurationError(f"batch = {batch}; a gradient averages at least one sample")
        dtype = float_dtype(dtype)
        made, order = cut(samples, n, parts)
        images = digits.images[order]
        keep = 2 * len(images) >= made.parts * pixels
        moments = np.empty((made.parts, pixels, pixels), dtype) if keep else None
        mean = np.zeros((pixels, pixels))
        for i, rows in enumerate(np.split(images, np.asarray(made.firsts)[1:])):
            moment = _second_moment(rows)
            mean += moment / made.parts
            if moments is not None:
                moments[i] = moment
        return cls(
            images=jnp.asarray(images, dtype),
            cut=made,
            moments=None if moments is None else jnp.asarray(moments),
            least=float(np.maximum(np.linalg.eigvalsh(mean)[: pixels - code], 0).sum()),
            code=code,
            seed=seed,
            d=2 * pixels * code,
            dtype=dtype,
            n=n if parts is None else made.parts,
            batch=batch,
        )

    @property
    def constants(self) -> Constants:
        """f*, and sigma2 = 0 of exact gradients; nothing else is known."""
        exact = Constant(0.0, "exact", "exact gradients")
        return Constants(sigma2=exact if self.batch is None else None, f_star=self.f_star)

    @property
    def f_star(self) -> Constant:
        """The least error of any matrix of rank `code`."""
        return Constant(float(self.least), "exact", "D and E of the first eigenvectors of C")

    @property
    def params(self) -> dict[str, Array]:
        """The starting point as matrices: what `PerLeaf.like` of `compressors` takes."""
        return self.unravel(self.start())

    def start(self) -> Float[Array, " d"]:
        """All entries N(0, 1/pixels), so that D and Eᵀ have nearly orthonormal columns."""
        # Drawn in float32 always: the same start in either precision.
        draws = normals(jax.random.key(self.seed), self.d, jnp.float32)
        return (draws / self.images.shape[1] ** 0.5).astype(self.dtype)

    def unravel(self, x: Float[Array, " d"]) -> dict[str, Array]:
        """The matrices that the flat vector `x` stands for, as `ravel_pytree` lays them out."""
        D, E = self._matrices(x)
        return {"decoder": D, "encoder": E}

    def loss_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> Float[Array, ""]:
        """Σ_s shares[s]·‖D E a_s − a_s‖²."""
        return self._through_images(x, rows, shares)[0]

    def loss_and_grad_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """The same, and its gradient: four products with the images."""
        loss, a, codes, loaded = self._through_images(x, rows, shares)
        D = self._matrices(x)[0]
        by_decoder = loaded.T @ codes
        by_encoder = (loaded @ D).T @ a
        return loss, 2 * jnp.concatenate([by_decoder.reshape(-1), by_encoder.reshape(-1)])

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) over all images."""
        return super().value(x) if self.moments is None else self.value_and_grad(x)[0]

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Both, from C where it is known."""
        if self.moments is None:
            return super().value_and_grad(x)
        return self._through_moment(x, self.moments.mean(axis=0))

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """∇f_i(x); ∇f(x) where the images are shared."""
        if self.moments is None or self.n is None:
            return super().local_grad(x, worker)
        return _local_grad(self, x, worker)

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
        """Exact gradients by the weighted sum of the C_i: one gradient, however many jobs."""
        if self.moments is None or self.batch is not None:
            return super().weighted_grad_sum(
                x, counts, weights, keys=keys, workers=workers, most=most
            )
        workers = jnp.zeros_like(workers) if self.n is None else workers
        each = jnp.zeros(self.cut.parts, x.dtype).at[workers].add(weights * counts.astype(x.dtype))
        return self._through_moment(x, jnp.tensordot(each, self.moments, axes=1))[1]

    def _matrices(
        self, x: Float[Array, " d"]
    ) -> tuple[Float[Array, "pixels code"], Float[Array, "code pixels"]]:
        half, pixels = self.d // 2, self.images.shape[1]
        return x[:half].reshape(pixels, self.code), x[half:].reshape(self.code, pixels)

    def _through_images(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> tuple[Array, Array, Array, Array]:
        """The loss, the images, their codes, and what is wrong with them, times the shares."""
        D, E = self._matrices(x)
        a = self.images.at[rows].get(mode="promise_in_bounds")
        codes = a @ E.T
        wrong = codes @ D.T - a
        loaded = shares[:, None] * wrong
        return jnp.sum(loaded * wrong), a, codes, loaded

    def _through_moment(
        self, x: Float[Array, " d"], C: Float[Array, "pixels pixels"]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        D, E = self._matrices(x)
        square = D.T @ D
        # Both products with C in one, which reads C once.
        EC, by_encoder = jnp.split(jnp.concatenate([E, square @ E - D.T]) @ C, 2)
        coded = EC @ E.T
        by_decoder = D @ coded - EC.T
        loss = jnp.trace(C) - 2 * jnp.sum(D.T * EC) + jnp.sum(square * coded)
        return loss, 2 * jnp.concatenate([by_decoder.reshape(-1), by_encoder.reshape(-1)])


def _second_moment(rows: Float[np.ndarray, "m pixels"]) -> Float[np.ndarray, "pixels pixels"]:
    """The mean of aaᵀ in float64, by parts: a whole copy of MNIST would take 400 MB."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for first in range(0, len(rows), 4096):
        some = rows[first : first + 4096].astype(np.float64)
        total += some.T @ some
    return total / len(rows)


def _one(problem: Any, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
    return problem._through_moment(x, problem.moments[worker])[1]


def _every(problem: Any, x: Float[Array, " d"]) -> Float[Array, "n d"]:
    return jax.vmap(lambda C: problem._through_moment(x, C)[1])(problem.moments)


_local_grad = per_worker(_one, _every)
