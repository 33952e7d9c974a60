"""Knapsack: the rungs of least total error under the budget, as Kimad+ chooses them."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from compressors.allocation._base import Allocation, better, fits, tamed
from compressors.allocation._fill import filled
from compressors.allocation._programme import followed, least
from compressors.allocation.uniform import Uniform


MOST_STEPS = 1 << 15


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Knapsack(Allocation):
    """min Σ_l error_l(r_l) subject to Σ_l bits_l(r_l) ≤ budget, by dynamic programming.

    Kimad+ (arXiv 2312.08053) with the axis of the budget discretised: what a rung costs above rung
    0 is rounded up to units of (budget − Σ_l bits_l(0))/steps, at least one bit, in exact integer
    arithmetic, so that the budget is never exceeded, rung 0 costs nothing, and the programme is
    exact for the rounded costs. L layers leave up to L units in this way: they are spent by
    `filled`, and `Uniform` is returned where it has no more error.

    Attributes:
        steps: units of the budget beyond rung 0.
    """

    steps: int = field(default=1000, metadata={"static": True})
    name: ClassVar[str] = "Knapsack"

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(
                f"{self.name} with steps = {self.steps}: give from 1 to {MOST_STEPS} units"
            )

    def choose(
        self,
        errors: Float[Array, "L R"] | None,
        bits: Int32[Array, "L R"],
        budget: Int32[Array, ""],
    ) -> Int32[Array, " L"]:
        """The rungs; O(L·R·steps)."""
        errors = tamed(errors)
        costs, whole = units(bits, budget, self.steps)
        _, choices = least(errors, costs, self.steps)
        rungs = followed(choices, costs, whole)
        rungs = filled(rungs, errors, bits, budget)
        rungs = better(errors, rungs, Uniform().choose(None, bits, budget))
        return jnp.where(fits(bits, budget), rungs, 0)


def units(
    bits: Int32[Array, "L R"], budget: Int32[Array, ""], steps: int
) -> tuple[Int32[Array, "L R"], Int32[Array, ""]]:
    """What rungs cost above rung 0, in units rounded up, and the units that there are.

    These are ⌈steps·(bits_l(r) − bits_l(0))/slack⌉ of `steps`, with slack = budget − Σ_l bits_l(0),
    and single bits where the slack has fewer than steps. A cost above the slack is steps + 1. The
    product has more than 32 bits: it is divided as it is built, bit by bit of `steps`.
    """
    slack = jnp.maximum(budget - bits[:, 0].sum(dtype=jnp.int32), 0)
    above = bits - bits[:, :1]
    by = jnp.maximum(slack, steps).astype(jnp.uint32)
    part = jnp.clip(above, 0, slack).astype(jnp.uint32)
    quotient = rest = jnp.zeros_like(part)
    for bit in f"{steps:b}":
        quotient, rest = 2 * quotient, 2 * rest
        for term in (0, part) if bit == "1" else (0,):
            rest = rest + term
            carry = rest >= by
            quotient = quotient + carry.astype(jnp.uint32)
            rest = jnp.where(carry, rest - by, rest)
    cost = quotient + (rest > 0).astype(jnp.uint32)
    costs = jnp.where(above > slack, steps + 1, cost.astype(jnp.int32))
    return costs, jnp.minimum(slack, steps)
