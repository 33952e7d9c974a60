"""The block transform as a Pallas kernel by the Triton lowering."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from compressors.kernels import triton
from compressors.kernels.hadamard import tile
from compressors.kernels.hadamard.signs import HALF, flip


TILES = 4
"""Tiles that a program does one after the other, with one load of the matrices."""


def check(
    x: Float[Array, "*batch d"], seed: UInt32[Array, ""] | None, *, size: int, back: bool
) -> None:
    """Raises `NotImplementedError` for what the kernel does not take."""
    tile.check_dtype("hadamard", x.dtype)
    triton.check_sizes("hadamard", x)


def run(
    x: Float[Array, "*batch d"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
    back: bool,
    interpret: bool = False,
) -> Float[Array, "*batch d"]:
    """The transform of every block, signs before it or (`back`) after it."""
    d, total, width = x.shape[-1], x.size, tile.width(size)
    each = tile.ROWS * width
    seeds = () if seed is None else (seed.reshape(1),)

    def kernel(x_ref, left_ref, right_ref, *refs):  # type: ignore[no-untyped-def]
        *seed_refs, out_ref = refs
        row = jnp.arange(tile.ROWS, dtype=jnp.int32)[:, None]
        offset = row * width + jnp.arange(width, dtype=jnp.int32)[None, :]
        left, right = tile.load(left_ref, right_ref, width)
        first_tile = triton.program(0) * TILES

        def signed(values: Array, start: Array) -> Array:
            if not seed_refs:
                return values
            place = (start + row * width).astype(jnp.uint32) % jnp.uint32(d)
            return flip(values, seed_refs[0][0], place // HALF)

        def one(i: Array, carry: Array) -> Array:
            start = (first_tile + i) * each
            # The index of what is masked may be beyond 32 bits; that of a start is not.
            mask = offset < total - start
            values = triton.load(x_ref, start + offset, mask).astype(jnp.float32)
            if not back:
                values = signed(values, start)
            values = tile.transform(
                values,
                left,
                right,
                size=size,
                given=tile.PIECES[x.dtype.name],
                needed=tile.ROUNDED[x.dtype.name],
            )
            if back:
                values = signed(values, start)
            triton.store(out_ref, start + offset, values.astype(x.dtype), mask)
            return carry

        jax.lax.fori_loop(jnp.int32(0), jnp.int32(TILES), one, jnp.int32(0))

    arrays = (x.reshape(-1), tile.left(size), tile.right(size), *seeds)
    out = triton.call(
        kernel,
        *arrays,
        out=jax.ShapeDtypeStruct((total,), x.dtype),
        grid=(-(-total // (each * TILES)),),
        interpret=interpret,
        name="hadamard",
    )
    return out.reshape(x.shape)
