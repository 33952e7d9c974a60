"""Quantize and pack, unpack and dequantize, in plain `jnp`: what runs on a CPU."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from compressors.kernels.hash import Word
from compressors.kernels.pack import reference as packing
from compressors.kernels.quantize_pack.dither import words_for
from compressors.kernels.quantize_pack.grids import HALF, Grid
from compressors.kernels.quantize_pack.scales import Scales


def quantize_pack(
    x: Float[Array, "rows k"], grid: Grid, scales: Scales, seed: tuple[Word, Word] | None
) -> UInt32[Array, "rows words"]:
    """The words of the codes of each row."""
    rows, k = x.shape
    word = jnp.full((1, 1), HALF, jnp.uint32) if seed is None else words_for(seed, rows, k)
    inverse, zero = scales.spread(scales.inverses, k), scales.spread(scales.zeros, k)
    codes = grid.encode(x.astype(jnp.float32), inverse, zero, word)
    return packing.pack(codes.astype(jnp.uint8), grid.bits, "planar")


def unpack_dequantize(
    words: UInt32[Array, "rows words"], grid: Grid, scales: Scales, k: int, dtype: Any
) -> Float[Array, "rows k"]:
    """The numbers of each row."""
    codes = packing.unpack(words, grid.bits, k, "planar").astype(jnp.uint32)
    zero, scale = scales.spread(scales.zeros, k), scales.spread(scales.values, k)
    return grid.decode(codes, scale, zero).astype(dtype)
