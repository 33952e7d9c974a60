"""FP8: floats of 8 bits, E4M3, with a scale for each output channel."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from compressors.weights.coding import Coding
from compressors.weights.group_format import GroupFormat, Groups
from compressors.weights.scales import ScaleDtype, safe


LARGEST = 448.0
"""Of E4M3."""


@dataclass(frozen=True)
class FP8(GroupFormat):
    """E4M3 (no infinities; the format "float-quantized" of compressed-tensors), scale max|w|/448.

    Codes are the bits of float8_e4m3fn; the two of NaN, 127 and 255, are never made.

    Attributes:
        scale_dtype: of the scales, of which a row has one.
    """

    name: ClassVar[str] = "fp8"

    scale_dtype: ScaleDtype = "float32"

    @property
    def group(self) -> None:
        """A row."""
        return

    @property
    def coding(self) -> Coding:
        """Of bytes."""
        return Coding(256)

    @property
    def table(self) -> Float32[np.ndarray, "n 1"]:
        """The values of E4M3 by their bits, NaN where they are none."""
        return np.arange(256, dtype=np.uint8).view(jnp.float8_e4m3fn).astype(np.float32)[:, None]

    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """Scales, and the values of E4M3 nearest in them, of two equally near the even one."""
        scales = (jnp.max(jnp.abs(groups), axis=-1) / LARGEST).astype(self.scale_dtype)
        units = jnp.clip(groups / safe(scales)[..., None], -LARGEST, LARGEST)
        codes = jax.lax.bitcast_convert_type(units.astype(jnp.float8_e4m3fn), jnp.uint8)
        return Groups(codes, scales)
