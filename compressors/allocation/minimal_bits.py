"""MinimalBits: the fewest bits that are as good as one rung for all."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from compressors.allocation._base import Allocation, tamed, total
from compressors.allocation._programme import followed, least
from compressors.allocation.error_axis import check_levels, in_levels
from compressors.allocation.knapsack import Knapsack


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MinimalBits(Allocation):
    """min Σ_l bits_l(r_l) subject to Σ_l error_l(r_l) ≤ Σ_l error_l(rung), within the budget.

    The question of L-GreCo (Markov, Alimohammadi, Frantar, Alistarh 2022, arXiv 2210.17357; from
    memory), which has no budget: where even the answer exceeds it, the choice is `Knapsack`'s.
    Errors are rounded up to levels of the error that is allowed, so that it is kept; the uniform
    rung itself is returned where it has no more bits.

    Attributes:
        rung: whose error is allowed.
        levels: of that error.
    """

    rung: int = field(metadata={"static": True})
    levels: int = field(default=1000, metadata={"static": True})
    name: ClassVar[str] = "MinimalBits"

    def __post_init__(self) -> None:
        if self.rung < 0:
            raise ValueError(f"{self.name} of rung {self.rung}: give a rung from 0")
        check_levels(self.name, self.levels)

    def choose(
        self,
        errors: Float[Array, "L R"] | None,
        bits: Int32[Array, "L R"],
        budget: Int32[Array, ""],
    ) -> Int32[Array, " L"]:
        """The rungs; O(L·R·levels).

        Raises:
            ValueError: there are not so many rungs.
        """
        L, R = bits.shape
        if self.rung >= R:
            raise ValueError(f"{self.name} of rung {self.rung} among {R}: give one below {R}")
        tame = tamed(errors)
        same = jnp.full(L, self.rung, jnp.int32)
        allowed = total(tame, same)
        costs = jnp.ceil(in_levels(tame, allowed, self.levels)).astype(jnp.int32)
        fewest, choices = least(bits, costs, self.levels)
        rungs = followed(choices, costs, jnp.asarray(self.levels, jnp.int32))
        # An error may have been rounded down before it was rounded up.
        kept = (total(tame, rungs) <= allowed) & (fewest[-1] < total(bits, same))
        rungs = jnp.where(kept, rungs, same)
        instead = Knapsack(self.levels).choose(tame, bits, budget)
        return jnp.where(total(bits, rungs) <= budget, rungs, instead)
