"""Operations with a plain `jnp` reference and, where one exists, an accelerator kernel."""

from compressors.kernels.backend import Backend as Backend
from compressors.kernels.backend import chosen as chosen
from compressors.kernels.listing import operations as operations
