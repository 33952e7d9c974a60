"""How far the range of a group is cut so that rounding to integers costs least.

A smaller range has smaller steps and cuts off the largest weights. The search is that of the "mse"
observers of compressed-tensors: all shares of the range on an even grid, the error of a weight
|ŵ − w|^norm, the share of least error for each group by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32


@dataclass(frozen=True)
class Clipping:
    """The search: shares 1 − i/grid of the range for i = 0 … most·grid − 1.

    Attributes:
        grid: shares in the whole range, 1 or more.
        most: what is cut off at most, above 0 and below 1.
        norm: the power of errors, above 0; 2 is the least squared error.

    Raises:
        ValueError: other settings.
    """

    grid: int = 100
    most: float = 0.2
    norm: float = 2.4

    def __post_init__(self) -> None:
        if self.grid < 1 or not 0 < self.most < 1 or not self.norm > 0:
            raise ValueError(
                f"Clipping(grid={self.grid}, most={self.most}, norm={self.norm}): give grid ≥ 1, "
                "0 < most < 1 and norm > 0"
            )

    @property
    def candidates(self) -> int:
        """Shares that are tried, the whole range among them."""
        return max(1, round(self.most * self.grid))

    def shares(
        self,
        groups: Float32[Array, "rows groups g"],
        rounded: Callable[[Float32[Array, "rows groups"]], Float32[Array, "rows groups g"]],
    ) -> Float32[Array, "rows groups"]:
        """The share of least error of each group; of equal ones the largest.

        Args:
            groups: weights.
            rounded: from a share for each group to its weights rounded in that range.
        """
        largest = jnp.max(jnp.abs(groups), axis=-1, keepdims=True)
        unit = jnp.where(largest > 0, largest, jnp.float32(1))

        def attempt(i: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
            share = jnp.float32(1) - i.astype(jnp.float32) / jnp.float32(self.grid)
            shares = jnp.full(groups.shape[:-1], share)
            errors = jnp.abs(rounded(shares) - groups) / unit
            error = jnp.sum(self._power(errors), axis=-1)
            better = error < best[0]
            return jnp.where(better, error, best[0]), jnp.where(better, shares, best[1])

        start = (
            jnp.full(groups.shape[:-1], jnp.inf, jnp.float32),
            jnp.ones(groups.shape[:-1], jnp.float32),
        )
        return jax.lax.fori_loop(jnp.int32(0), jnp.int32(self.candidates), attempt, start)[1]

    def _power(self, errors: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
        return errors * errors if self.norm == 2 else errors ** jnp.float32(self.norm)
