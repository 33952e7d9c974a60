"""The group Hadamard: groups of a layer's inputs rotated alike in weights and in activations.

H·diag(s) makes any group nearly Gaussian with high probability, which is what the grids are for.
Since it is orthogonal, ⟨w, x⟩ = ⟨H·diag(s)·w, H·diag(s)·x⟩, and a layer can be applied without
rotating its weights back.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from compressors.kernels.backend import Backend
from compressors.kernels.hadamard import block_hadamard, block_hadamard_back
from compressors.kernels.hadamard.blocks import LARGEST, SMALLEST


def group_sizes(in_features: int) -> tuple[int, ...]:
    """The sizes of group that need no padding, from the largest.

    They are the powers of two from 16 to 4096 that divide the inputs of a layer: 64, 32 and 16 for
    576, up to 512 for 1536, up to 256 for 11008.

    Raises:
        ValueError: no size divides `in_features`.
    """
    if in_features < 1:
        raise ValueError(f"a layer of {in_features} inputs: give 1 or more")
    sizes = [1 << k for k in range(SMALLEST.bit_length() - 1, LARGEST.bit_length())]
    fitting = tuple(size for size in reversed(sizes) if in_features % size == 0)
    if not fitting:
        raise ValueError(
            f"no group of {SMALLEST} to {LARGEST} numbers, a power of two, divides {in_features} "
            f"inputs: pad them with zeros to {-(-in_features // SMALLEST) * SMALLEST}"
        )
    return fitting


def seed_of_signs(key: PRNGKeyArray) -> UInt32[Array, ""]:
    """The 32 bits that stand for the signs of a key: what is stored with a rotated layer."""
    return jax.random.bits(key, (), jnp.uint32)


def rotate_groups(
    x: Float[Array, "*batch inputs"],
    size: int,
    *,
    key: PRNGKeyArray | None = None,
    backend: Backend = "auto",
) -> Float[Array, "*batch inputs"]:
    """H·diag(s)·g for every group g of the last axis; s depends on the place, not on the row.

    Args:
        x: weights [out, in] or activations [..., in], any float dtype; computed in float32 where it
            is narrower.
        size: of a group, one of `group_sizes`.
        key: of the signs; without one there are none, as in published HIGGS checkpoints.
        backend: see `compressors.kernels.backend`.

    Raises:
        ValueError: a size that is no power of two from 16 to 4096, or that does not divide the last
            axis.
        NotImplementedError: the backend does not serve this call.
    """
    return block_hadamard(x, size, seed=_seed(key), backend=backend)


def rotate_groups_back(
    z: Float[Array, "*batch inputs"],
    size: int,
    *,
    key: PRNGKeyArray | None = None,
    backend: Backend = "auto",
) -> Float[Array, "*batch inputs"]:
    """diag(s)·H·g for every group: the inverse of `rotate_groups`, and its transpose."""
    return block_hadamard_back(z, size, seed=_seed(key), backend=backend)


def _seed(key: PRNGKeyArray | None) -> UInt32[Array, ""] | None:
    return None if key is None else seed_of_signs(key)
