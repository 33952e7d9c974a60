"""The normalised Walsh-Hadamard transform, and the random rotation made of it."""

from compressors.kernels.hadamard.reference import hadamard as hadamard
from compressors.kernels.hadamard.reference import padded_size as padded_size
from compressors.kernels.hadamard.reference import rotate as rotate
from compressors.kernels.hadamard.reference import rotate_back as rotate_back
