"""The noise of a stochastic gradient, as a value that a problem with exact gradients carries.

Each kind knows the distribution of a sum of draws, so that thousands of gradients cost as little
as one: Σ_p w_p (the sum of c_p stochastic gradients), without a vector per job. Job p's noise
depends on its key alone.

Sources: `ScalarNoise` and `ProgressiveNoise` are the oracles of the experiments of Shadowheart SGD
(Tyurin et al., NeurIPS 2024, https://arxiv.org/abs/2402.04785); the second is the oracle of the
lower bounds of Arjevani et al. (https://arxiv.org/abs/1912.02365). `GaussianNoise` is the usual
choice where neither is asked for.
"""

import abc
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from compressors import Constant
from dopt.errors import ConfigurationError
from dopt.problems._normal import weighted_normals


class Noise(abc.ABC):
    """What is done to an exact gradient ∇f(x) to make it stochastic, unbiased and keyed."""

    @abc.abstractmethod
    def sigma2(self, d: int) -> Constant | None:
        """E‖∇f(x; ξ) − ∇f(x)‖², or `None` where no number bounds it for all x."""

    @abc.abstractmethod
    def weighted_sum(
        self,
        gradient: Float[Array, " d"],
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """Σ_p weights[p] · (the sum of counts[p] independent draws at `gradient` = ∇f(x)).

        `most` is a static bound of `counts`, on which the result does not depend.
        """

    def apply_sum(
        self,
        gradient: Float[Array, " d"],
        x: Float[Array, " d"],
        count: Int[Array, ""],
        *,
        key: PRNGKeyArray,
        most: int,
    ) -> Float[Array, " d"]:
        """The sum of `count` independent draws."""
        one = jnp.ones(1, gradient.dtype)
        return self.weighted_sum(gradient, x, count[None], one, keys=key[None], most=most)

    def apply(
        self, gradient: Float[Array, " d"], x: Float[Array, " d"], *, key: PRNGKeyArray
    ) -> Float[Array, " d"]:
        """One draw: the sum of one."""
        return self.apply_sum(gradient, x, jnp.int32(1), key=key, most=1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoNoise(Noise):
    """Exact gradients."""

    def sigma2(self, d: int) -> Constant | None:
        """Zero."""
        return Constant(0.0, "exact", "every x")

    def weighted_sum(
        self,
        gradient: Float[Array, " d"],
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """A multiple of the gradient."""
        return _gradients(counts, weights) * gradient


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianNoise(Noise):
    """An independent N(0, sigma²) on every coordinate: E‖noise‖² = d·sigma²."""

    sigma: float = field(metadata={"static": True})

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise ConfigurationError(
                f"sigma = {self.sigma}; a standard deviation is finite and at least 0"
            )

    def sigma2(self, d: int) -> Constant | None:
        """d·sigma²."""
        return Constant(d * self.sigma**2, "exact", "every x")

    def numbers(self, d: int) -> int:
        """Normals that one draw consists of."""
        return d

    def weighted_sum(
        self,
        gradient: Float[Array, " d"],
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """The sum of c draws is c·∇f + √c·N(0, sigma²): one draw a job, however large c is."""
        deviations = self.sigma * weights * jnp.sqrt(counts.astype(weights.dtype))
        # The noise is summed apart from the gradient, so that a batch of models x shares one draw.
        noise = weighted_normals(deviations, self.numbers(x.shape[0]), keys=keys)
        return _gradients(counts, weights) * gradient + noise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScalarNoise(GaussianNoise):
    """One N(0, sigma²) added to all coordinates alike: E‖noise‖² = d·sigma², fully correlated."""

    def numbers(self, d: int) -> int:
        """One."""
        return 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ProgressiveNoise(Noise):
    """The worst-case oracle: coordinates not yet discovered arrive with probability `p`.

    prog(x) is the index, from 1, of the last nonzero coordinate of x (0 for x = 0). Coordinates of
    the gradient beyond prog(x) are multiplied by ξ/p, ξ ~ Bernoulli(p), one ξ a gradient; the
    others are exact. `p` is rounded to a multiple of 2⁻³², in the draw and in the division alike,
    which keeps the gradient unbiased.
    """

    p: float = field(metadata={"static": True})

    def __post_init__(self) -> None:
        if not 2.0**-32 <= self.p <= 1:
            raise ConfigurationError(f"p = {self.p}; a probability of arrival is in [2^-32, 1]")

    def sigma2(self, d: int) -> Constant | None:
        """`None`: the variance is (1/p − 1)·Σ_{j > prog(x)} ∂_j f(x)², which no number bounds."""
        return Constant(0.0, "exact", "every x") if self.p == 1 else None

    def weighted_sum(
        self,
        gradient: Float[Array, " d"],
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """The sum of c draws has a binomial number of arrivals, one binomial a job."""
        threshold = round(self.p * 2**32)
        draw = jax.vmap(lambda key, count: _successes(key, count, threshold, most))
        arrivals = jnp.sum(weights * draw(keys, counts).astype(weights.dtype))
        place = jnp.arange(1, x.shape[0] + 1)
        beyond = place > jnp.max(jnp.where(x != 0, place, 0))
        factor = jnp.where(beyond, arrivals * (2**32 / threshold), _gradients(counts, weights))
        return factor * gradient


_BLOCK = 1024


def _successes(
    key: PRNGKeyArray, count: Int[Array, ""], threshold: int, most: int
) -> Int[Array, ""]:
    """A binomial: how many of `count` 32-bit words are below `threshold`, drawn in blocks.

    Exact, and the same on every platform. `jax.random.binomial` is not: it leaves out the tail of
    Stirling's series beyond 9 (means 3e-4 too low where c·p = 12), and rounds in float32.
    """
    width = max(1, min(most, _BLOCK))

    def add(j: Int[Array, ""] | int, total: Int[Array, ""]) -> Int[Array, ""]:
        words = jax.random.bits(jax.random.fold_in(key, j), (width,), jnp.uint32)
        drawn = j * _BLOCK + jnp.arange(width, dtype=count.dtype)
        hits = (words <= jnp.uint32(threshold - 1)) & (drawn < count)
        return total + jnp.sum(hits, dtype=count.dtype)

    if most <= _BLOCK:
        return add(0, jnp.zeros_like(count))
    return jax.lax.fori_loop(0, (count + _BLOCK - 1) // _BLOCK, add, jnp.zeros_like(count))


def _gradients(counts: Int[Array, " P"], weights: Float[Array, " P"]) -> Float[Array, ""]:
    return jnp.sum(weights * counts.astype(weights.dtype))
