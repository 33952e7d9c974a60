"""Dynamic programming over layers: one rung each, least value, at a cost in whole units."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32, UInt


def least(
    values: Float[Array, "L R"] | Int32[Array, "L R"], costs: Int32[Array, "L R"], steps: int
) -> tuple[Float[Array, " places"] | Int32[Array, " places"], UInt[Array, "L places"]]:
    """The least Σ_l values_l(r_l) with Σ_l costs_l(r_l) ≤ s for s = 0 … steps, and how to get it.

    Layer after layer least[s] becomes min_r least[s − costs(r)] + values(r), and the first r that
    attains it is stored for `followed`. Where nothing costs so little, or the sum of integers is
    too large, least[s] is the largest number of the dtype. Values are not negative, costs from 0 to
    steps + 1, which none can pay.
    """
    rungs = values.shape[1]
    limit = jnp.full(steps + 1, _most(values.dtype))
    stored = jnp.uint8 if rungs <= 1 << 8 else jnp.uint16

    def add(least: Array, layer: tuple[Array, Int32[Array, " R"]]) -> tuple[Array, Array]:
        value, cost = layer
        # Moved along by its cost a rung reads one slice: a gather takes ten times as long.
        padded = jnp.concatenate([limit, least])

        def lower(rung: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
            best, choice = state
            earlier = jax.lax.dynamic_slice(padded, (steps + 1 - cost[rung],), (steps + 1,))
            possible = earlier <= limit - value[rung]
            below = possible & (earlier + value[rung] < best)
            best = jnp.where(below, earlier + value[rung], best)
            return best, jnp.where(below, rung.astype(stored), choice)

        return jax.lax.fori_loop(0, rungs, lower, (limit, jnp.zeros(steps + 1, stored)))

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
