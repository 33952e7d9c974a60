"""Compressed models in the files of other tools: written for them, and read from them."""

from dopt.compression.exports.compressed_tensors import (
    export_compressed_tensors as export_compressed_tensors,
)
from dopt.compression.exports.gptq_files import export_gptq as export_gptq
from dopt.compression.exports.read import is_quantized as is_quantized
from dopt.compression.exports.read import read_quantized as read_quantized
