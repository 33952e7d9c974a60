"""Sixteen values for the weights of a group divided by its largest: NF4, AF4, FP4."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from compressors.grids.formats import af4, nf4
from compressors.grids.grid import Grid
from compressors.weights.coding import Coding
from compressors.weights.e2m1 import LARGEST, VALUES, e2m1_codes
from compressors.weights.group_format import GroupFormat, Groups
from compressors.weights.scales import ScaleDtype, safe


CODES = 16


class Quantiles(GroupFormat):
    """A grid in [−1, 1], scaled by the largest |w| of a group as it is stored; abstract: `grid`."""

    @property
    @abc.abstractmethod
    def grid(self) -> Grid:
        """16 numbers from −1 to 1."""

    @property
    def coding(self) -> Coding:
        """Of the places in the grid."""
        return Coding(CODES)

    @property
    def table(self) -> Float32[np.ndarray, "n 1"]:
        """The grid."""
        return self.grid.points.astype(np.float32)

    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """The largest |w| of each group, and the points nearest to multiples of it."""
        scales = jnp.max(jnp.abs(groups), axis=-1).astype(self.scale_dtype)
        return Groups(self.grid.nearest(groups / safe(scales)[..., None]), scales)


@dataclass(frozen=True)
class NF4(Quantiles):
    """NormalFloat of 4 bits: quantiles of a normal variable, with a zero (QLoRA, arXiv 2305.14314).

    The codes are those of bitsandbytes. Scales are floats; bitsandbytes' second quantization of
    them is not made.

    Attributes:
        group: inputs that share a scale; None: a row.
        scale_dtype: of the scales.
    """

    name: ClassVar[str] = "nf4"

    group: int | None = 64
    scale_dtype: ScaleDtype = "float16"

    @property
    def grid(self) -> Grid:
        """`compressors.grids.nf4`."""
        return nf4()


@dataclass(frozen=True)
class AF4(Quantiles):
    """AbnormalFloat of 4 bits: least |error| for groups of 64 (Yoshida 2023, arXiv 2306.06965).

    Attributes:
        group: inputs that share a scale; None: a row. The values are those for 64 in any case.
        scale_dtype: of the scales.
    """

    name: ClassVar[str] = "af4"

    group: int | None = 64
    scale_dtype: ScaleDtype = "float16"

    @property
    def grid(self) -> Grid:
        """`compressors.grids.af4`."""
        return af4()


@dataclass(frozen=True)
class FP4(GroupFormat):
    """Floats of 4 bits, E2M1, with a scale max|w|/6 a group.

    Attributes:
        group: inputs that share a scale; None: a row.
        scale_dtype: of the scales.
    """

    name: ClassVar[str] = "fp4"

    group: int | None = 64
    scale_dtype: ScaleDtype = "float16"

    @property
    def coding(self) -> Coding:
        """Of the bits of E2M1."""
        return Coding(CODES)

    @property
    def table(self) -> Float32[np.ndarray, "n 1"]:
        """The values of E2M1."""
        return VALUES

    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """Scales, and the values of E2M1 nearest in them."""
        most = jnp.max(jnp.abs(groups), axis=-1)
        scales = (most / jnp.float32(LARGEST)).astype(self.scale_dtype)
        return Groups(e2m1_codes(groups / safe(scales)[..., None]), scales)
