"""Chain quadratics of heterogeneous workers: the papers' problem with a given Hessian variance.

    A_i = (ν_i/4) tridiag(−1, 2, −1) + s·I,       ν_i = 1 + spread·ξ_i
    b_i = (ν_i/4) (−1 + spread·ξ'_i, 0, …, 0),    ξ_i, ξ'_i ~ N(0, 1) independent

with the shift s that makes mu the smallest eigenvalue of the mean Ā; x⁰ = (√d, 0, …, 0). With
spread = 0 every worker has the function of `TridiagonalQuadratic`, and L_pm = 0 exactly. The A_i of
single workers may be indefinite.

Constants, all exact (see `dopt.problems.quadratics` for what they are): all A_i share the
eigenvectors of the chain, on which A_i has the eigenvalue ν_i θ + s with θ_k = sin²(kπ / (2(d+1))).
L, L_i, L_plus² and L_pm² are maxima over k of functions of θ_k that are convex, so that k = 1 and
k = d decide: nothing is ever decomposed. f* comes from a banded solve in float64.

Source: the generator of the experiments of Szlendak, Tyurin, Richtárik (ICLR 2022,
https://arxiv.org/abs/2110.03300), as used for correlated quantizers in MARINA (UAI 2025,
https://arxiv.org/abs/2401.05518). `spread` is λ there, `mu` the λ of the regularization.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite, pi, sin, sqrt
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from compressors import Constant
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._dtype import float_dtype
from dopt.problems._normal import normals
from dopt.problems.noise import Noise, NoNoise
from dopt.problems.quadratics import Quadratics, check_weights


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class HeterogeneousQuadratics(Quadratics):
    """Chains of n workers; built by `draw`. All products take O(d)."""

    name: ClassVar[str] = "heterogeneous_quadratics"

    scales: Float[Array, " n"]
    """ν_i."""
    pulls: Float[Array, " n"]
    """The first entry of b_i; the others are 0."""
    shift: Float[Array, ""]
    """s."""
    noise: Noise
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int = field(metadata={"static": True})

    @classmethod
    def draw(
        cls,
        n: int,
        d: int,
        *,
        spread: float,
        seed: int = 0,
        mu: float = 1e-6,
        noise: Noise | None = None,
        dtype: Any = None,
    ) -> "HeterogeneousQuadratics":
        """The problem of `n` workers in dimension `d`.

        Args:
            n: workers.
            d: the dimension.
            spread: λ, the standard deviation of the ν_i; 0 for equal workers.
            seed: of the ξ_i and ξ'_i, which do not depend on `spread`, `d` and `dtype`.
            mu: the smallest eigenvalue of the mean Ā. In float32 the shift is rounded up, so that
                it is a little larger.
            noise: of a stochastic gradient; by default none.
            dtype: of the model; by default the float of JAX's 64-bit setting.

        Raises:
            ConfigurationError: n < 1, d < 2, a negative spread or seed, mu <= 0.
        """
        if n < 1:
            raise ConfigurationError(f"n = {n}; give at least one worker")
        if d < 2:
            raise ConfigurationError(f"d = {d}; a chain has at least 2 coordinates")
        if not (spread >= 0 and isfinite(spread)):
            raise ConfigurationError(f"spread = {spread}; it is finite and at least 0")
        if seed < 0:
            raise ConfigurationError(f"seed = {seed}; it must be at least 0")
        if not (mu > 0 and isfinite(mu)):
            raise ConfigurationError(
                f"mu = {mu}; without a finite mu > 0 the chains have no finite minimum"
            )
        dtype = float_dtype(jnp.result_type(float) if dtype is None else dtype)
        # Drawn in float32 always: the same workers in either precision.
        key = jax.random.key(seed)
        xi, xi_b = (
            np.asarray(normals(jax.random.fold_in(key, k), n, jnp.float32), np.float64)
            for k in range(2)
        )
        scales = (1 + spread * xi).astype(dtype)
        mean = scales.astype(np.float64).mean()
        wanted = mu - min(mean * theta for theta in _ends(d))
        shift = np.asarray(wanted, dtype)
        if shift < wanted:
            shift = np.nextafter(shift, np.asarray(np.inf, dtype))
        return cls(
            scales=jnp.asarray(scales),
            pulls=jnp.asarray(scales.astype(np.float64) / 4 * (spread * xi_b - 1), dtype),
            shift=jnp.asarray(shift),
            noise=NoNoise() if noise is None else noise,
            d=d,
            dtype=dtype,
            n=n,
        )

    @cached_property
    def constants(self) -> Constants:
        """All exact; `sigma2` as the noise declares it."""
        scales, shift = self._host()
        low, high = sorted(scales.mean() * theta + shift for theta in _ends(self.d))
        plus = max(np.mean((scales * theta + shift) ** 2) for theta in _ends(self.d))
        return Constants(
            L=Constant(float(high), "exact", "an end of the chain's spectrum"),
            L_max=Constant(
                float(self.local_smoothness.max()), "exact", "an end of the chain's spectrum"
            ),
            L_plus=Constant(sqrt(plus), "exact", "an end of the chain's spectrum"),
            # The shift is common to all and drops out.
            L_pm=Constant(
                float(scales.std() * _ends(self.d)[1]), "exact", "eigenvector d of the chain"
            ),
            mu=Constant(float(low), "exact", "an end of the chain's spectrum"),
            sigma2=self.noise.sigma2(self.d),
            f_star=Constant(self._least_value(), "exact", "x* with mean A x* = mean b"),
        )

    @property
    def local_smoothness(self) -> Float[np.ndarray, " n"]:
        """L_i = max_k |ν_i θ_k + s|."""
        scales, shift = self._host()
        return np.max([np.abs(scales * theta + shift) for theta in _ends(self.d)], axis=0)

    def weighted(self, weights: Float[np.ndarray, " n"]) -> Constants:
        """The constants, with L_plus and L_pm under `weights`."""
        check_weights(weights, self.n)
        scales, shift = self._host()
        share = 1 / (self.n * weights)
        plus, pm = 0.0, 0.0
        for theta in _ends(self.d):
            values = scales * theta + shift
            plus = max(plus, float(np.mean(share * values**2)))
            pm = max(pm, float(weights @ (share * values - values.mean()) ** 2))
        return replace(
            self.constants,
            L_plus=Constant(sqrt(plus), "exact", "an end of the chain's spectrum"),
            L_pm=Constant(sqrt(pm), "exact", "an end of the chain's spectrum"),
        )

    def start(self) -> Float[Array, " d"]:
        """(√d, 0, …, 0)."""
        return jnp.zeros(self.d, self.dtype).at[0].set(self.d**0.5)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) in one pass."""
        return self.value_and_grad(x)[0]

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """Ā x − b̄."""
        one = jnp.ones((), x.dtype)
        return self._combination(x, self.scales.mean(), one, self.pulls.mean())

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """f(x) = ½ xᵀ∇f(x) − ½ b̄ᵀx, and ∇f(x), with one product."""
        gradient = self.grad(x)
        return (jnp.sum(x * gradient) - self.pulls.mean() * x[0]) / 2, gradient

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """A_i x − b_i; the product with the chain is common to workers who share x."""
        one = jnp.ones((), x.dtype)
        return self._combination(x, self.scales[worker], one, self.pulls[worker])

    def combined_grad(
        self, x: Float[Array, " d"], each: Float[Array, " P"], workers: Int[Array, " P"]
    ) -> Float[Array, " d"]:
        """One product with the chain, however many workers there are."""
        scale, pull = jnp.sum(each * self.scales[workers]), jnp.sum(each * self.pulls[workers])
        return self._combination(x, scale, jnp.sum(each), pull)

    def _combination(
        self,
        x: Float[Array, " d"],
        scale: Float[Array, ""],
        count: Float[Array, ""],
        pull: Float[Array, ""],
    ) -> Float[Array, " d"]:
        """scale·(chain x) + count·s·x − (pull, 0, …, 0)."""
        padded = jnp.pad(x, 1)
        chain = (2 * x - padded[:-2] - padded[2:]) / 4
        return (scale * chain + count * self.shift * x).at[0].add(-pull)

    def _host(self) -> tuple[Float[np.ndarray, " n"], float]:
        return np.asarray(self.scales, np.float64), float(self.shift)

    def _least_value(self) -> float:
        """f* = −½ b̄ᵀx* = −½ b̄_1 x*_1."""
        from scipy.linalg import solveh_banded

        scales, shift = self._host()
        bands = np.full((2, self.d), -scales.mean() / 4)
        bands[1] = scales.mean() / 2 + shift
        b = np.zeros(self.d)
        b[0] = np.asarray(self.pulls, np.float64).mean()
        return -b[0] / 2 * float(solveh_banded(bands, b)[0])


def _ends(d: int) -> tuple[float, float]:
    """The smallest and the largest eigenvalue of ¼ tridiag(−1, 2, −1)."""
    least = sin(pi / (2 * (d + 1))) ** 2
    return least, 1 - least
