"""The chain quadratic: the worst case of first-order methods, and the synthetic problem of papers.

    f(x) = ½ xᵀA x − bᵀx,   A = ¼ tridiag(−1, 2, −1) + s·I,   b = ¼ (−1, 0, …, 0)

so that ∇f(x) = A x − b and the minimum solves A x* = b; it starts at x⁰ = (√d, 0, …, 0). Without
the shift s, x*_j = −(1 − j/(d+1)) and f* = −d / (8(d+1)). The sign of b is that of the papers and
of their code; it mirrors Nesterov's function, x → −x. The shift makes `mu` the smallest eigenvalue
of A, and may be negative.

Constants, all exact: ¼ tridiag(−1, 2, −1) has the eigenvalues sin²(kπ / (2(d+1))), k = 1…d, hence
s = mu − sin²(π / (2(d+1))) and L = cos(π / (d+1)) + mu; f* comes from a banded solve in float64.

Noise is a value (see `dopt.problems.noise`). With `ProgressiveNoise` at x with last nonzero
coordinate k < d, only ∂_{k+1} f = −x_k/4 is at risk, so the variance is (1/p − 1)·x_k²/16: it grows
with x, and `sigma2` is `None`.

Source: Nesterov, Introductory Lectures on Convex Optimization (2004), 2.1.2; in this form in the
experiments of Shadowheart SGD (Tyurin et al., NeurIPS 2024, https://arxiv.org/abs/2402.04785).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import cos, isfinite, pi, sin
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from compressors import Constant
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants, Problem
from dopt.problems._dtype import float_dtype
from dopt.problems.noise import Noise, NoNoise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TridiagonalQuadratic(Problem):
    """The chain quadratic of dimension `d` with strong convexity `mu`; homogeneous.

    `dtype` is by default the float of JAX's 64-bit setting. Products with A take O(d).
    """

    name: ClassVar[str] = "tridiagonal"
    n = None

    d: int = field(metadata={"static": True})
    mu: float = field(default=1e-6, metadata={"static": True})
    noise: Noise = field(default_factory=NoNoise)
    dtype: Any = field(default_factory=lambda: jnp.result_type(float), metadata={"static": True})

    def __post_init__(self) -> None:
        if self.d < 2:
            raise ConfigurationError(f"d = {self.d}; a chain has at least 2 coordinates")
        if not (self.mu > 0 and isfinite(self.mu)):
            raise ConfigurationError(
                f"mu = {self.mu}; without a finite mu > 0 the chain has no finite minimum"
            )
        object.__setattr__(self, "dtype", float_dtype(self.dtype))

    @property
    def constants(self) -> Constants:
        """All exact; `sigma2` as the noise declares it."""
        top = Constant(cos(pi / (self.d + 1)) + self.mu, "exact", "eigenvector d of the chain")
        return Constants(
            L=top,
            L_max=top,
            L_plus=top,
            L_pm=Constant(0.0, "exact", "all workers have the same f"),
            mu=Constant(self.mu, "exact", "eigenvector 1 of the chain"),
            sigma2=self.noise.sigma2(self.d),
            f_star=Constant(_least_value(self.d, self.mu), "exact", "x* with A x* = b"),
        )

    def start(self) -> Float[Array, " d"]:
        """(√d, 0, …, 0)."""
        return jnp.zeros(self.d, self.dtype).at[0].set(self.d**0.5)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) in one pass."""
        return self.value_and_grad(x)[0]

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """A x − b."""
        # b is the neighbour −1 before the first coordinate; after the last comes 0.
        padded = jnp.pad(x, 1).at[0].set(-1)
        chain = (2 * x - padded[:-2] - padded[2:]) / 4
        return chain + _shift(self.d, self.mu) * x

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """f(x) = ½ xᵀ∇f(x) − ½ bᵀx, and ∇f(x), with one product."""
        gradient = self.grad(x)
        return jnp.sum(x * gradient) / 2 + x[0] / 8, gradient

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """A x − b for every worker."""
        return self.grad(x)

    def stochastic_grad(
        self, x: Float[Array, " d"], *, key: PRNGKeyArray, worker: Int[Array, ""]
    ) -> Float[Array, " d"]:
        """The gradient with one draw of the noise."""
        return self.noise.apply(self.grad(x), x, key=key)

    def grad_sum(
        self,
        x: Float[Array, " d"],
        count: Int[Array, ""],
        *,
        key: PRNGKeyArray,
        worker: Int[Array, ""],
        most: int,
    ) -> Float[Array, " d"]:
        """A draw from the distribution of the sum, which the noise knows."""
        return self.noise.apply_sum(self.grad(x), x, count, key=key, most=most)

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
        """One exact gradient and the noise of all jobs."""
        return self.noise.weighted_sum(self.grad(x), x, counts, weights, keys=keys, most=most)


def _shift(d: int, mu: float) -> float:
    return mu - sin(pi / (2 * (d + 1))) ** 2


@lru_cache
def _least_value(d: int, mu: float) -> float:
    """f* = −½ bᵀx* = x*_1 / 8."""
    from scipy.linalg import solveh_banded

    bands = np.full((2, d), -0.25)
    bands[1] = 0.5 + _shift(d, mu)
    b = np.zeros(d)
    b[0] = -0.25
    return float(solveh_banded(bands, b)[0]) / 8
