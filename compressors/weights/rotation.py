"""Rotations of groups of any even size: a Fourier matrix across blocks, Hadamard within them.

A group of g = m·q numbers, q the largest power of two in g, is m blocks of q. With v_k the vector
of q/2 complex numbers whose parts are the halves of block k, it is turned by

    1. signs of the places of a row, from a seed, if there is one
    2. v ← conj(F·v), F[j, k] = exp(2πijk/m)/√m, where m > 1
    3. b ← H_q·b for each block b, H_q the normalised Walsh-Hadamard matrix

all of which is orthogonal. So 576 = 9·64 inputs can share a scale, where a Hadamard matrix alone
has nine groups. All entries of F have one size, and both parts of a number stay in one block: a
block far larger than the others is shared out evenly, as no real matrix of an odd size could do.
Signs matter where blocks resemble one another, as those of heads with common values, which F would
lead into a few of the blocks. Where q is below 16 there is no step 3, and blocks are pairs.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from compressors._dtype import wide
from compressors.kernels.hadamard import block_hadamard
from compressors.kernels.hadamard.blocks import LARGEST, SMALLEST, seed_word
from compressors.kernels.hash import hash_words


MOST_BLOCKS = 256
"""The cost of mixing is twice as many products a number as there are blocks."""


class Rotation(NamedTuple):
    """Of every group of `size` inputs; signs from the seed, or none without one."""

    size: int
    seed: int | None = None

    @property
    def block(self) -> int:
        """q, or 2 where blocks are not transformed."""
        q = min(self.size & -self.size, LARGEST)
        return q if q >= SMALLEST else 2

    @property
    def blocks(self) -> int:
        """Blocks of a group, m."""
        return self.size // self.block

    def check(self, inputs: int) -> None:
        """Raises `ValueError` unless groups of this size fill a row and can be rotated."""
        if self.size < 1 or inputs % self.size:
            raise ValueError(
                f"groups of {self.size} do not divide {inputs} inputs: give one of "
                f"{', '.join(map(str, sizes(inputs)[:6]))}, or None for the largest"
            )
        if self.size % 2 or self.blocks > MOST_BLOCKS:
            raise ValueError(
                f"groups of {self.size} inputs cannot be rotated: give an even size with at most "
                f"{MOST_BLOCKS} blocks of the largest power of two in it"
            )
        seed_word(self.seed)

    def apply(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """Each group rotated, computed in float32 where `x` is narrower."""
        return _applied(self, x)

    def back(self, z: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """The inverse of `apply`, and its transpose."""
        return _turned_back(self, z)

    def _flip(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """The signs of `compressors.kernels.hadamard.signs`."""
        if self.seed is None:
            return x
        places = jnp.arange(x.shape[-1], dtype=jnp.uint32)
        words = hash_words((jnp.uint32(self.seed), jnp.uint32(0)), places >> 5)
        negative = (words >> (places & 31)) & 1 == 1
        return jnp.where(negative.reshape((1,) * (x.ndim - 1) + (-1,)), -x, x)

    def _mix(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        if self.blocks == 1:
            return x
        halves = x.astype(wide(x)).reshape(-1, 2 * self.blocks, self.block // 2)
        matrix = jnp.asarray(conjugate_fourier(self.blocks), halves.dtype)
        mixed = jnp.einsum("ij,rjh->rih", matrix, halves, precision=jax.lax.Precision.HIGHEST)
        return mixed.reshape(x.shape).astype(x.dtype)


@partial(jax.jit, static_argnums=0)
def _applied(rotation: Rotation, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
    x = rotation._mix(rotation._flip(x))
    return x if rotation.block < SMALLEST else block_hadamard(x, rotation.block)


@partial(jax.jit, static_argnums=0)
def _turned_back(
    rotation: Rotation, z: Float[Array, "*batch inputs"]
) -> Float[Array, "*batch inputs"]:
    x = z if rotation.block < SMALLEST else block_hadamard(z, rotation.block)
    return rotation._flip(rotation._mix(x))


def conjugate_fourier(m: int) -> Float[np.ndarray, "twice_m twice_m"]:
    """The map v ↦ conj(F·v) on (Re v_0, Im v_0, Re v_1, …): symmetric, and its own inverse."""
    j = np.arange(m)
    angles = 2 * math.pi / m * (np.outer(j, j) % m)
    cosines, sines = np.cos(angles), np.sin(angles)
    pairs = np.array([[cosines, -sines], [-sines, -cosines]]) / math.sqrt(m)
    return pairs.transpose(2, 0, 3, 1).reshape(2 * m, 2 * m)


def sizes(inputs: int) -> tuple[int, ...]:
    """The groups that fill a row of so many inputs and can be rotated, from the largest.

    They have 16 to 4096 numbers, or are the whole of a shorter row.

    Raises:
        ValueError: there are none, as for an odd number.
    """
    fitting = tuple(
        size
        for size in range(min(inputs, LARGEST), 1, -1)
        if inputs % size == 0
        and size % 2 == 0
        and (size >= SMALLEST or size == inputs)
        and Rotation(size).blocks <= MOST_BLOCKS
    )
    if not fitting:
        raise ValueError(
            f"no even group of {SMALLEST} to {LARGEST} numbers divides {inputs} inputs and can be "
            f"rotated: pad the inputs with zeros, as to {-(-max(inputs, 1) // 16) * 16}"
        )
    return fitting
