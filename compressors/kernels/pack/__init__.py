"""Integer codes of a few bits, packed into 32-bit words and back."""

from compressors.kernels.pack.reference import pack as pack
from compressors.kernels.pack.reference import unpack as unpack
