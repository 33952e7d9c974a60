"""Integer codes of a few bits, packed into 32-bit words and back."""

from compressors.kernels.pack.api import pack as pack
from compressors.kernels.pack.api import unpack as unpack
from compressors.kernels.pack.layout import Layout as Layout
from compressors.kernels.pack.layout import code_dtype as code_dtype
from compressors.kernels.pack.layout import words_of as words_of
