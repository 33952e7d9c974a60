"""Quantize and pack by Mosaic GPU, and back: blocks of 512 numbers of each lane, byte for byte.

Registers hold one number a thread and step, so that every number computes the hash that it shares
with three neighbours, and words are written and read as their bytes. It serves rows whose lanes are
whole blocks, with one scale or one a row.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, UInt32

from compressors.kernels import mosaic
from compressors.kernels.hash import Word, schedule, scramble
from compressors.kernels.pack.kernel import plan
from compressors.kernels.pack.layout import words_of
from compressors.kernels.pack.mosaic_form import check_lanes
from compressors.kernels.quantize_pack.dither import SHARERS, turned
from compressors.kernels.quantize_pack.grids import HALF, Grid
from compressors.kernels.quantize_pack.scales import Scales


BLOCK = 512


def check_quantize(
    x: Float[Array, "rows k"], grid: Grid, scales: Scales, seed: tuple[Word, Word] | None
) -> None:
    """Raises `NotImplementedError` where this form does not serve."""
    _check("quantize_pack", grid, scales, x.shape[0], x.shape[1])


def check_dequantize(
    words: UInt32[Array, "rows words"], grid: Grid, scales: Scales, k: int, dtype: Any
) -> None:
    """Raises `NotImplementedError` where this form does not serve."""
    _check("unpack_dequantize", grid, scales, words.shape[0], k)


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
    p, size, fours = plan(k, grid.bits), 4 * words_of(k, grid.bits), k // SHARERS
    length, one = 4 * p.length, scales.values.size == 1
    keys = jnp.zeros(2, jnp.uint32) if seed is None else jnp.stack(schedule(seed))

    def body(
        block: Array,
        row: Array,
        x_ref: Any,
        inverses: Any,
        zeros: Any,
        k01: Any,
        table: Any,
        out: Any,
    ) -> None:
        inverse, zero = inverses[0 if one else row], zeros[0 if one else row]
        here = (block * BLOCK).astype(jnp.uint32) + table[...]
        codes = []
        for e in range(p.number):
            values = x_ref[pl.ds(row * k + e * length + block * BLOCK, BLOCK)]
            word = jnp.full((BLOCK,), HALF, jnp.uint32)
            if seed is not None:
                column = here + jnp.uint32(e * length)
                index = (row * fours).astype(jnp.uint32) + (column >> 2)
                word = turned(scramble((k01[0], k01[1]), index), column & jnp.uint32(3))
            codes.append(grid.encode(values.astype(jnp.float32), inverse, zero, word))
        for part in p.parts:
            mask, total = jnp.uint32((1 << part.width) - 1), jnp.zeros((BLOCK,), jnp.uint32)
            for i, e in enumerate(part.lanes):
                total |= ((codes[e] >> part.low) & mask) << (i * part.width)
            start = row * size + part.part * length + block * BLOCK
            out[pl.ds(start, BLOCK)] = total.astype(jnp.uint8)

    data = mosaic.call(
        body,
        x.reshape(-1),
        scales.inverses.reshape(-1),
        scales.zeros.reshape(-1),
        keys,
        jnp.arange(BLOCK, dtype=jnp.uint32),
        out=jax.ShapeDtypeStruct((rows * size,), jnp.uint8),
        grid=(length // BLOCK, rows),
        interpret=interpret,
    )
    return jax.lax.bitcast_convert_type(data.reshape(rows, -1, 4), jnp.uint32)


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
    rows, size = words.shape[0], 4 * words.shape[1]
    p, one = plan(k, grid.bits), scales.values.size == 1
    length = 4 * p.length

    def body(block: Array, row: Array, data: Any, values: Any, zeros: Any, out: Any) -> None:
        scale, zero = values[0 if one else row], zeros[0 if one else row]
        start = row * size + block * BLOCK
        parts = [
            data[pl.ds(start + part.part * length, BLOCK)].astype(jnp.uint32) for part in p.parts
        ]
        for e in range(p.number):
            code = jnp.zeros((BLOCK,), jnp.uint32)
            for byte, part in zip(parts, p.parts, strict=True):
                if e in part.lanes:
                    shift = part.lanes.index(e) * part.width
                    code |= ((byte >> shift) & jnp.uint32((1 << part.width) - 1)) << part.low
            numbers = grid.decode(code, scale, zero).astype(dtype)
            out[pl.ds(row * k + e * length + block * BLOCK, BLOCK)] = numbers

    return mosaic.call(
        body,
        jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1),
        scales.values.reshape(-1),
        scales.zeros.reshape(-1),
        out=jax.ShapeDtypeStruct((rows * k,), dtype),
        grid=(length // BLOCK, rows),
        interpret=interpret,
    ).reshape(rows, k)


quantize_interpreted = functools.partial(quantize_pack, interpret=True)
dequantize_interpreted = functools.partial(unpack_dequantize, interpret=True)


def _check(name: str, grid: Grid, scales: Scales, rows: int, k: int) -> None:
    if grid.bits == 8:
        mosaic.check_blocks(name, k, BLOCK)
    check_lanes(name, k, grid.bits, "planar", BLOCK // 4)
    mosaic.check_offsets(name, rows * k)
    if scales.values.size > 1 and scales.values.shape[1] > 1:
        raise NotImplementedError(
            f"the Mosaic GPU form of {name} takes one scale, or one a row, not "
            f"{scales.values.shape[1]} a row: take the backend 'triton' or 'xla'"
        )
