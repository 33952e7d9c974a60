"""The transform of one tile, in `jnp` that Pallas lowers: products with small matrices of ±1.

A tile is `ROWS` rows of `width` numbers, consecutive in memory. A block of `size` numbers is
`size`/`width` of its rows, and with H_size = H_rows ⊗ H_width the transform of every block at once
is L·T·R: R = H_width, and L has an H_rows for each block on its diagonal. Nothing is transposed.

Tensor cores multiply bfloat16, in which ±1 is exact; a float32 is the exact sum of three bfloat16,
so that products of such pieces, added in float32, lose nothing. A value that is about to be rounded
to 16 bits needs two. R carries the power of two of 1/√size, so that sums do not overflow.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, BFloat16, Float32


ROWS = 64
NARROWEST = 16
"""The least width that tensor cores take."""

UPPER_HALF = 0xFFFF0000
"""The bits of a float32 that a bfloat16 has."""

PIECES = {"float32": 3, "float16": 2, "bfloat16": 1}
"""How many bfloat16 hold a number exactly: 8 bits of its significand each."""

ROUNDED = {"float32": 3, "float16": 2, "bfloat16": 2}
"""How many hold a sum well enough to be rounded to this dtype."""


def check_dtype(name: str, dtype: np.dtype) -> None:
    """Raises `NotImplementedError` for a dtype that kernels by tiles do not take."""
    if dtype.name not in PIECES:
        raise NotImplementedError(
            f"the kernels of {name} take {', '.join(PIECES)}, not {dtype}: convert, or take the "
            "backend 'xla'"
        )


def width(size: int) -> int:
    """Numbers in a row of the tile: a whole small block, else what makes at most `ROWS` rows."""
    return size if size <= ROWS else max(NARROWEST, size // ROWS)


def left(size: int) -> BFloat16[Array, "4096"]:
    """L, by rows."""
    rows = size // width(size)
    return _bfloat16(np.kron(np.eye(ROWS // rows), _signs(rows)))


def right(size: int) -> BFloat16[Array, " entries"]:
    """R, by rows."""
    return _bfloat16(_signs(width(size)) * 2.0 ** -(_bits(size) // 2))


def load(
    left: Any, right: Any, width: int
) -> tuple[BFloat16[Array, "64 64"], BFloat16[Array, "width width"]]:
    """L and R of their references."""
    return left[:].reshape(ROWS, ROWS), right[:].reshape(width, width)


def transform(
    x: Float32[Array, "64 width"],
    left: BFloat16[Array, "64 64"],
    right: BFloat16[Array, "width width"],
    *,
    size: int,
    given: int,
    needed: int,
) -> Float32[Array, "64 width"]:
    """The normalised transform of the blocks of a tile.

    Args:
        x: the tile.
        left: L.
        right: R.
        size: that of a block.
        given: pieces of bfloat16 that hold an entry of `x` exactly.
        needed: pieces to hold a sum.
    """
    y = _sum([_dot(piece, right) for piece in pieces(x, given)])
    if size > x.shape[1]:
        y = _sum([_dot(left, piece) for piece in pieces(y, needed)])
    return y * np.float32(rest(size)) if rest(size) != 1 else y


def rest(size: int) -> float:
    """What is left of 1/√size beside the power of two in R."""
    return float(np.sqrt(0.5)) if _bits(size) % 2 else 1.0


def pieces(x: Float32[Array, "m n"], count: int) -> list[BFloat16[Array, "m n"]]:
    """bfloat16 that sum to `x`, the largest first; nearly so where their number does not suffice.

    They are cut off by bits, since rounding would overflow near the largest float32.
    """
    parts = []
    for _ in range(count - 1):
        bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(UPPER_HALF)
        piece = jax.lax.bitcast_convert_type(bits, jnp.float32)
        parts.append(piece.astype(jnp.bfloat16))
        x = x - piece
    return [*parts, x.astype(jnp.bfloat16)]


def _bits(size: int) -> int:
    return size.bit_length() - 1


def _signs(size: int) -> np.ndarray:
    index = np.arange(size)
    return 1.0 - 2.0 * (np.bitwise_count(index[:, None] & index[None, :]) % 2)


def _bfloat16(matrix: np.ndarray) -> Any:
    return jnp.asarray(matrix.reshape(-1), jnp.bfloat16)


def _dot(a: BFloat16[Array, "m k"], b: BFloat16[Array, "k n"]) -> Float32[Array, "m n"]:
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def _sum(terms: list[Float32[Array, "m n"]]) -> Float32[Array, "m n"]:
    """The smallest first."""
    total = terms[-1]
    for term in terms[-2::-1]:
        total = total + term
    return total
