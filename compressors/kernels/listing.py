"""All operations, and what would run here."""

from typing import NamedTuple

from compressors.kernels.backend import preferred
from compressors.kernels.dequantize_matmul import DEQUANTIZE_MATMUL
from compressors.kernels.hadamard import HADAMARD
from compressors.kernels.hadamard_quantize_pack import DECODE, ENCODE
from compressors.kernels.pack.api import PACK, UNPACK
from compressors.kernels.quantize_pack.api import QUANTIZE_PACK, UNPACK_DEQUANTIZE
from compressors.kernels.reduce_packed.api import REDUCE_PACKED


OPERATIONS = (
    PACK,
    UNPACK,
    QUANTIZE_PACK,
    UNPACK_DEQUANTIZE,
    HADAMARD,
    ENCODE,
    DECODE,
    DEQUANTIZE_MATMUL,
    REDUCE_PACKED,
)


class Row(NamedTuple):
    """An operation, the backend that "auto" tries first here, those it has, and one line."""

    operation: str
    here: str
    backends: tuple[str, ...]
    summary: str


def operations() -> list[Row]:
    """A row for each operation."""
    return [
        Row(operation.name, preferred(operation), tuple(operation.forms), operation.summary)
        for operation in OPERATIONS
    ]
