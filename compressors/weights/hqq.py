"""Half-quadratic quantization (HQQ).

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023,
https://mobiusml.github.io/hqq_blog. For a group w of weights with the step s, which is not changed:

    1. s = (u − l)/(n − 1),  z = −l/s with u = max(w, 0) and l = min(w, 0)
    2. q = clip(round(w/s + z), 0, n − 1),  e = w − s·(q − z)
    3. stop if the mean of |e| no longer falls, or after 20 rounds
    4. v = sign(e)·max(|e| − |e|^(p−1)/β, 0),  z ← the mean of q − (w − v)/s,  β ← 1.01·β
    5. back to 2

Step 4 minimises ‖v‖_p^p + β/2·‖v − e‖² in v, and the second term in z. p = 0.7, β = 10 at first.

Where this differs: (1) the range holds 0, so that z lies within it; (2) z is rounded to its dtype
in each round, so that the errors in step 3 are those of what is stored; (3) each group stops by
itself, and keeps the best z.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, UInt8

from compressors.weights.coding import Coding
from compressors.weights.group_format import GroupFormat, Groups, Zeros
from compressors.weights.integers import FEWEST, MOST
from compressors.weights.scales import ScaleDtype, safe


ROUNDS = 20
P = 0.7
BETA = 10.0
GROWTH = 1.01


class State(NamedTuple):
    """Of the groups between rounds."""

    zeros: Float[Array, "rows groups"]
    best: Float[Array, "rows groups"]
    error: Float32[Array, "rows groups"]
    falling: Bool[Array, "rows groups"]
    beta: Float32[Array, ""]


@dataclass(frozen=True)
class HQQ(GroupFormat):
    """Integers from 0 with zeros that are floats, found so that large errors count less.

    Data-free. The errors are powers of |e| in the units of W, as in the method's own code, so that
    scaling W is not the same as scaling Ŵ.

    Attributes:
        bits: of a weight, from 2 to 8.
        group: inputs that share a step and a zero; None: a row.
        scale_dtype: of steps and zeros.

    Raises:
        ValueError: other bits.
    """

    name: ClassVar[str] = "hqq"

    bits: int = 4
    group: int | None = 64
    scale_dtype: ScaleDtype = "float16"

    def __post_init__(self) -> None:
        if not FEWEST <= self.bits <= MOST:
            raise ValueError(f"HQQ of {self.bits} bits: give from {FEWEST} to {MOST}")

    @property
    def coding(self) -> Coding:
        """Of the integers."""
        return Coding(1 << self.bits)

    @property
    def zeros(self) -> Zeros:
        """As many as steps."""
        return "floats"

    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """Steps from the ranges, zeros by the rounds, and the integers nearest in them."""
        low = jnp.min(groups, axis=-1, initial=0.0)
        high = jnp.max(groups, axis=-1, initial=0.0)
        scales = ((high - low) / jnp.float32(self.coding.n - 1)).astype(self.scale_dtype)
        units = groups / safe(scales)[..., None]
        zeros = self._best_zeros(
            units, safe(scales), (-low / safe(scales)).astype(self.scale_dtype)
        )
        return Groups(self._codes(units, zeros), scales, zeros)

    def _best_zeros(
        self,
        units: Float32[Array, "rows groups g"],
        scales: Float32[Array, "rows groups"],
        zeros: Float[Array, "rows groups"],
    ) -> Float[Array, "rows groups"]:
        def one_round(_: Array, state: State) -> State:
            codes = self._codes(units, state.zeros).astype(jnp.float32)
            fractions = units - (codes - state.zeros.astype(jnp.float32)[..., None])
            errors = fractions * scales[..., None]
            error = jnp.mean(jnp.abs(errors), axis=-1)
            falling = state.falling & (error < state.error)
            kept = _shrunk(errors, state.beta) / scales[..., None]
            means = jnp.mean(codes - (units - kept), axis=-1).astype(self.scale_dtype)
            return State(
                jnp.where(falling, means, state.zeros),
                jnp.where(falling, state.zeros, state.best),
                jnp.where(falling, error, state.error),
                falling,
                state.beta * jnp.float32(GROWTH),
            )

        endless = jnp.full(scales.shape, jnp.inf, jnp.float32)
        start = State(zeros, zeros, endless, jnp.ones(scales.shape, bool), jnp.float32(BETA))
        return jax.lax.fori_loop(jnp.int32(0), jnp.int32(ROUNDS + 1), one_round, start).best

    def _codes(
        self, units: Float32[Array, "rows groups g"], zeros: Float[Array, "rows groups"]
    ) -> UInt8[Array, "rows groups g"]:
        shifted = jnp.round(units + zeros.astype(jnp.float32)[..., None])
        return jnp.clip(shifted, 0, self.coding.n - 1).astype(jnp.uint8)


def _shrunk(
    errors: Float32[Array, "rows groups g"], beta: Float32[Array, ""]
) -> Float32[Array, "rows groups g"]:
    """What is left of errors, sign(e)·max(|e| − |e|^(p−1)/β, 0)."""
    sizes = jnp.abs(errors)
    return jnp.sign(errors) * jnp.maximum(sizes - sizes ** jnp.float32(P - 1) / beta, 0)
