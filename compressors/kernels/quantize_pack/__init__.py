"""Floats to packed codes and back, in one pass each."""

from compressors.kernels.quantize_pack.api import quantize_pack as quantize_pack
from compressors.kernels.quantize_pack.api import unpack_dequantize as unpack_dequantize
from compressors.kernels.quantize_pack.grids import Affine as Affine
from compressors.kernels.quantize_pack.grids import Grid as Grid
from compressors.kernels.quantize_pack.grids import Levels as Levels
from compressors.kernels.quantize_pack.grids import Powers as Powers
from compressors.kernels.quantize_pack.grids import Signs as Signs
