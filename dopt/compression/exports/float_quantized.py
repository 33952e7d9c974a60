"""The scheme "float-quantized" of compressed-tensors: FP8 with scales.

A matrix [out, in] in groups of g inputs is in `weight`, float8_e4m3fn [out, in], and in
`weight_scale`, float [out, in/g].

Source: the package compressed-tensors (vLLM project), which fixed the layout; Micikevicius et al.,
"FP8 formats for deep learning", arXiv 2209.05433.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from compressors.weights import Coding, PackedWeight
from dopt.compression.exports.integers import HELD, check_scales, groups_in
from dopt.compression.exports.scheme import FLOATS, Scheme, Tensor
from dopt.errors import DataError, UnsupportedError


@dataclass(frozen=True)
class FloatQuantized(Scheme):
    """FP8 E4M3, whose finite values go to ±448."""

    def tensors(self, out: int, inputs: int) -> dict[str, Tensor]:
        """Numbers and scales."""
        return {
            "weight": Tensor((out, inputs), ("F8_E4M3",)),
            "weight_scale": Tensor((out, groups_in(inputs, self.group)), FLOATS),
        }

    def write(self, weight: PackedWeight) -> dict[str, np.ndarray]:
        """The codes, which are the bits of the numbers, as such numbers."""
        codes = np.asarray(weight.coding.unpack(weight.words, weight.inputs))
        return {
            "weight": codes.astype(np.uint8, copy=False).view(jnp.float8_e4m3fn),
            "weight_scale": np.asarray(weight.scales),
        }

    def read(self, arrays: Mapping[str, np.ndarray], out: int, inputs: int) -> PackedWeight:
        """The matrix, its codes being the bits of the numbers."""
        numbers, coding = arrays["weight"], Coding(256)
        if np.isnan(numbers.astype(np.float32)).any():
            raise DataError("weight holds NaN; fetch the model again")
        words = coding.pack(jnp.asarray(numbers.view(np.uint8)))
        scales, table = jnp.asarray(arrays["weight_scale"]), jnp.asarray(e4m3()[:, None])
        return PackedWeight(words, scales, None, table, None, coding, inputs)


def e4m3() -> Float32[np.ndarray, " 256"]:
    """The value of each byte as float8_e4m3fn; bytes 127 and 255 are NaN."""
    return np.arange(256, dtype=np.uint8).view(jnp.float8_e4m3fn).astype(np.float32)


def float_quantized(weight: PackedWeight) -> FloatQuantized:
    """The scheme that holds a matrix whose codes are the bits of E4M3 numbers.

    Raises:
        UnsupportedError: none does; the message says why, and which formats do.
    """
    check_scales(weight)
    values, finite = np.asarray(weight.table).ravel(), np.isfinite(e4m3())
    if values.shape != finite.shape or not np.array_equal(values[finite], e4m3()[finite]):
        raise UnsupportedError(
            f"its codes stand for {weight.coding.n} values of {weight.coding.p} weights each, "
            f"neither for integers nor for FP8; {HELD}"
        )
    if weight.zeros is not None or weight.order is not None:
        raise UnsupportedError(f"its FP8 numbers have zeros or an order of inputs; {HELD}")
    return FloatQuantized(None if weight.group == weight.inputs else weight.group)
