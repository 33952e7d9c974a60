"""The normalised Walsh-Hadamard transform of vectors and of blocks, and rotations made of it."""

from compressors.kernels.hadamard.blocks import HADAMARD as HADAMARD
from compressors.kernels.hadamard.blocks import block_hadamard as block_hadamard
from compressors.kernels.hadamard.blocks import block_hadamard_back as block_hadamard_back
from compressors.kernels.hadamard.reference import hadamard as hadamard
from compressors.kernels.hadamard.reference import padded_size as padded_size
from compressors.kernels.hadamard.reference import rotate as rotate
from compressors.kernels.hadamard.reference import rotate_back as rotate_back
