"""The planar layout by Mosaic GPU: the lanes of `kernel.py`, a block of 512 words at a time.

It serves rows whose lanes are whole blocks: multiples of 2048·(8/b) codes where b is 1, 2 or 4, of
2048·8 codes for other widths.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, UInt, UInt32

from compressors.kernels import mosaic
from compressors.kernels.pack import reference
from compressors.kernels.pack.kernel import as_words, check_width, join, plan, split
from compressors.kernels.pack.layout import BYTE, Layout, words_of


BLOCK = 512


def check_pack(codes: UInt[Array, "*rows k"], bits: int, layout: Layout) -> None:
    """Raises `NotImplementedError` where this form does not serve."""
    check_lanes("pack", codes.shape[-1], bits, layout)
    mosaic.check_offsets("pack", codes.size)


def check_unpack(words: UInt32[Array, "*rows words"], bits: int, k: int, layout: Layout) -> None:
    """Raises `NotImplementedError` where this form does not serve."""
    check_lanes("unpack", k, bits, layout)
    mosaic.check_offsets("unpack", words.size // max(words.shape[-1], 1) * k)


def check_lanes(name: str, k: int, bits: int, layout: Layout, block: int = BLOCK) -> None:
    """Raises `NotImplementedError` unless the lanes of k codes are whole blocks."""
    check_width(name, bits, k, layout)
    if bits < BYTE:
        p = plan(k, bits)
        mosaic.check_blocks(name, p.length if k == 4 * p.number * p.length else k, block)


def pack(
    codes: UInt[Array, "*rows k"], bits: int, layout: Layout, *, interpret: bool = False
) -> UInt32[Array, "*rows words"]:
    """The words; codes of other dtypes than uint8 are narrowed by XLA beforehand."""
    if bits >= BYTE:
        return reference.pack(codes, bits, layout)
    rows, k = codes.shape[:-1], codes.shape[-1]
    view, p, out_size = (
        as_words(codes.astype(jnp.uint8).reshape(-1, k)),
        plan(k, bits),
        words_of(k, bits),
    )
    count, size = view.shape

    def body(block: Array, row: Array, view_ref: Any, out_ref: Any) -> None:
        start = row * size + block * BLOCK
        lanes = [view_ref[pl.ds(start + e * p.length, BLOCK)] for e in range(p.number)]
        start = row * out_size + block * BLOCK
        for part in p.parts:
            out_ref[pl.ds(start + part.part * p.length, BLOCK)] = join(lanes, part)

    out = jax.ShapeDtypeStruct((count * out_size,), jnp.uint32)
    grid = (p.length // BLOCK, count)
    words = mosaic.call(body, view.reshape(-1), out=out, grid=grid, interpret=interpret)
    return words.reshape(*rows, out_size)


def unpack(
    words: UInt32[Array, "*rows words"],
    bits: int,
    k: int,
    layout: Layout,
    *,
    interpret: bool = False,
) -> UInt[Array, "*rows k"]:
    """The codes, uint8."""
    if bits >= BYTE:
        return reference.unpack(words, bits, k, layout)
    rows, in_size, p, size = words.shape[:-1], words.shape[-1], plan(k, bits), k // 4
    count = words.size // in_size

    def body(block: Array, row: Array, words_ref: Any, out_ref: Any) -> None:
        start = row * in_size + block * BLOCK
        parts = [words_ref[pl.ds(start + part.part * p.length, BLOCK)] for part in p.parts]
        start = row * size + block * BLOCK
        for e in range(p.number):
            out_ref[pl.ds(start + e * p.length, BLOCK)] = split(parts, e, p.parts)

    out = jax.ShapeDtypeStruct((count * size,), jnp.uint32)
    grid = (p.length // BLOCK, count)
    view = mosaic.call(body, words.reshape(-1), out=out, grid=grid, interpret=interpret)
    return jax.lax.bitcast_convert_type(view, jnp.uint8).reshape(*rows, k)


pack_interpreted = functools.partial(pack, interpret=True)
unpack_interpreted = functools.partial(unpack, interpret=True)
