"""`quantize_pack` and `unpack_dequantize`: checks, and the choice of a backend."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt32

from compressors.kernels.backend import Backend, Form, Operation, run
from compressors.kernels.hash import Word
from compressors.kernels.pack import words_of
from compressors.kernels.quantize_pack import kernel, mosaic_form, reference
from compressors.kernels.quantize_pack.dither import SHARERS
from compressors.kernels.quantize_pack.grids import Grid
from compressors.kernels.quantize_pack.scales import scales


FLOATS = (jnp.float32, jnp.bfloat16, jnp.float16)

QUANTIZE_PACK = Operation(
    "quantize_pack",
    "floats scaled, rounded, clipped and packed in one pass",
    {
        "xla": Form(reference.quantize_pack),
        "triton": Form(kernel.quantize_pack, kernel.check_quantize),
        "mosaic": Form(mosaic_form.quantize_pack, mosaic_form.check_quantize),
        "interpret": Form(kernel.quantize_interpreted, kernel.check_quantize),
    },
)
UNPACK_DEQUANTIZE = Operation(
    "unpack_dequantize",
    "packed codes to floats in one pass",
    {
        "xla": Form(reference.unpack_dequantize),
        "triton": Form(kernel.unpack_dequantize, kernel.check_dequantize),
        "mosaic": Form(mosaic_form.unpack_dequantize, mosaic_form.check_dequantize),
        "interpret": Form(kernel.dequantize_interpreted, kernel.check_dequantize),
    },
)


def quantize_pack(
    x: Float[Array, "*rows k"],
    grid: Grid,
    scale: Float[Array, "..."],
    *,
    zero: Int32[Array, "..."] | None = None,
    seed: tuple[Word, Word] | None = None,
    group_size: int | None = None,
    backend: Backend = "auto",
) -> UInt32[Array, "*rows words"]:
    """The planar words of the codes of `x` on a grid: scaled, rounded, clipped and packed.

    Args:
        x: float32, bfloat16 or float16.
        grid: `Levels`, `Affine`, `Powers` or `Signs`.
        scale: what the points are multiples of: one for all of `x`, or of shape (*rows, groups),
            which is (*rows, 1) for one a row.
        zero: the zero points of an `Affine` grid, 0 … 2^bits − 1, in the shape of `scale`.
        seed: rounds at random, without bias, by `dither.py`; without a seed to the nearest point.
        group_size: entries of a group in a row, the last group may be shorter; without it, a row.
        backend: what runs it.

    Raises:
        ValueError: a dtype is not served, shapes do not fit, or the grid does not round.
        NotImplementedError: the backend does not serve the call.
    """
    if x.dtype not in FLOATS:
        raise ValueError(f"{x.dtype} is not quantized: give float32, bfloat16 or float16")
    if seed is not None and not grid.random:
        raise ValueError(f"{grid} does not round: leave out the seed")
    rows, k = x.shape[:-1], x.shape[-1]
    if seed is not None and x.size >= SHARERS << 32:
        raise ValueError(f"{x.size} entries exceed the counter of random words: cut the array")
    numbers = scales(grid, rows, k, scale, zero, group_size)
    words = run(QUANTIZE_PACK, backend, _flat(x), grid, numbers, seed)
    return words.reshape(*rows, words.shape[-1])


def unpack_dequantize(
    words: UInt32[Array, "*rows words"],
    grid: Grid,
    scale: Float[Array, "..."],
    k: int,
    *,
    dtype: Any = jnp.float32,
    zero: Int32[Array, "..."] | None = None,
    group_size: int | None = None,
    backend: Backend = "auto",
) -> Float[Array, "*rows k"]:
    """The k numbers of each row of words, with the arguments that they were packed with.

    They are computed in float32 and rounded to `dtype`: float32, bfloat16 or float16.

    Raises:
        ValueError: a dtype is not served, or shapes do not fit.
        NotImplementedError: the backend does not serve the call.
    """
    if dtype not in FLOATS:
        raise ValueError(f"numbers of {dtype} are not made: give float32, bfloat16 or float16")
    rows = words.shape[:-1]
    if words.shape[-1] != words_of(k, grid.bits):
        raise ValueError(
            f"{k} codes of {grid} fill {words_of(k, grid.bits)} words, not {words.shape[-1]}: give "
            "the k and the grid that they were packed with"
        )
    numbers = scales(grid, rows, k, scale, zero, group_size)
    x = run(UNPACK_DEQUANTIZE, backend, _flat(words), grid, numbers, k, jnp.dtype(dtype))
    return x.reshape(*rows, k)


def _flat(array: Array) -> Array:
    """One axis of rows."""
    rows = 1
    for size in array.shape[:-1]:
        rows *= size
    return array.reshape(rows, array.shape[-1])
