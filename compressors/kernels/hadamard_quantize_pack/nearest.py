"""The nearest of n ≤ 256 points of a grid in one or two dimensions, in `jnp` that kernels use too.

In one dimension the cells of the sorted points end halfway between neighbours, and a number exactly
halfway belongs to the smaller point. In two, point c is nearest to z where ⟨z, c⟩ − ‖c‖²/2 is
largest, computed in float32; of equal points the first wins. NaN gets the smallest point, or the
first.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt32


MOST_COMPARED = 64
"""Up to so many cells, comparing with every end is faster than a binary search."""


class Cells(NamedTuple):
    """A grid prepared for the search: arrays of numbers and of codes.

    In one dimension: the ends of cells, ascending, infinite from n − 1 to a power of two, and the
    code of every cell. In two: x, y and ‖c‖²/2 of every point, and their codes 0 … n − 1.
    """

    numbers: Float32[Array, " m"]
    codes: UInt32[Array, " n"]


def cells(grid: Float32[Array, "n p"]) -> Cells:
    """Prepares a grid."""
    n, p = grid.shape
    if p == 2:
        numbers = jnp.concatenate([grid, jnp.sum(grid**2, axis=1, keepdims=True) / 2], axis=1)
        return Cells(numbers.reshape(-1), jnp.arange(n, dtype=jnp.uint32))
    order = jnp.argsort(grid[:, 0], stable=True)
    points = grid[order, 0]
    ends = (points[1:] + points[:-1]) / 2
    spare = (1 << code_bits(n)) - n
    return Cells(
        jnp.concatenate([ends, jnp.full(spare, jnp.inf, jnp.float32)]),
        jnp.pad(order.astype(jnp.uint32), (0, spare), mode="edge"),
    )


def code_bits(n: int) -> int:
    """ceil(log2 n): the bits of a code."""
    return (n - 1).bit_length()


def nearest_number(
    z: Float32[Array, "*S"], ends: Any, codes: Any, *, look_up: Callable[[Any, Array], Array]
) -> UInt32[Array, "*S"]:
    """The codes of numbers.

    Args:
        z: the numbers.
        ends: of cells, and
        codes: of cells, as in `Cells`; in a kernel references.
        look_up: gives the entries of such an array at an index.
    """
    count = codes.shape[0]
    if count <= MOST_COMPARED:
        code = jnp.full(z.shape, codes[0])
        for j in range(count - 1):
            # Steps between codes add up to the code of the cell, modulo 2³² in any order.
            code = code + jnp.where(z > ends[j], codes[j + 1] - codes[j], jnp.uint32(0))
        return code
    cell = jnp.zeros(z.shape, jnp.int32)
    step = count >> 1
    while step:
        cell = cell + jnp.where(z > look_up(ends, cell + (step - 1)), step, 0)
        step >>= 1
    return look_up(codes, cell)


def nearest_pair(
    a: Float32[Array, "*S"], b: Float32[Array, "*S"], numbers: Any, n: int
) -> UInt32[Array, "*S"]:
    """The codes of the points (a, b), with `numbers` as in `Cells`."""
    found = _nothing(a)
    for j in range(n):
        found = _closer(found, jnp.uint32(j), a, b, numbers, 3 * j)
    return found[0]


def nearest_pair_by_loop(
    a: Float32[Array, "*S"], b: Float32[Array, "*S"], numbers: Any, n: int
) -> UInt32[Array, "*S"]:
    """The same in a kernel: a loop, where XLA on a CPU is faster without one."""

    def step(j: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        return _closer(found, j.astype(jnp.uint32), a, b, numbers, 3 * j)

    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(n), step, _nothing(a))[0]


def _nothing(a: Float32[Array, "*S"]) -> tuple[UInt32[Array, "*S"], Float32[Array, "*S"]]:
    return jnp.zeros(a.shape, jnp.uint32), jnp.full(a.shape, -jnp.inf, jnp.float32)


def _closer(
    found: tuple[UInt32[Array, "*S"], Float32[Array, "*S"]],
    code: UInt32[Array, ""],
    a: Float32[Array, "*S"],
    b: Float32[Array, "*S"],
    numbers: Any,
    at: Any,
) -> tuple[UInt32[Array, "*S"], Float32[Array, "*S"]]:
    """The codes and scores, with the point whose numbers begin `at` where it is nearer."""
    score = a * numbers[at] + b * numbers[at + 1] - numbers[at + 2]
    return jnp.where(score > found[1], code, found[0]), jnp.maximum(score, found[1])
