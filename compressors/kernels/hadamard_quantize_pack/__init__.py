"""Rotate, scale, round to a grid and pack in one pass, and the way back."""

from compressors.kernels.hadamard_quantize_pack.operation import DECODE as DECODE
from compressors.kernels.hadamard_quantize_pack.operation import ENCODE as ENCODE
from compressors.kernels.hadamard_quantize_pack.operation import (
    hadamard_quantize_pack as hadamard_quantize_pack,
)
from compressors.kernels.hadamard_quantize_pack.operation import (
    hadamard_unpack_dequantize as hadamard_unpack_dequantize,
)
