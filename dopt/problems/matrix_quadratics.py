"""Quadratics with given matrices, kept dense: any Hessians, for theory in small dimensions.

    f_i(x) = ½ xᵀA_i x − b_iᵀx,   f = (1/n) Σ f_i

Constants: see `dopt.problems.quadratics`; here by eigenvalues of d x d matrices in float64.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from compressors import Constant
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._dtype import float_dtype
from dopt.problems._parts import per_worker
from dopt.problems.noise import Noise, NoNoise
from dopt.problems.quadratics import Quadratics, check_weights


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MatrixQuadratics(Quadratics):
    """Quadratics with any Hessians, kept dense; built by `from_matrices`, which checks them."""

    name: ClassVar[str] = "matrix_quadratics"

    A: Float[Array, "n d d"]
    b: Float[Array, "n d"]
    noise: Noise
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int = field(metadata={"static": True})

    @classmethod
    def from_matrices(
        cls,
        A: Float[np.ndarray, "n d d"],
        b: Float[np.ndarray, "n d"],
        *,
        noise: Noise | None = None,
        dtype: Any = None,
    ) -> "MatrixQuadratics":
        """The problem of given Hessians.

        Args:
            A: symmetric matrices, one a worker.
            b: the linear terms.
            noise: of a stochastic gradient; by default none.
            dtype: of the model and the matrices; by default the float of JAX's 64-bit setting.

        Raises:
            ConfigurationError: an entry that is not finite, or a matrix that is not symmetric.
        """
        dtype = float_dtype(jnp.result_type(float) if dtype is None else dtype)
        n, d = b.shape
        if n < 1 or d < 1:
            raise ConfigurationError(f"b is {n} x {d}; give at least one worker and one coordinate")
        if not (np.all(np.isfinite(A)) and np.all(np.isfinite(b))):
            raise ConfigurationError("A or b has an entry that is not finite")
        apart = np.abs(A - A.transpose(0, 2, 1)).max(axis=(1, 2))
        worst = int(np.argmax(apart))
        if apart[worst] > 1e-12 * max(1.0, float(np.abs(A[worst]).max())):
            raise ConfigurationError(
                f"A of worker {worst} differs from its transpose by {apart[worst]:.3g}; a Hessian "
                "is symmetric: give (A + A.T)/2"
            )
        return cls(
            A=jnp.asarray(A, dtype),
            b=jnp.asarray(b, dtype),
            noise=NoNoise() if noise is None else noise,
            d=d,
            dtype=dtype,
            n=n,
        )

    @cached_property
    def constants(self) -> Constants:
        """All exact; mu and f* are unknown where the mean of the A_i is not positive definite."""
        mean, b = self._host().mean(axis=0), np.asarray(self.b, np.float64).mean(axis=0)
        values, vectors = np.linalg.eigh(mean)
        size = float(np.abs(values).max())
        definite = values[0] > self.d * np.finfo(self.dtype).eps * size
        least = -float(np.sum((vectors.T @ b) ** 2 / values)) / 2 if definite else None
        uniform = np.full(self.n, 1 / self.n)
        return Constants(
            L=Constant(size, "exact", "an eigenvector of the mean of the A_i"),
            L_max=Constant(
                float(self.local_smoothness.max()), "exact", "an eigenvector of one A_i"
            ),
            L_plus=self._plus(uniform),
            L_pm=self._pm(uniform),
            mu=Constant(float(values[0]), "exact", "eigenvector 1 of the mean")
            if definite
            else None,
            sigma2=self.noise.sigma2(self.d),
            f_star=None
            if least is None
            else Constant(least, "exact", "x* with mean A x* = mean b"),
        )

    @property
    def local_smoothness(self) -> Float[np.ndarray, " n"]:
        """The largest |eigenvalue| of every A_i."""
        return np.abs(np.linalg.eigvalsh(self._host())).max(axis=1)

    def weighted(self, weights: Float[np.ndarray, " n"]) -> Constants:
        """The constants, with L_plus and L_pm under `weights`."""
        check_weights(weights, self.n)
        return replace(self.constants, L_plus=self._plus(weights), L_pm=self._pm(weights))

    def start(self) -> Float[Array, " d"]:
        """(√d, 0, …, 0), as for the chains."""
        return jnp.zeros(self.d, self.dtype).at[0].set(self.d**0.5)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) in one pass."""
        return self.value_and_grad(x)[0]

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The mean of A_i x − b_i."""
        return _every(self, x).mean(axis=0)

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """f(x) = ½ xᵀ(∇f(x) − b̄), and ∇f(x)."""
        gradient = self.grad(x)
        return jnp.vdot(x, gradient - self.b.mean(axis=0)) / 2, gradient

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """A_i x − b_i."""
        return _local_grad(self, x, worker)

    def combined_grad(
        self, x: Float[Array, " d"], each: Float[Array, " P"], workers: Int[Array, " P"]
    ) -> Float[Array, " d"]:
        """A combination of the gradients of all workers."""
        return jnp.zeros(self.n, x.dtype).at[workers].add(each) @ _every(self, x)

    def _host(self) -> Float[np.ndarray, "n d d"]:
        return np.asarray(self.A, np.float64)

    def _plus(self, weights: Float[np.ndarray, " n"]) -> Constant:
        A = self._host()
        second = np.einsum("i,ijk,ikl->jl", 1 / (self.n**2 * weights), A, A, optimize=True)
        top = np.linalg.eigvalsh(second)[-1]
        return Constant(sqrt(max(0.0, top)), "exact", "an eigenvector of the mean of the A_i²")

    def _pm(self, weights: Float[np.ndarray, " n"]) -> Constant:
        A = self._host()
        apart = A / (self.n * weights)[:, None, None] - A.mean(axis=0)
        variance = np.einsum("i,ijk,ikl->jl", weights, apart, apart, optimize=True)
        top = np.linalg.eigvalsh(variance)[-1]
        return Constant(sqrt(max(0.0, top)), "exact", "an eigenvector of the variance of the A_i")


def _one(problem: Any, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
    return problem.A[worker] @ x - problem.b[worker]


def _every(problem: Any, x: Float[Array, " d"]) -> Float[Array, "n d"]:
    return problem.A @ x - problem.b


_local_grad = per_worker(_one, _every)
