"""The block transform as a Pallas kernel by Mosaic GPU: the products of `tile` by `wgmma`.

A program takes one tile. The tensor memory accelerator brings it to shared memory and back; pieces
of bfloat16 lie there for the products, both operands swizzled alike. Signs are a pass of XLA's own,
before or after it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, UInt32

from compressors.kernels import mosaic
from compressors.kernels.hadamard import tile
from compressors.kernels.hadamard.signs import flip_blocks


SWIZZLE = 128
"""Bytes, at most."""


def check(
    x: Float[Array, "*batch d"], seed: UInt32[Array, ""] | None, *, size: int, back: bool
) -> None:
    """Raises `NotImplementedError` for what the kernel does not take."""
    tile.check_dtype("hadamard", x.dtype)
    if x.size % (whole := tile.ROWS * tile.width(size)):
        raise NotImplementedError(
            f"the Mosaic GPU form of hadamard takes multiples of {whole} numbers in blocks of "
            f"{size}, not {x.size}: pad with zeros, or take the backend 'triton' or 'xla'"
        )


def run(
    x: Float[Array, "*batch d"],
    seed: UInt32[Array, ""] | None,
    *,
    size: int,
    back: bool,
    interpret: bool = False,
) -> Float[Array, "*batch d"]:
    """The transform of every block, signs before it or (`back`) after it."""
    if seed is not None and not back:
        x = flip_blocks(x, seed, size)
    y = _transform(x.reshape(-1, tile.width(size)), size, interpret).reshape(x.shape)
    return flip_blocks(y, seed, size) if seed is not None and back else y


def _transform(
    x: Float[Array, "rows width"], size: int, interpret: bool
) -> Float[Array, "rows width"]:
    lowering, width = mosaic.module(), x.shape[1]
    given, needed = tile.PIECES[x.dtype.name], tile.ROUNDED[x.dtype.name]

    def kernel(
        x_ref: Any,
        left_ref: Any,
        right_ref: Any,
        out_ref: Any,
        left: Any,
        right: Any,
        values: Any,
        pieces: Any,
        arrived: Any,
    ) -> None:
        start = jax.lax.axis_index("tile") * tile.ROWS
        rows = pl.ds(start, tile.ROWS)
        for source, target in ((x_ref.at[rows], values), (right_ref, right), (left_ref, left)):
            lowering.copy_gmem_to_smem(source, target, arrived)
            lowering.barrier_wait(arrived)

        def product(x: Array, count: int, multiply: Callable[[Any, Any], None]) -> Array:
            """The sum of the products of the pieces of `x`, the smallest first."""
            cut = tile.pieces(x, count)

            def sum_up(total: Any) -> Array:
                for k in reversed(range(count)):
                    pieces[k] = cut[k]
                    lowering.commit_smem()
                    multiply(total, pieces.at[k])
                    lowering.wgmma_wait(0)
                return total[...]

            return pl.run_scoped(sum_up, lowering.ACC((tile.ROWS, width), jnp.float32))

        y = lowering.layout_cast(values[...], lowering.Layout.WGMMA).astype(jnp.float32)
        y = product(y, given, lambda total, piece: lowering.wgmma(total, piece, right))
        if size > width:
            y = product(y, needed, lambda total, piece: lowering.wgmma(total, left, piece))
        values[...] = (y * np.float32(tile.rest(size))).astype(x.dtype)
        lowering.commit_smem()
        lowering.copy_smem_to_gmem(values, out_ref.at[rows])
        lowering.wait_smem_to_gmem(0)

    def shared(shape: tuple[int, ...], dtype: Any) -> Any:
        """Shared memory for rows of numbers, cut and swizzled."""
        item = jnp.dtype(dtype).itemsize
        swizzle = min(SWIZZLE, width * item)
        cut = lowering.TilingTransform((8, swizzle // item)), lowering.SwizzleTransform(swizzle)
        return lowering.SMEM(shape, dtype, transforms=cut)

    launch = lowering.kernel(
        kernel,
        out_type=jax.ShapeDtypeStruct(x.shape, x.dtype),
        scratch_types=(
            shared((tile.ROWS, tile.ROWS), jnp.bfloat16),
            shared((width, width), jnp.bfloat16),
            shared((tile.ROWS, width), x.dtype),
            shared((max(given, needed), tile.ROWS, width), jnp.bfloat16),
            lowering.Barrier(),
        ),
        grid=(x.shape[0] // tile.ROWS,),
        grid_names=("tile",),
        **({"interpret": lowering.InterpretGPUParams()} if interpret else {}),
    )
    left, right = tile.left(size), tile.right(size)
    return launch(x, left.reshape(tile.ROWS, tile.ROWS), right.reshape(width, width))
