"""Quadratics that differ from worker to worker, and their constants by eigenvalues.

    f_i(x) = ½ xᵀA_i x − b_iᵀx,   f = (1/n) Σ f_i,   A_i symmetric, definite or not

Constants, all exact, where λ_max is the largest eigenvalue and bars are means over workers:

* L = λ_max of |Ā|, L_i that of |A_i|; mu = λ_min(Ā) where it is positive, else unknown;
* L_plus² = λ_max(mean A_i²) and L_pm² = λ_max(mean A_i² − Ā²);
* with weights w of sum 1, as joint compressors and samplings of workers use them,
  L_plus² = λ_max(mean A_i²/(n w_i)) and L_pm² = λ_max(mean A_i²/(n w_i) − Ā²); w_i = 1/n is the
  case above. The second is computed as λ_max(Σ w_i (A_i/(n w_i) − Ā)²), which is the same and does
  not cancel;
* f* = −½ b̄ᵀĀ⁻¹b̄ where Ā is positive definite.

Sources: the Hessian variance L_pm is of Szlendak, Tyurin, Richtárik, "Permutation compressors for
provably faster distributed nonconvex optimization" (ICLR 2022, https://arxiv.org/abs/2110.03300),
the weighted AB-inequality of Tyurin et al. (https://arxiv.org/abs/2206.02275).
"""

import abc

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from dopt.errors import ConfigurationError
from dopt.problems._base import Constants, Problem
from dopt.problems.noise import GaussianNoise, Noise, NoNoise


class Quadratics(Problem):
    """What quadratics of workers share; a subclass knows the matrices and the products with them.

    Stochastic gradients are exact ones with a draw of `noise`.
    """

    n: int
    noise: Noise

    @property
    @abc.abstractmethod
    def local_smoothness(self) -> Float[np.ndarray, " n"]:
        """L_i of every worker, exact, in float64."""

    @abc.abstractmethod
    def weighted(self, weights: Float[np.ndarray, " n"]) -> Constants:
        """The constants, with L_plus and L_pm under `weights`.

        Raises:
            ConfigurationError: weights that are not positive, not of sum 1, or not n.
        """

    @abc.abstractmethod
    def combined_grad(
        self, x: Float[Array, " d"], each: Float[Array, " P"], workers: Int[Array, " P"]
    ) -> Float[Array, " d"]:
        """Σ_p each[p]·∇f_{workers[p]}(x)."""

    def stochastic_grad(
        self, x: Float[Array, " d"], *, key: PRNGKeyArray, worker: Int[Array, ""]
    ) -> Float[Array, " d"]:
        """∇f_i(x) with one draw of the noise."""
        return self.noise.apply(self.local_grad(x, worker), x, key=key)

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
        return self.noise.apply_sum(self.local_grad(x, worker), x, count, key=key, most=most)

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
        """Gradients and additive noise apart; other noise has no such sum and goes job by job."""
        if not isinstance(self.noise, NoNoise | GaussianNoise):
            return super().weighted_grad_sum(
                x, counts, weights, keys=keys, workers=workers, most=most
            )
        exact = self.combined_grad(x, weights * counts.astype(weights.dtype), workers)
        still = jnp.zeros_like(x)
        return exact + self.noise.weighted_sum(still, x, counts, weights, keys=keys, most=most)


def check_weights(weights: Float[np.ndarray, " n"], n: int) -> None:
    """Raises `ConfigurationError` unless there are n positive weights of sum 1."""
    if len(weights) != n:
        raise ConfigurationError(f"{len(weights)} weights for {n} workers; give one for each")
    if not np.all(weights > 0):
        raise ConfigurationError(f"a weight is {weights.min()}; weights are positive")
    if abs(total := float(weights.sum()) - 1) > 1e-9:
        raise ConfigurationError(f"the weights have the sum 1 + {total:.3g}; divide by it")
