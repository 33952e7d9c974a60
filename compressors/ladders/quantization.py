"""Quantization at several widths, down to one bit a coordinate."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int64

from compressors._base import Compressor
from compressors._bitmask import WORD
from compressors._levels import norm_bits
from compressors.identity import Identity
from compressors.kernels.pack import words_of
from compressors.ladders._base import Ladder, dense_bits, smaller
from compressors.ladders.gaussian_grid import GaussianGrid
from compressors.sign import ScaledSign


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QuantizationLadder(Ladder):
    """`ScaledSign` for one bit a coordinate, `GaussianGrid` for more, dense on the top rung.

    All are deterministic and contractive: no unbiased quantizer is, but for a factor that for many
    coordinates leaves next to nothing. Where a width is no smaller than the dense vector, that is
    sent. The errors are measured by compressing, once for each rung.

    Attributes:
        widths: bits of a coordinate, increasing, from 1 to 8.
    """

    widths: tuple[int, ...] = field(default=(1, 2, 3, 4, 6, 8), metadata={"static": True})
    name: ClassVar[str] = "QuantizationLadder"

    def __post_init__(self) -> None:
        if not self.widths or list(self.widths) != sorted(set(self.widths)):
            raise ValueError(
                f"{self.name} has the widths {self.widths}: give at least one, in increasing order"
            )
        for width in self.widths:
            GaussianGrid(width)

    @property
    def rungs(self) -> int:
        """One more than widths."""
        return len(self.widths) + 1

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def member(self, rung: int, d: int, dtype: Any = jnp.float32) -> Compressor:
        """The quantizer, or the identity where that is no larger."""
        if rung == len(self.widths):
            return Identity()
        width = self.widths[rung]
        part = ScaledSign() if width == 1 else GaussianGrid(width)
        return smaller(part, _bits(width, d, dtype), d, dtype)

    def bits(self, d: int, dtype: Any) -> Int64[np.ndarray, " R"]:
        """Words of packed coordinates and a scale, or all values."""
        dense = dense_bits(d, dtype)
        bits = [min(_bits(width, d, dtype), dense) for width in self.widths]
        return np.asarray([*bits, dense], np.int64)


def _bits(width: int, d: int, dtype: Any) -> int:
    return WORD * words_of(d, width) + norm_bits(dtype)
