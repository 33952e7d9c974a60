"""Rotate, scale, round to a grid, pack; and back: in plain `jnp`, rotations window by window."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8, UInt32

from compressors.kernels.hadamard.blocks import rotate_rows, rows_of_a_window
from compressors.kernels.hadamard.signs import places
from compressors.kernels.hadamard_quantize_pack.nearest import (
    Cells,
    cells,
    code_bits,
    nearest_number,
    nearest_pair,
)
from compressors.kernels.hadamard_quantize_pack.scale import inverse_root, power_below
from compressors.kernels.pack import pack, unpack
from compressors.kernels.windows import by_rows


def encode(
    x: Float[Array, "*batch d"],
    grid: Float32[Array, "n p"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
) -> tuple[UInt32[Array, "*batch words"], Float32[Array, "*batch blocks"]]:
    """The words and scales of every row."""
    n, p = grid.shape
    *batch, d = x.shape
    blocks = x.reshape(-1, size)
    starts = places(blocks.shape[0], d, size)
    codes, scales = _quantize(blocks, starts, seed=seed, cells=cells(grid), n=n, p=p)
    words = pack(codes.reshape(*batch, d // p), code_bits(n), backend="xla")
    return words, scales.reshape(*batch, d // size)


def decode(
    words: UInt32[Array, "*batch words"],
    scales: Float[Array, "*batch blocks"],
    grid: Float32[Array, "n p"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
    dtype: np.dtype,
) -> Float[Array, "*batch d"]:
    """The rows that the words and scales stand for."""
    n, p = grid.shape
    *batch, blocks = scales.shape
    d = blocks * size
    codes = unpack(words, code_bits(n), d // p, backend="xla").reshape(-1, size // p)
    starts = places(codes.shape[0], d, size)
    work = partial(_dequantize, seed=seed, grid=grid, dtype=dtype)
    columns = scales.reshape(-1, 1).astype(jnp.float32)
    return by_rows(work, (codes, columns, starts), rows_of_a_window(size)).reshape(*batch, d)


def _quantize(
    rows: Float[Array, "m size"],
    starts: UInt32[Array, "m 1"],
    *,
    seed: UInt32[Array, ""] | None,
    cells: Cells,
    n: int,
    p: int,
) -> tuple[UInt8[Array, "m codes"], Float32[Array, "m 1"]]:
    """The codes and the scale of every block."""
    x = rows.astype(jnp.float32)
    power = power_below(jnp.max(jnp.abs(x), axis=1, keepdims=True))
    x = x / power
    mean = jnp.mean(x**2, axis=1, keepdims=True)
    turn = partial(rotate_rows, seed=seed, back=False)
    # Only this in windows: in a loop the search does not vectorise.
    z = by_rows(turn, (x, starts), rows_of_a_window(x.shape[1])) * inverse_root(mean)
    if p == 1:
        codes = nearest_number(z, *cells, look_up=lambda array, index: array[index])
    else:
        pairs = z.reshape(z.shape[0], -1, 2)
        codes = nearest_pair(pairs[:, :, 0], pairs[:, :, 1], cells.numbers, n)
    return codes.astype(jnp.uint8), power * jnp.sqrt(mean)


def _dequantize(
    codes: UInt8[Array, "m codes"],
    scales: Float32[Array, "m 1"],
    starts: UInt32[Array, "m 1"],
    *,
    seed: UInt32[Array, ""] | None,
    grid: Float32[Array, "n p"],
    dtype: np.dtype,
) -> Float[Array, "m size"]:
    """The block of every row of codes."""
    z = grid[codes.astype(jnp.int32)].reshape(codes.shape[0], -1) * scales
    return rotate_rows(z, starts, seed=seed, back=True).astype(dtype)
