"""Round-to-nearest (RTN): integers of 2 to 8 bits, a step a group from its largest weights."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Float32

from compressors.weights.clipping import Clipping
from compressors.weights.coding import Coding
from compressors.weights.group_format import GroupFormat, Groups, Zeros
from compressors.weights.integers import Integers
from compressors.weights.scales import ScaleDtype


@dataclass(frozen=True)
class RoundToNearest(GroupFormat):
    """Each weight to the nearest multiple of the step of its group.

    Codes are found with the steps that are stored, as the formats "pack-quantized" and
    "int-quantized" of compressed-tensors, and that of GPTQ, hold them.

    Attributes:
        bits: of a weight, from 2 to 8.
        group: inputs that share a step; None: a row.
        symmetric: integers from −2^(bits−1); else from 0, with a zero of as many bits a group.
        divisor: what the largest |w| of a symmetric group becomes; None: (2^bits − 1)/2.
        clip: a search for the range of least error, or None for the whole range.
        scale_dtype: of the steps.

    Raises:
        ValueError: bits or a divisor that `Integers` does not have.
    """

    name: ClassVar[str] = "rtn"

    bits: int = 4
    group: int | None = None
    symmetric: bool = True
    divisor: float | None = None
    clip: Clipping | None = None
    scale_dtype: ScaleDtype = "float16"

    def __post_init__(self) -> None:
        _ = self.integers

    @property
    def integers(self) -> Integers:
        """Of every group."""
        return Integers(self.bits, self.symmetric, self.divisor, self.clip, self.scale_dtype)

    @property
    def coding(self) -> Coding:
        """Of the integers."""
        return self.integers.coding

    @property
    def zeros(self) -> Zeros:
        """As many bits as a weight has, where integers are asymmetric."""
        return "none" if self.symmetric else "codes"

    @property
    def offset(self) -> int:
        """What the codes of symmetric integers are shifted down by."""
        return self.integers.offset

    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """Steps, and the integers nearest in them."""
        steps = self.integers.steps(groups)
        return Groups(self.integers.codes(groups, steps), steps.scales, steps.zeros)
