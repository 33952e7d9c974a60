"""The normalised Walsh-Hadamard transform of blocks, with random signs if wanted.

The last axis is cut into blocks of `size` = 2^k numbers, and each becomes H·b, with H as in
`reference`: symmetric and orthogonal, H·H = I. With a seed it becomes H·diag(s)·b, s the signs of
the places of b in its row (`signs`), which turns any fixed vector into one whose numbers are nearly
normal with high probability.

Computed in float32 where `x` is narrower, and rounded once.
"""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from compressors._dtype import wide
from compressors.kernels.backend import Backend, Form, Operation
from compressors.kernels.backend import run as run_operation
from compressors.kernels.hadamard import mosaic_form, triton_form
from compressors.kernels.hadamard.reference import WINDOW_BITS, padded_size, transform
from compressors.kernels.hadamard.signs import flip, places
from compressors.kernels.windows import by_rows


SMALLEST, LARGEST = 16, 4096


def block_hadamard(
    x: Float[Array, "*batch d"],
    size: int,
    *,
    seed: int | UInt32[Array, ""] | None = None,
    backend: Backend = "auto",
) -> Float[Array, "*batch d"]:
    """H·diag(s)·b for every block b of the last axis.

    Args:
        x: any float dtype.
        size: that of a block, a power of two from 16 to 4096 that divides d.
        seed: of the signs, 0 ≤ seed < 2³²; without one there are none.
        backend: see `compressors.kernels.backend`.

    Raises:
        ValueError: another size, or one that does not divide d.
        NotImplementedError: the backend does not serve this call.
    """
    return _run(x, size, seed, backend, back=False)


def block_hadamard_back(
    z: Float[Array, "*batch d"],
    size: int,
    *,
    seed: int | UInt32[Array, ""] | None = None,
    backend: Backend = "auto",
) -> Float[Array, "*batch d"]:
    """diag(s)·H·b for every block: the inverse of `block_hadamard`, and its transpose."""
    return _run(z, size, seed, backend, back=True)


def check_blocks(d: int, size: int) -> None:
    """Raises `ValueError` unless blocks of `size` numbers can be transformed and fill d."""
    if not SMALLEST <= size <= LARGEST or size != padded_size(size):
        raise ValueError(
            f"blocks of {size} numbers cannot be transformed: give a power of two from {SMALLEST} "
            f"to {LARGEST}"
        )
    if d % size:
        raise ValueError(
            f"blocks of {size} numbers do not fill an axis of {d}: pad it with zeros to "
            f"{-(-d // size) * size}, or give a size that divides it"
        )


def seed_word(seed: int | UInt32[Array, ""] | None) -> UInt32[Array, ""] | None:
    """The seed as an array; `ValueError` for one of more than 32 bits."""
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise ValueError(f"seed = {seed} has more than 32 bits: give 0 to {2**32 - 1}")
    return None if seed is None else jnp.asarray(seed, jnp.uint32)


def plain(
    x: Float[Array, "*batch d"], seed: UInt32[Array, ""] | None, *, size: int, back: bool
) -> Float[Array, "*batch d"]:
    """The transform of every block in plain `jnp`, signs before it or (`back`) after it."""
    blocks = x.reshape(-1, size)
    starts = places(blocks.shape[0], x.shape[-1], size)
    work = partial(rotate_rows, seed=seed, back=back)
    return by_rows(work, (blocks, starts), rows_of_a_window(size)).reshape(x.shape)


def rotate_rows(
    rows: Float[Array, "m p"],
    starts: UInt32[Array, "m 1"],
    *,
    seed: UInt32[Array, ""] | None,
    back: bool,
) -> Float[Array, "m p"]:
    """The transform of rows that are blocks, with the signs from the places `HALF`·starts on."""
    y = rows.astype(wide(rows))
    if seed is not None and not back:
        y = flip(y, seed, starts)
    y = transform(y, scale=1 / np.sqrt(rows.shape[1]).item())
    if seed is not None and back:
        y = flip(y, seed, starts)
    return y.astype(rows.dtype)


def rows_of_a_window(size: int) -> int:
    """Blocks in a window that stays in the cache."""
    return (1 << WINDOW_BITS) // size


HADAMARD = Operation(
    "hadamard",
    "normalised Walsh-Hadamard transform of blocks of 16 to 4096 numbers, signs from a seed",
    {
        "xla": Form(plain),
        "triton": Form(triton_form.run, triton_form.check),
        "mosaic": Form(mosaic_form.run, mosaic_form.check),
        "interpret": Form(partial(triton_form.run, interpret=True), triton_form.check),
    },
)


def _run(
    x: Float[Array, "*batch d"],
    size: int,
    seed: int | UInt32[Array, ""] | None,
    backend: Backend,
    *,
    back: bool,
) -> Float[Array, "*batch d"]:
    check_blocks(x.shape[-1], size)
    if x.size == 0:
        return x
    return run_operation(HADAMARD, backend, x, seed_word(seed), size=size, back=back)
