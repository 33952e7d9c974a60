"""MXFP4: E2M1 in groups of 32 with a power of two (OCP Microscaling Formats 1.0, 2023)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Shaped

from compressors.weights.coding import Coding
from compressors.weights.e2m1 import VALUES, e2m1_codes
from compressors.weights.group_format import GroupFormat, Groups


GROUP = 32
LARGEST_EXPONENT = 2
"""Of E2M1: 6 = 1.5·2²."""
BIAS = 127
"""Of float32, and of E8M0."""


@dataclass(frozen=True)
class MXFP4(GroupFormat):
    """Codes of E2M1, 32 inputs of a row to a scale of 8 bits, E8M0: 4.25 bits a weight.

    The rule of the standard: scale = 2^(⌊log2 max|w|⌋ − 2), what is then beyond ±6 becomes ±6, so
    that up to a quarter of the largest weight is cut off. A group of zeros has the scale 1.
    """

    name: ClassVar[str] = "mxfp4"

    @property
    def group(self) -> int:
        """32."""
        return GROUP

    @property
    def scale_dtype(self) -> str:
        """Powers of two, E8M0."""
        return "float8_e8m0fnu"

    @property
    def coding(self) -> Coding:
        """Of the bits of E2M1."""
        return Coding(len(VALUES))

    @property
    def table(self) -> Float32[np.ndarray, "n 1"]:
        """The values of E2M1."""
        return VALUES

    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """Powers of two, and the values of E2M1 nearest in them."""
        scales = _powers(jnp.max(jnp.abs(groups), axis=-1))
        codes = e2m1_codes(groups / scales.astype(jnp.float32)[..., None])
        return Groups(codes, scales)


def _powers(most: Float32[Array, "rows groups"]) -> Shaped[Array, "rows groups"]:
    """2^(⌊log2 most⌋ − 2) in E8M0, whose byte is the biased exponent of float32."""
    exponents = jax.lax.bitcast_convert_type(most, jnp.uint32) >> 23
    lowered = jnp.maximum(exponents, jnp.uint32(LARGEST_EXPONENT + 1)) - LARGEST_EXPONENT
    byte = jnp.where(most > 0, lowered, jnp.uint32(BIAS)).astype(jnp.uint8)
    return jax.lax.bitcast_convert_type(byte, jnp.float8_e8m0fnu)
