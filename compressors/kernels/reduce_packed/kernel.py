"""The mean of packed messages by a Pallas kernel: each message is read once, the mean written once.

A program keeps the sums of a block of every lane in registers while it goes over the workers.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt32

from compressors.kernels import triton
from compressors.kernels.pack.kernel import check_width, plan, split
from compressors.kernels.quantize_pack.dither import SHARERS
from compressors.kernels.quantize_pack.grids import Grid
from compressors.kernels.quantize_pack.kernel import (
    BLOCK,
    codes_of,
    neighbours,
    reader,
    words_of_block,
)
from compressors.kernels.quantize_pack.scales import Scales
from compressors.kernels.reduce_packed import reference
from compressors.kernels.reduce_packed.reference import counts, finish


def check(words: UInt32[Array, "n words"], grid: Grid, scales: Scales, k: int) -> None:
    """Raises `NotImplementedError` where the kernel does not serve."""
    check_width("reduce_packed", grid.bits, k, "planar")
    triton.check_sizes("reduce_packed", words, jax.ShapeDtypeStruct((k,), jnp.float32))


def reduce_packed(
    words: UInt32[Array, "n words"],
    grid: Grid,
    scales: Scales,
    k: int,
    *,
    interpret: bool = False,
) -> Float32[Array, " k"]:
    """The mean."""
    n, in_size = words.shape
    if words.size == 0:
        return reference.reduce_packed(words, grid, scales, k)
    p, number, counted = plan(k, grid.bits), reader(scales, k), counts(grid, scales)
    kind = jnp.int32 if counted else jnp.float32

    def kernel(words_ref: Any, scale_ref: Any, zero_ref: Any, out_ref: Any) -> None:
        w = words_of_block(triton.program(0))
        places = [neighbours(e * p.length + w, w < p.length, k) for e in range(p.number)]

        def add(i: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
            parts = [
                triton.load(words_ref, i * in_size + part.part * p.length + w, w < p.length)
                for part in p.parts
            ]
            sums = []
            for e, (total, (column, inside)) in enumerate(zip(totals, places, strict=True)):
                codes, zero = (
                    codes_of(split(parts, e, p.parts)),
                    number(zero_ref, i, column, inside),
                )
                if counted:
                    sums.append(total + grid.count(codes, zero))
                else:
                    scale = number(scale_ref, i, column, inside)
                    sums.append(total + grid.decode(codes, scale, zero))
            return tuple(sums)

        start = tuple(jnp.zeros((BLOCK, SHARERS), kind) for _ in places)
        totals = jax.lax.fori_loop(jnp.int32(0), jnp.int32(n), add, start)
        for total, (column, inside) in zip(totals, places, strict=True):
            triton.store(out_ref, column, total, inside)

    total = triton.call(
        kernel,
        words.reshape(-1),
        scales.values.reshape(-1),
        scales.zeros.reshape(-1),
        out=jax.ShapeDtypeStruct((k,), kind),
        grid=(-(-p.length // BLOCK),),
        interpret=interpret,
        name="reduce_packed",
    )
    return finish(total, scales, n, counted)


interpreted = functools.partial(reduce_packed, interpret=True)
