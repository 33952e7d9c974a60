"""Scales of a tensor, of its rows or of groups of neighbours in a row."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32, Shaped

from compressors.kernels.quantize_pack.grids import Grid


class Scales(NamedTuple):
    """One number a group: `values` and `zeros` have one entry, or are (rows, groups)."""

    values: Float32[Array, "a b"]
    zeros: Int32[Array, "a b"]
    group: int

    @property
    def inverses(self) -> Float32[Array, "a b"]:
        """One over each scale, and 0 where that is 0 or not finite."""
        usable = (self.values > 0) & jnp.isfinite(self.values)
        return jnp.where(usable, 1 / jnp.where(usable, self.values, 1), 0)

    def spread(self, numbers: Shaped[Array, "a b"], k: int) -> Shaped[Array, "a c"]:
        """One number for each of the k entries of a row, or one for all."""
        return numbers if numbers.shape[1] == 1 else jnp.repeat(numbers, self.group, axis=1)[:, :k]


def scales(
    grid: Grid,
    rows: tuple[int, ...],
    k: int,
    scale: Float[Array, "..."],
    zero: Int32[Array, "..."] | None,
    group_size: int | None,
) -> Scales:
    """The scales of an array of shape (*rows, k), checked.

    Raises:
        ValueError: shapes do not fit, or a zero point is missing or not wanted.
    """
    group = max(k, 1) if group_size is None else group_size
    if group < 1:
        raise ValueError(f"groups of {group} entries: give a group_size of at least 1")
    groups = -(-k // group)
    if scale.shape not in ((), (*rows, groups)):
        raise ValueError(
            f"scales of shape {scale.shape} do not fit rows {rows} of {k} entries in groups of "
            f"{group}: give one scale, or shape {(*rows, groups)}"
        )
    if grid.shifted != (zero is not None):
        raise ValueError(
            f"{grid} has {'a zero point a group' if grid.shifted else 'no zero points'}: "
            f"{'give' if grid.shifted else 'leave out'} zero"
        )
    if zero is not None and zero.shape != scale.shape:
        raise ValueError(
            f"zero has shape {zero.shape}, not {scale.shape} as scale: make them alike"
        )
    shape = (1, 1) if scale.shape == () else (-1, groups)
    values = scale.astype(jnp.float32).reshape(shape)
    zeros = jnp.zeros_like(values, jnp.int32) if zero is None else zero.reshape(shape)
    return Scales(values, zeros, group)
