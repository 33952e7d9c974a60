"""Dynamic programming over layers: one rung each, least value, at a cost in whole units."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt


def least(
    values: Float[Array, "L R"] | Int32[Array, "L R"], costs: Int32[Array, "L R"], steps: int
) -> tuple[Float[Array, " places"] | Int32[Array, " places"], UInt[Array, "L places"]]:
    """The least Σ_l values_l(r_l) with Σ_l costs_l(r_l) ≤ s for s = 0 … steps, and how to get it.

    Layer after layer least[s] becomes min_r least[s − costs(r)] + values(r), and the r that attains
    it is stored for `followed`. Where nothing costs so little, or the sum of integers is too large,
    least[s] is the largest number of the dtype. Values and costs are not negative.
    """
    place = jnp.arange(steps + 1, dtype=jnp.int32)
    limit = _most(values.dtype)
    stored = jnp.uint8 if values.shape[1] <= 1 << 8 else jnp.uint16

    def add(least: Array, layer: tuple[Array, Int32[Array, " R"]]) -> tuple[Array, Array]:
        value, cost = layer[0][:, None], layer[1][:, None]
        before = place[None, :] - cost
        earlier = least.at[before].get(mode="clip")
        possible = (before >= 0) & (earlier <= limit - value)
        sums = jnp.where(possible, earlier + value, limit)
        return sums.min(axis=0), sums.argmin(axis=0).astype(stored)

    return jax.lax.scan(add, jnp.zeros(steps + 1, values.dtype), (values, costs))


def followed(
    choices: UInt[Array, "L places"], costs: Int32[Array, "L R"], place: Int32[Array, ""]
) -> Int32[Array, " L"]:
    """The rungs that attain least[place], found from the last layer to the first."""

    def back(
        left: Int32[Array, ""], layer: tuple[UInt[Array, " places"], Int32[Array, " R"]]
    ) -> tuple[Array, Array]:
        choice, cost = layer
        rung = choice[left].astype(jnp.int32)
        return left - cost[rung], rung

    return jax.lax.scan(back, place, (choices, costs), reverse=True)[1]


def _most(dtype: Any) -> Array:
    limits = jnp.iinfo(dtype) if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo(dtype)
    return jnp.asarray(limits.max, dtype)
