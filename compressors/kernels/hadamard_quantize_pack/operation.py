"""The encoder of Hadamard-plus-Gaussian-grid compression, and its decoder.

Of every block x of g numbers of a row:

1. s = ‖x‖/√g, its root mean square;
2. z = H·diag(±1)·x/s, whose numbers are nearly standard normal (`compressors.kernels.hadamard`);
3. each number of z (p = 1) or pair of neighbours (p = 2) becomes the index of the nearest of the n
   points of the grid: ties as in `nearest`;
4. the indices of a row are packed, ceil(log2 n) bits each.

The decoder looks the points up, multiplies by s and turns back. Bits a number: ceil(log2 n)/p and a
scale for g numbers. A block of zeros has s = 0 and comes back as zeros; one with NaN or infinities
comes back without any finite number.

Source: Malinovskii, Panferov, Ilin, Guo, Richtárik, Alistarh, "Pushing the limits of large language
model quantization via the linearity theorem", NAACL 2025 (HIGGS), Algorithm 1 with p ≤ 2.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, UInt32

from compressors.kernels.backend import Backend, Form, Operation
from compressors.kernels.backend import run as run_operation
from compressors.kernels.hadamard.blocks import check_blocks, seed_word
from compressors.kernels.hadamard_quantize_pack import plain, triton_form
from compressors.kernels.hadamard_quantize_pack.nearest import code_bits
from compressors.kernels.pack import words_of


MOST_POINTS = 256
MOST_DIMENSIONS = 2


def hadamard_quantize_pack(
    x: Float[Array, "*batch d"],
    grid: Float[Array, "n p"],
    size: int,
    *,
    seed: int | UInt32[Array, ""] | None = None,
    backend: Backend = "auto",
) -> tuple[UInt32[Array, "*batch words"], Float32[Array, "*batch blocks"]]:
    """The packed codes of every row, and the scales of its blocks.

    Args:
        x: any float dtype; computed in float32.
        grid: n ≤ 256 points in p ≤ 2 dimensions, in any order.
        size: that of a block, a power of two from 16 to 4096 that divides d.
        seed: of the signs, 0 ≤ seed < 2³²; without one there are none.
        backend: see `compressors.kernels.backend`.

    Raises:
        ValueError: another size or grid.
        NotImplementedError: the backend does not serve this call.
    """
    _check(x.shape[-1], size, grid)
    n, p = grid.shape
    if x.size == 0:
        *batch, d = x.shape
        words = words_of(d // p, code_bits(n))
        return jnp.zeros((*batch, words), jnp.uint32), jnp.zeros((*batch, d // size), jnp.float32)
    points = grid.astype(jnp.float32)
    return run_operation(ENCODE, backend, x, points, seed_word(seed), size=size)


def hadamard_unpack_dequantize(
    words: UInt32[Array, "*batch words"],
    scales: Float[Array, "*batch blocks"],
    grid: Float[Array, "n p"],
    size: int,
    *,
    seed: int | UInt32[Array, ""] | None = None,
    dtype: Any = jnp.float32,
    backend: Backend = "auto",
) -> Float[Array, "*batch d"]:
    """The rows of `size` numbers a scale that `hadamard_quantize_pack` made the words of.

    Args:
        words: as packed.
        scales: as made, or rounded to a narrower float dtype.
        grid: the same, as are
        size: and
        seed: those of the encoder.
        dtype: of the result; computed in float32.
        backend: see `compressors.kernels.backend`.

    Raises:
        ValueError: another size or grid, or another number of words than d/p codes fill.
        NotImplementedError: the backend does not serve this call.
    """
    n, p = grid.shape
    d = scales.shape[-1] * size
    _check(d, size, grid)
    if words.shape[-1] != (expected := words_of(d // p, code_bits(n))):
        raise ValueError(
            f"{scales.shape[-1]} scales of blocks of {size} numbers come with {expected} words a "
            f"row, not {words.shape[-1]}: give the size and the grid that the encoder had"
        )
    if scales.size == 0:
        return jnp.zeros((*scales.shape[:-1], d), dtype)
    points = grid.astype(jnp.float32)
    return run_operation(
        DECODE, backend, words, scales, points, seed_word(seed), size=size, dtype=jnp.dtype(dtype)
    )


ENCODE = Operation(
    "hadamard_quantize_pack",
    "rotate blocks, scale by their RMS, round to a grid of up to 256 points, pack",
    {
        "xla": Form(plain.encode),
        "triton": Form(triton_form.encode, triton_form.check_encode),
        "interpret": Form(partial(triton_form.encode, interpret=True), triton_form.check_encode),
    },
)

DECODE = Operation(
    "hadamard_unpack_dequantize",
    "unpack, look up points of a grid, scale, rotate blocks back",
    {
        "xla": Form(plain.decode),
        "triton": Form(triton_form.decode, triton_form.check_decode),
        "interpret": Form(partial(triton_form.decode, interpret=True), triton_form.check_decode),
    },
)


def _check(d: int, size: int, grid: Float[Array, "n p"]) -> None:
    check_blocks(d, size)
    n, p = grid.shape
    if not 2 <= n <= MOST_POINTS or not 1 <= p <= MOST_DIMENSIONS:
        raise ValueError(
            f"a grid of {n} points in {p} dimensions is not served: give 2 to {MOST_POINTS} points "
            f"in 1 or {MOST_DIMENSIONS} dimensions, as an array [n, p]"
        )
