"""Integers of a group: a step and, where they are asymmetric, the integer that stands for zero."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, UInt, UInt8

from compressors.kernels.pack import code_dtype
from compressors.weights.clipping import Clipping
from compressors.weights.coding import Coding
from compressors.weights.scales import ScaleDtype, safe


FEWEST, MOST = 2, 8


class Steps(NamedTuple):
    """Of groups: step·(code − zero) is a weight."""

    scales: Float[Array, "rows groups"]
    zeros: UInt8[Array, "rows groups"] | None


@dataclass(frozen=True)
class Integers:
    """Integers of 2 to 8 bits, n = 2^bits.

    Symmetric: codes less n/2, step = max|w|/divisor. Asymmetric: step = (u − l)/(n − 1) with
    u = max(w, 0) and l = min(w, 0), zero = round(−l/step).

    Attributes:
        bits: of a weight.
        symmetric: whether there are no zeros.
        divisor: what the largest |w| of a symmetric group becomes; None: (n − 1)/2, so that the
            n integers fill the range (compressed-tensors). n/2 − 1 keeps the largest |w| exactly.
        clip: the search for a smaller range, or None.
        scale_dtype: of the steps.

    Raises:
        ValueError: other bits, a divisor that is not positive, or one of asymmetric integers.
    """

    bits: int
    symmetric: bool
    divisor: float | None
    clip: Clipping | None
    scale_dtype: ScaleDtype

    def __post_init__(self) -> None:
        if not FEWEST <= self.bits <= MOST:
            raise ValueError(f"integers of {self.bits} bits: give from {FEWEST} to {MOST}")
        if self.divisor is not None and not (self.symmetric and self.divisor > 0):
            raise ValueError(
                f"integers with symmetric={self.symmetric} divided by {self.divisor}: only "
                "symmetric ones have a divisor, a positive one"
            )

    @property
    def n(self) -> int:
        """2^bits."""
        return 1 << self.bits

    @property
    def coding(self) -> Coding:
        """Of the codes."""
        return Coding(self.n)

    @property
    def offset(self) -> int:
        """The code of 0 where it is the same in all groups, else 0."""
        return self.n // 2 if self.symmetric else 0

    def steps(self, groups: Float32[Array, "rows groups g"]) -> Steps:
        """The step and zero of each group, in the least range where there is a search."""
        shares = jnp.ones(groups.shape[:-1], jnp.float32)
        if self.clip is None:
            return self._within(groups, shares)

        def rounded(shares: Array) -> Array:
            steps = self._within(groups, shares)
            return self.values(self.codes(groups, steps), steps)

        return self._within(groups, self.clip.shares(groups, rounded))

    def codes(
        self, groups: Float32[Array, "rows groups g"], steps: Steps
    ) -> UInt[Array, "rows groups g"]:
        """The integers nearest to weights, of those halfway the even one, then cut to the range."""
        units = jnp.round(groups / safe(steps.scales)[..., None]) + self._zeros(steps)
        return jnp.clip(units, 0, self.n - 1).astype(code_dtype(self.bits))

    def values(
        self, codes: UInt[Array, "rows groups g"], steps: Steps
    ) -> Float32[Array, "rows groups g"]:
        """The weights that codes stand for."""
        scales = steps.scales.astype(jnp.float32)[..., None]
        return (codes.astype(jnp.float32) - self._zeros(steps)) * scales

    def _within(
        self, groups: Float32[Array, "rows groups g"], shares: Float32[Array, "rows groups"]
    ) -> Steps:
        if self.symmetric:
            divisor = (self.n - 1) / 2 if self.divisor is None else self.divisor
            most = jnp.max(jnp.abs(groups), axis=-1) * shares
            return Steps((most / jnp.float32(divisor)).astype(self.scale_dtype), None)
        low = jnp.min(groups, axis=-1, initial=0.0) * shares
        high = jnp.max(groups, axis=-1, initial=0.0) * shares
        scales = ((high - low) / jnp.float32(self.n - 1)).astype(self.scale_dtype)
        zeros = jnp.clip(jnp.round(-low / safe(scales)), 0, self.n - 1)
        return Steps(scales, zeros.astype(jnp.uint8))

    def _zeros(self, steps: Steps) -> Float32[Array, "#rows #groups 1"]:
        if steps.zeros is None:
            return jnp.full((1, 1, 1), self.offset, jnp.float32)
        return steps.zeros.astype(jnp.float32)[..., None]
