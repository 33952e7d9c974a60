"""Uniform: the same rung for all layers, as Kimad chooses it."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from compressors.allocation._base import Allocation


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform(Allocation):
    """The largest r with Σ_l bits[l, r] ≤ budget, for all layers: Kimad (arXiv 2312.08053).

    It reads no values, so that a timeline knows the size of every message beforehand.
    """

    name: ClassVar[str] = "Uniform"
    reads_values: ClassVar[bool] = False

    def choose(
        self,
        errors: Float[Array, "L R"] | None,
        bits: Int32[Array, "L R"],
        budget: Int32[Array, ""],
    ) -> Int32[Array, " L"]:
        """The rung, L times."""
        within = bits.sum(axis=0, dtype=jnp.int32) <= budget
        rung = jnp.maximum(within.sum(dtype=jnp.int32) - 1, 0)
        return jnp.broadcast_to(rung, bits.shape[:1])
