"""Encoder and decoder as Pallas kernels by the Triton lowering, one pass over memory each."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt32

from compressors.kernels import triton
from compressors.kernels.hadamard import tile
from compressors.kernels.hadamard.signs import HALF, flip
from compressors.kernels.hadamard_quantize_pack.nearest import (
    cells,
    code_bits,
    nearest_number,
    nearest_pair_by_loop,
)
from compressors.kernels.hadamard_quantize_pack.plan import Plan
from compressors.kernels.hadamard_quantize_pack.scale import inverse_root, power_below


def check_encode(
    x: Float[Array, "*batch d"],
    grid: Float32[Array, "n p"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
) -> None:
    """Raises `NotImplementedError` for what the encoder does not take."""
    name = "hadamard_quantize_pack"
    tile.check_dtype(name, x.dtype)
    triton.check_sizes(name, x)
    n, p = grid.shape
    Plan(x.shape[-1], size, code_bits(n), p).check(name)


def check_decode(
    words: UInt32[Array, "*batch words"],
    scales: Float[Array, "*batch blocks"],
    grid: Float32[Array, "n p"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
    dtype: np.dtype,
) -> None:
    """Raises `NotImplementedError` for what the decoder does not take."""
    name = "hadamard_unpack_dequantize"
    tile.check_dtype(name, dtype)
    triton.check_sizes(name, jax.ShapeDtypeStruct((scales.size * size,), dtype))
    n, p = grid.shape
    Plan(scales.shape[-1] * size, size, code_bits(n), p).check(name)


def encode(
    x: Float[Array, "*batch d"],
    grid: Float32[Array, "n p"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
    interpret: bool = False,
) -> tuple[UInt32[Array, "*batch words"], Float32[Array, "*batch blocks"]]:
    """The words and scales of every row."""
    n, p = grid.shape
    *batch, d = x.shape
    rows, plan, seeds = x.size // d, Plan(d, size, code_bits(n), p), _seeds(seed)
    shares = plan.shares
    ends, codes_of_cells = cells(grid)

    def kernel(x_ref, left_ref, right_ref, ends_ref, codes_ref, *refs) -> None:  # type: ignore[no-untyped-def]
        *seed_refs, bytes_ref, scales_ref = refs
        row, step = _place(plan)
        left, right = tile.load(left_ref, right_ref, plan.width)
        place, number, byte, block = _offsets(plan)
        found: dict[int, Array] = {}
        for share in range(shares.number):
            first = (share * shares.span + step * plan.tile_codes) * p
            values = x_ref[row * d + first + number].astype(jnp.float32)
            power = power_below(_per_block(jnp.max, jnp.abs(values), plan))
            values = values / _per_row(power, plan)
            mean = _per_block(jnp.sum, values**2, plan) * np.float32(1 / size)
            scales_ref[(row * d + first) // size + block] = power * jnp.sqrt(mean)
            if seed_refs:
                values = flip(values, seed_refs[0][0], (first + place).astype(jnp.uint32) // HALF)
            values = tile.transform(
                values, left, right, size=size, given=tile.PIECES[x.dtype.name], needed=3
            )
            values = values * _per_row(inverse_root(mean), plan)
            if p == 1:
                codes = nearest_number(values, ends_ref, codes_ref, look_up=_look_up)
            else:
                a, b = jnp.unstack(values.reshape(tile.ROWS, -1, 2), axis=2)
                codes = nearest_pair_by_loop(a, b, ends_ref, n)
            for plane in shares.planes:
                start, bit = shares.place(plane, share)
                part = ((codes >> plane.low) & jnp.uint32((1 << plane.width) - 1)) << bit
                found[start] = found[start] | part if start in found else part
        for start, total in found.items():
            at = row * shares.row_bytes + start + step * plan.tile_codes
            bytes_ref[at + byte] = total.astype(jnp.uint8)

    packed, scales = triton.call(
        kernel,
        *(x.reshape(-1), tile.left(size), tile.right(size), ends, codes_of_cells, *seeds),
        out=(
            jax.ShapeDtypeStruct((rows * shares.row_bytes,), jnp.uint8),
            jax.ShapeDtypeStruct((x.size // size,), jnp.float32),
        ),
        grid=(rows * plan.steps,),
        interpret=interpret,
        name="hadamard_quantize_pack",
    )
    words = jax.lax.bitcast_convert_type(packed.reshape(*batch, -1, 4), jnp.uint32)
    return words, scales.reshape(*batch, d // size)


def decode(
    words: UInt32[Array, "*batch words"],
    scales: Float[Array, "*batch blocks"],
    grid: Float32[Array, "n p"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
    dtype: np.dtype,
    interpret: bool = False,
) -> Float[Array, "*batch d"]:
    """The rows that the words and scales stand for."""
    n, p = grid.shape
    *batch, blocks = scales.shape
    d = blocks * size
    rows, plan, seeds = scales.size // blocks, Plan(d, size, code_bits(n), p), _seeds(seed)
    shares = plan.shares

    def kernel(bytes_ref, scales_ref, left_ref, right_ref, grid_ref, *refs) -> None:  # type: ignore[no-untyped-def]
        *seed_refs, out_ref = refs
        row, step = _place(plan)
        left, right = tile.load(left_ref, right_ref, plan.width)
        place, number, byte, block = _offsets(plan)
        loaded: dict[int, Array] = {}
        for share in range(shares.number):
            first = (share * shares.span + step * plan.tile_codes) * p
            codes = jnp.zeros(byte.shape, jnp.int32)
            for plane in shares.planes:
                start, bit = shares.place(plane, share)
                if start not in loaded:
                    at = row * shares.row_bytes + start + step * plan.tile_codes
                    loaded[start] = bytes_ref[at + byte].astype(jnp.int32)
                codes |= ((loaded[start] >> bit) & ((1 << plane.width) - 1)) << plane.low
            if p == 1:
                values = grid_ref[codes]
            else:
                pair = (grid_ref[2 * codes], grid_ref[2 * codes + 1])
                values = jnp.stack(pair, axis=2).reshape(tile.ROWS, plan.width)
            scale = scales_ref[(row * d + first) // size + block].astype(jnp.float32)
            values = tile.transform(
                values * _per_row(scale, plan),
                left,
                right,
                size=size,
                given=3,
                needed=tile.ROUNDED[dtype.name],
            )
            if seed_refs:
                values = flip(values, seed_refs[0][0], (first + place).astype(jnp.uint32) // HALF)
            out_ref[row * d + first + number] = values.astype(dtype)

    data = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
    # Codes that no point has take the last one, rather than what lies behind the grid.
    points = jnp.pad(grid, ((0, (1 << plan.bits) - n), (0, 0)), mode="edge").reshape(-1)
    out = triton.call(
        kernel,
        *(data, scales.reshape(-1), tile.left(size), tile.right(size), points, *seeds),
        out=jax.ShapeDtypeStruct((rows * d,), dtype),
        grid=(rows * plan.steps,),
        interpret=interpret,
        name="hadamard_unpack_dequantize",
    )
    return out.reshape(*batch, d)


def _seeds(seed: UInt32[Array, ""] | None) -> tuple[UInt32[Array, "1"], ...]:
    return () if seed is None else (seed.reshape(1),)


def _look_up(ref: Any, index: Array) -> Array:
    return ref[index]


def _place(plan: Plan) -> tuple[Array, Array]:
    """The row of this program, and its tile in every share."""
    program = triton.program(0)
    return program // plan.steps, program % plan.steps


def _offsets(plan: Plan) -> tuple[Array, Array, Array, Array]:
    """Within a tile: the first number of each row, all numbers, all codes, all blocks."""
    row = jnp.arange(tile.ROWS, dtype=jnp.int32)[:, None]
    place = row * plan.width
    number = place + jnp.arange(plan.width, dtype=jnp.int32)[None, :]
    each = plan.width // plan.p
    code = row * each + jnp.arange(each, dtype=jnp.int32)[None, :]
    return place, number, code, jnp.arange(plan.tile_blocks, dtype=jnp.int32)


def _per_block(
    reduce: Callable[..., Array], values: Float32[Array, "64 width"], plan: Plan
) -> Float32[Array, " blocks"]:
    rows = reduce(values, axis=1)
    if plan.tile_blocks == tile.ROWS:
        return rows
    return reduce(rows.reshape(plan.tile_blocks, -1), axis=1)


def _per_row(values: Float32[Array, " blocks"], plan: Plan) -> Float32[Array, "64 1"]:
    """Each block's number for all of its rows."""
    count = plan.tile_blocks
    wide = jnp.broadcast_to(values[:, None], (count, tile.ROWS // count))
    return wide.reshape(tile.ROWS, 1)
