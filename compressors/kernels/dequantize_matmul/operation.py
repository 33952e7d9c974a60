"""A few vectors times a packed weight matrix, which is never unpacked in memory.

Row o of W has k codes of `bits` bits, packed as `compressors.kernels.pack` packs them, and with g =
k/groups

    W[o, i] = scales[o, i // g]·(value(code[o, i]) − zeros[o, i // g])

where value(c) is c, or table[c]. Products and sums are in float32. A table is rounded to the dtype
of x, since that is what tensor cores multiply.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from compressors.kernels.backend import Backend, Form, Operation
from compressors.kernels.backend import run as run_operation
from compressors.kernels.dequantize_matmul import plain, triton_form
from compressors.kernels.pack import words_of


MOST_BITS = 8


def dequantize_matmul(
    x: Float[Array, "m k"],
    words: UInt32[Array, "out words"],
    scales: Float[Array, "out groups"],
    *,
    bits: int,
    zeros: Float[Array, "out groups"] | None = None,
    table: Float[Array, " points"] | None = None,
    backend: Backend = "auto",
) -> Float[Array, "m out"]:
    """x·Wᵀ in the dtype of x.

    Args:
        x: m vectors; the kernel takes up to 16.
        words: the rows of codes, in the planar layout.
        scales: of the groups of each row, any float dtype.
        bits: of a code, 1 to 8.
        zeros: of the groups, in units of the codes or of the table; 0 by default.
        table: 2^`bits` points; codes stand for themselves by default.
        backend: see `compressors.kernels.backend`.

    Raises:
        ValueError: sizes that do not fit one another.
        NotImplementedError: the backend does not serve this call.
    """
    (m, k), (out, groups) = x.shape, scales.shape
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"weights of {bits} bits are not served: give 1 to {MOST_BITS} bits")
    if words.shape[1] != (expected := words_of(k, bits)):
        raise ValueError(
            f"rows of {k} codes of {bits} bits fill {expected} words, not {words.shape[1]}: give "
            "the bits that the weights were packed with, and x with as many columns as weights"
        )
    if groups == 0 or k % groups:
        raise ValueError(
            f"{groups} groups do not divide rows of {k} weights: give scales [out, groups] with a "
            "number of groups that divides k"
        )
    if table is not None and table.shape[0] != 1 << bits:
        raise ValueError(
            f"a table of {table.shape[0]} points does not serve codes of {bits} bits: give "
            f"{1 << bits} points"
        )
    if 0 in (m, k, out):
        return jnp.zeros((m, out), x.dtype)
    return run_operation(DEQUANTIZE_MATMUL, backend, x, words, scales, zeros, table, bits=bits)


DEQUANTIZE_MATMUL = Operation(
    "dequantize_matmul",
    "up to 16 vectors times a matrix of packed weights of 1 to 8 bits, unpacked in registers",
    {
        "xla": Form(plain.run),
        "triton": Form(triton_form.run, triton_form.check),
        "interpret": Form(partial(triton_form.run, interpret=True), triton_form.check),
    },
)
