"""The mean of packed messages in plain `jnp`: what runs on a CPU."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt32

from compressors.kernels.pack import reference as packing
from compressors.kernels.quantize_pack.grids import Grid
from compressors.kernels.quantize_pack.scales import Scales


def reduce_packed(
    words: UInt32[Array, "n words"], grid: Grid, scales: Scales, k: int
) -> Float32[Array, " k"]:
    """The mean, one worker after another: no array of n·k numbers is made."""
    n, counted = words.shape[0], counts(grid, scales)
    zero, scale = scales.spread(scales.zeros, k), scales.spread(scales.values, k)

    def add(i: Array, total: Array) -> Array:
        codes = packing.unpack(words[i][None], grid.bits, k, "planar").astype(jnp.uint32)
        its_zero = zero if counted else zero[i % zero.shape[0]][None]
        if counted:
            return total + grid.count(codes, its_zero)
        return total + grid.decode(codes, scale[i % scale.shape[0]][None], its_zero)

    total = jax.lax.fori_loop(0, n, add, jnp.zeros((1, k), jnp.int32 if counted else jnp.float32))
    return finish(total[0], scales, n, counted)


def counts(grid: Grid, scales: Scales) -> bool:
    """Whether codes can be summed as integers: all share a scale, of which points are multiples."""
    return scales.values.size == 1 and grid.multiples


def finish(total: Array, scales: Scales, n: int, counted: bool) -> Float32[Array, "*S"]:
    """The mean from the sum."""
    if counted:
        return total.astype(jnp.float32) * (scales.values.reshape(()) / n)
    return total / n
