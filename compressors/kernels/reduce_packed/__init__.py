"""The server's step: the mean of packed messages, without unpacking them to memory."""

from compressors.kernels.reduce_packed.api import reduce_packed as reduce_packed
