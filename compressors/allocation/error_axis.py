"""ErrorAxis: the knapsack with the axis of the error discretised."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from compressors.allocation._base import Allocation, better, fits, tamed, total
from compressors.allocation._programme import followed, least
from compressors.allocation.uniform import Uniform


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ErrorAxis(Allocation):
    """The least discretised error whose least bits are within the budget.

    Kimad+ in the paper's form as we know it (arXiv 2312.08053; from memory): dp[l][e] is the least
    number of bits of the first l layers with a total error of at most e, and 1000 levels of error
    are the default. What the levels divide is ours: the error of `Uniform`, which is the most that
    is of use. Errors are rounded to the nearest level, bits are exact: the budget is never
    exceeded, while the error may be off by half a level a layer. `Uniform` is returned where it
    has no more error.

    Attributes:
        levels: of the error of the uniform choice.
    """

    levels: int = field(default=1000, metadata={"static": True})
    name: ClassVar[str] = "ErrorAxis"

    def __post_init__(self) -> None:
        check_levels(self.name, self.levels)

    def choose(
        self,
        errors: Float[Array, "L R"] | None,
        bits: Int32[Array, "L R"],
        budget: Int32[Array, ""],
    ) -> Int32[Array, " L"]:
        """The rungs; O(L·R·levels)."""
        errors = tamed(errors)
        uniform = Uniform().choose(None, bits, budget)
        costs = jnp.rint(in_levels(errors, total(errors, uniform), self.levels)).astype(jnp.int32)
        fewest, choices = least(bits, costs, self.levels)
        enough = fewest <= budget
        place = jnp.argmax(enough).astype(jnp.int32)
        rungs = jnp.where(enough.any(), followed(choices, costs, place), uniform)
        return jnp.where(fits(bits, budget), better(errors, rungs, uniform), 0)


def in_levels(
    errors: Float[Array, "L R"], whole: Float[Array, ""], levels: int
) -> Float[Array, "L R"]:
    """Errors in units of whole/levels; above the whole, levels + 1."""
    shares = errors / jnp.where(whole > 0, whole, 1)
    return jnp.where(errors <= whole, jnp.minimum(shares * levels, levels), levels + 1)


def check_levels(name: str, levels: int) -> None:
    """Raises `ValueError` unless 1 ≤ levels ≤ 2¹⁵."""
    if not 1 <= levels <= 1 << 15:
        raise ValueError(f"{name} with {levels} levels of error: give from 1 to {1 << 15}")
