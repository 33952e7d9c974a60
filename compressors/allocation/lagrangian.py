"""Lagrangian: one price of a bit for all layers."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32

from compressors.allocation._base import Allocation, better, fits, tamed, total
from compressors.allocation._fill import filled
from compressors.allocation.uniform import Uniform


OCTAVES = 64.0
"""Below the price at which every layer stays on rung 0: there are no others of use."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lagrangian(Allocation):
    """Every layer takes min_r error(r) + λ·bits(r), with the least λ that keeps to the budget.

    The relaxation of the knapsack (Everett 1963; for rates and distortions Shoham and Gersho 1988):
    the choices lie on the lower convex hulls of the layers, and no other choice with as few bits
    has less error. λ is found by bisection on its logarithm; what is left of the budget goes to
    `filled`, and `Uniform` is returned where it has no more error.

    Attributes:
        iterations: halvings of the range of log λ.
    """

    iterations: int = field(default=32, metadata={"static": True})
    name: ClassVar[str] = "Lagrangian"

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"{self.name} with {self.iterations} iterations: give at least 1")

    def choose(
        self,
        errors: Float[Array, "L R"] | None,
        bits: Int32[Array, "L R"],
        budget: Int32[Array, ""],
    ) -> Int32[Array, " L"]:
        """The rungs; O(L·R) a halving and a rise."""
        errors = tamed(errors)
        above = (bits - bits[:, :1]).astype(errors.dtype)
        gain = jnp.maximum(errors[:, :1] - errors, 0)
        steepest = jnp.max(jnp.where(above > 0, gain / jnp.maximum(above, 1), 0))

        def at(octaves: Float[Array, ""]) -> Int32[Array, " L"]:
            price = steepest * jnp.exp2(-octaves)
            return jnp.argmin(price * above - gain, axis=1).astype(jnp.int32)

        def halve(
            _: Int[Array, ""], ends: tuple[Float[Array, ""], Float[Array, ""]]
        ) -> tuple[Array, Array]:
            dear, cheap = ends
            middle = (dear + cheap) / 2
            within = total(bits, at(middle)) <= budget
            return jnp.where(within, middle, dear), jnp.where(within, cheap, middle)

        ends = jnp.zeros_like(steepest), jnp.full_like(steepest, OCTAVES)
        dear, _ = jax.lax.fori_loop(0, self.iterations, halve, ends)
        rungs = at(dear)
        rungs = jnp.where(total(bits, rungs) <= budget, rungs, 0)
        rungs = filled(rungs, errors, bits, budget)
        rungs = better(errors, rungs, Uniform().choose(None, bits, budget))
        return jnp.where(fits(bits, budget), rungs, 0)
