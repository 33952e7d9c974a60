"""Products of a few vectors with packed weights."""

from compressors.kernels.dequantize_matmul.operation import DEQUANTIZE_MATMUL as DEQUANTIZE_MATMUL
from compressors.kernels.dequantize_matmul.operation import dequantize_matmul as dequantize_matmul
