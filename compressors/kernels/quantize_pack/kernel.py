"""Quantize and pack, unpack and dequantize by a Pallas kernel: each array is read or written once.

The rows are cut into lanes as for packing (`pack/kernel.py`), with a number in the place of a byte:
a program reads blocks of (words, 4) neighbours, one of each lane, makes four codes a word, and ors
the words of the lanes together. The four neighbours share one hash.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt32

from compressors.kernels import triton
from compressors.kernels.hash import Word, schedule, scramble
from compressors.kernels.pack.kernel import check_width, join, plan, split
from compressors.kernels.pack.layout import words_of
from compressors.kernels.quantize_pack import reference
from compressors.kernels.quantize_pack.dither import OWN, SHARERS, turned
from compressors.kernels.quantize_pack.grids import HALF, Grid
from compressors.kernels.quantize_pack.scales import Scales


BLOCK = 256
"""Words of a lane that a program handles: 1024 numbers of each lane."""


def check_quantize(
    x: Float[Array, "rows k"], grid: Grid, scales: Scales, seed: tuple[Word, Word] | None
) -> None:
    """Raises `NotImplementedError` where the kernel does not serve."""
    check_width("quantize_pack", grid.bits, x.shape[1], "planar")
    triton.check_sizes("quantize_pack", x, scales.values)


def check_dequantize(
    words: UInt32[Array, "rows words"], grid: Grid, scales: Scales, k: int, dtype: Any
) -> None:
    """Raises `NotImplementedError` where the kernel does not serve."""
    check_width("unpack_dequantize", grid.bits, k, "planar")
    out = jax.ShapeDtypeStruct((words.shape[0], k), dtype)
    triton.check_sizes("unpack_dequantize", words, out, scales.values)


def quantize_pack(
    x: Float[Array, "rows k"],
    grid: Grid,
    scales: Scales,
    seed: tuple[Word, Word] | None,
    *,
    interpret: bool = False,
) -> UInt32[Array, "rows words"]:
    """The words of the codes of each row."""
    rows, k = x.shape
    if x.size == 0:
        return reference.quantize_pack(x, grid, scales, seed)
    p, out_size, fours = plan(k, grid.bits), words_of(k, grid.bits), -(-k // SHARERS)
    keys = jnp.zeros(2, jnp.uint32) if seed is None else jnp.stack(schedule(seed))
    number, blocks = reader(scales, k), -(-p.length // BLOCK)

    def kernel(x_ref: Any, inverse_ref: Any, zero_ref: Any, keys_ref: Any, out_ref: Any) -> None:
        block, row = triton.place(blocks)
        w, lanes = words_of_block(block), []
        for e in range(p.number):
            column, inside = neighbours(e * p.length + w, w < p.length, k)
            values = triton.load(x_ref, row * k + column, inside).astype(jnp.float32)
            inverse = number(inverse_ref, row, column, inside)
            zero = number(zero_ref, row, column, inside)
            if seed is None:
                word: Any = jnp.full((BLOCK, SHARERS), HALF, jnp.uint32)
            else:
                index = (row * fours + e * p.length + w).astype(jnp.uint32)
                hashed = scramble((keys_ref[0], keys_ref[1]), index)
                word = turned(four_times(hashed), lane_of((BLOCK, SHARERS)))
            code = jnp.where(inside, grid.encode(values, inverse, zero, word), jnp.uint32(0))
            shifted = code << (OWN * lane_of((BLOCK, SHARERS)))
            lanes.append(jnp.sum(shifted, axis=1, dtype=jnp.uint32))
        for part in p.parts:
            at = row * out_size + part.part * p.length + w
            triton.store(out_ref, at, join(lanes, part), w < p.length)

    return triton.call(
        kernel,
        x.reshape(-1),
        scales.inverses.reshape(-1),
        scales.zeros.reshape(-1),
        keys,
        out=jax.ShapeDtypeStruct((rows * out_size,), jnp.uint32),
        grid=(rows * blocks,),
        interpret=interpret,
        name="quantize_pack",
    ).reshape(rows, out_size)


def unpack_dequantize(
    words: UInt32[Array, "rows words"],
    grid: Grid,
    scales: Scales,
    k: int,
    dtype: Any,
    *,
    interpret: bool = False,
) -> Float[Array, "rows k"]:
    """The numbers of each row."""
    rows, in_size = words.shape
    if words.size == 0:
        return reference.unpack_dequantize(words, grid, scales, k, dtype)
    p, number = plan(k, grid.bits), reader(scales, k)
    blocks = -(-p.length // BLOCK)

    def kernel(words_ref: Any, scale_ref: Any, zero_ref: Any, out_ref: Any) -> None:
        block, row = triton.place(blocks)
        w = words_of_block(block)
        parts = [
            triton.load(words_ref, row * in_size + part.part * p.length + w, w < p.length)
            for part in p.parts
        ]
        for e in range(p.number):
            column, inside = neighbours(e * p.length + w, w < p.length, k)
            scale = number(scale_ref, row, column, inside)
            zero = number(zero_ref, row, column, inside)
            values = grid.decode(codes_of(split(parts, e, p.parts)), scale, zero)
            triton.store(out_ref, row * k + column, values.astype(dtype), inside)

    return triton.call(
        kernel,
        words.reshape(-1),
        scales.values.reshape(-1),
        scales.zeros.reshape(-1),
        out=jax.ShapeDtypeStruct((rows * k,), dtype),
        grid=(rows * blocks,),
        interpret=interpret,
        name="unpack_dequantize",
    ).reshape(rows, k)


quantize_interpreted = functools.partial(quantize_pack, interpret=True)
dequantize_interpreted = functools.partial(unpack_dequantize, interpret=True)


def words_of_block(block: Int32[Array, ""]) -> Int32[Array, " block"]:
    """Which words of a lane the program of a block handles."""
    return block * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)


def neighbours(word: Int32[Array, " block"], some: Array, k: int) -> tuple[Array, Array]:
    """The columns of the four numbers of each word, and which of them the row has."""
    column = four_times(SHARERS * word) + lane_of((word.shape[0], SHARERS)).astype(jnp.int32)
    return column, four_times(some) & (column < k)


def codes_of(word: UInt32[Array, " block"]) -> UInt32[Array, "block four"]:
    """The four codes of a word."""
    return (four_times(word) >> (OWN * lane_of((word.shape[0], SHARERS)))) & jnp.uint32(255)


def lane_of(shape: tuple[int, int]) -> UInt32[Array, "block four"]:
    """0, 1, 2, 3 in each row."""
    return jax.lax.broadcasted_iota(jnp.uint32, shape, 1)


def four_times(word: Array) -> Array:
    """Every entry in a row of four."""
    return jax.lax.broadcast_in_dim(word, (word.shape[0], SHARERS), (0,))


def reader(scales: Scales, k: int) -> Callable[..., Any]:
    """Reads the number of a group where there are groups, else the one there is."""
    if scales.values.size == 1:
        return lambda ref, row, column, inside: ref[0]
    groups = scales.values.shape[1]
    if groups == 1:
        return lambda ref, row, column, inside: ref[row]

    def read(ref: Any, row: Array, column: Array, inside: Array) -> Array:
        group = jax.lax.div(column, jnp.full_like(column, scales.group))
        return triton.load(ref, row * groups + group, inside)

    return read
