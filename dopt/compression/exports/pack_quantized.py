"""The scheme "pack-quantized" of compressed-tensors: integers.

A matrix [out, in] of b bits in groups of g inputs is in

    weight_packed      int32 [out, ⌈in·b/32⌉]  the stream of the codes of each row
    weight_scale       float [out, in/g]
    weight_shape       int64 [2]  out and in
    weight_zero_point  int32 [⌈out·b/32⌉, in/g]  the stream of the zeros of each column of groups,
                       where the scheme is not symmetric
    weight_g_idx       int32 [in]  the group of each input, where `actorder` is "group"; the package
                       dropped it in 2026, so that it is read, but not written

Source: the package compressed-tensors (vLLM project), which fixed the layout.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compressors.weights import PackedWeight
from dopt.compression.exports.integers import (
    IntegerMatrix,
    check_integers,
    codes_in,
    groups_in,
    half,
    has_groups_in_turn,
    in_turn,
    integers_of,
    is_symmetric,
    packed,
    stream,
)
from dopt.compression.exports.scheme import FLOATS, Scheme, Tensor
from dopt.errors import DataError, UnsupportedError


WIDTHS = tuple(range(1, 9))


@dataclass(frozen=True)
class PackQuantized(Scheme):
    """Integers of 1 to 8 bits.

    Attributes:
        bits: of a code.
        symmetric: whether all zeros are 2^(bits−1).
        indexed: whether the group of each input is given.
    """

    bits: int
    symmetric: bool
    indexed: bool = False

    def tensors(self, out: int, inputs: int) -> dict[str, Tensor]:
        """Codes, scales and shape; zeros and groups where the scheme has them."""
        groups = groups_in(inputs, self.group)
        found = {
            "weight_packed": Tensor((out, _words(inputs, self.bits)), ("I32",)),
            "weight_scale": Tensor((out, groups), FLOATS),
            "weight_shape": Tensor((2,), ("I64",)),
        }
        if not self.symmetric:
            found["weight_zero_point"] = Tensor((_words(out, self.bits), groups), ("I32",))
        if self.indexed:
            found["weight_g_idx"] = Tensor((inputs,), ("I32",))
        return found

    def write(self, weight: PackedWeight) -> dict[str, np.ndarray]:
        """The tensors of a matrix of integers."""
        matrix = integers_of(weight)
        arrays = {
            "weight_packed": stream(matrix.codes, self.bits),
            "weight_scale": matrix.scales,
            "weight_shape": np.array(weight.shape, np.int64),
        }
        if not self.symmetric:
            arrays["weight_zero_point"] = stream(matrix.zeros.T, self.bits).T
        return arrays

    def read(self, arrays: Mapping[str, np.ndarray], out: int, inputs: int) -> PackedWeight:
        """The matrix; symmetric where all its zeros are in the middle."""
        if tuple(arrays["weight_shape"]) != (out, inputs):
            raise DataError(
                f"weight_shape is {arrays['weight_shape'].tolist()}, not {[out, inputs]}"
            )
        scales = arrays["weight_scale"]
        zeros = np.full(scales.shape, half(self.bits), np.uint8)
        if not self.symmetric:
            zeros = codes_in(arrays["weight_zero_point"].T, self.bits, out).T
        groups = arrays["weight_g_idx"] if self.indexed else in_turn(inputs, scales.shape[1])
        codes = codes_in(arrays["weight_packed"], self.bits, inputs)
        return packed(IntegerMatrix(self.bits, codes, zeros, scales, groups))


def pack_quantized(weight: PackedWeight) -> PackQuantized:
    """The scheme that holds a matrix of integers.

    Raises:
        UnsupportedError: none does; the message says why, and which formats do.
    """
    check_integers(weight, WIDTHS)
    if not has_groups_in_turn(weight):
        raise UnsupportedError(
            "its groups are of inputs in another order (gptq with act_order), which readers of "
            "compressed-tensors dropped; write GPTQ files, or quantize with static groups"
        )
    group = None if weight.group == weight.inputs else weight.group
    return PackQuantized(group, weight.coding.width, is_symmetric(weight))


def _words(k: int, bits: int) -> int:
    return -(-k * bits // 32)
