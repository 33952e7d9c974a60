"""All that belongs to the Triton lowering of Pallas, and to its interpreter.

JAX deprecates this lowering since 0.11 and will drop it some day: then `check_installed` raises,
and the chooser goes on to another backend. Until then JAX warns, with `DEPRECATION`, where a kernel
is compiled. Whether a Pallas kernel means Triton or Mosaic GPU has changed between versions of JAX
too, so the compiler parameters always say.

A kernel here takes whole arrays and does its own indexing with masks, since blocks would have to
divide the arrays. What it may use: elementwise `jnp` but `round`, shifts, `where`, reductions over
one axis with sizes that are powers of two; no slices of values, no arrays from outside.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Bool, Int, Shaped


DEPRECATION = "The Pallas Triton backend is deprecated"
"""How the warning begins."""

MOST_ENTRIES = 2**31 - 1
"""Entries of an array that 32-bit indices reach; larger ones are left to XLA."""


@functools.cache
def lowering() -> Any:
    """The module `jax.experimental.pallas.triton`; imported where it is needed, since it is slow.

    Raises:
        NotImplementedError: this JAX has none.
    """
    try:
        from jax.experimental.pallas import triton
    except ImportError as error:
        raise NotImplementedError(
            f"JAX {jax.__version__} has no Triton lowering of Pallas ({error}): take the backend "
            "'mosaic' or 'xla'"
        ) from error
    return triton


def check_installed() -> None:
    """Raises `NotImplementedError` where this JAX has no Triton lowering."""
    lowering()


def check_sizes(name: str, *arrays: Any) -> None:
    """Raises `NotImplementedError` for an array with more entries than 32-bit indices reach."""
    for array in arrays:
        if array.size > MOST_ENTRIES:
            raise NotImplementedError(
                f"the Triton kernel of {name} indexes with 32 bits: arrays of up to {MOST_ENTRIES} "
                f"entries, not {array.size}; cut the array, or take the backend 'xla'"
            )


def call(
    kernel: Callable[..., None],
    *arrays: Shaped[Array, "..."],
    out: jax.ShapeDtypeStruct | Sequence[jax.ShapeDtypeStruct],
    grid: tuple[int, ...],
    warps: int = 4,
    interpret: bool = False,
    name: str,
) -> Any:
    """Runs `kernel(*array_refs, *out_refs)` once for each point of the grid, at most three axes."""
    launch = pl.pallas_call(
        kernel,
        out_shape=out,
        grid=grid,
        compiler_params=lowering().CompilerParams(num_warps=warps, num_stages=1),
        interpret=interpret,
        name=name,
    )
    return launch(*arrays)


def load(ref: Any, index: Int[Array, "..."], mask: Bool[Array, "..."]) -> Shaped[Array, "..."]:
    """The entries of a one-dimensional array at `index`, zeros where `mask` is false."""
    return lowering().load(ref.at[index], mask=mask, other=jnp.zeros((), ref.dtype))


def store(
    ref: Any,
    index: Int[Array, "..."],
    values: Shaped[Array, "..."],
    mask: Bool[Array, "..."],
) -> None:
    """Writes the values where `mask` is true."""
    lowering().store(ref.at[index], values, mask=mask)


def place(blocks: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Which block of which row this program handles, in a grid of (rows·blocks,).

    One axis, since CUDA takes 2³¹ − 1 programs along the first and 65,535 along the others.
    """
    here = program(0)
    return jax.lax.rem(here, jnp.int32(blocks)), jax.lax.div(here, jnp.int32(blocks))


def program(axis: int) -> Int[Array, ""]:
    """Where this program stands in the grid, int32 with x64 or without."""
    return jnp.asarray(pl.program_id(axis), jnp.int32)
