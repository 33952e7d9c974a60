"""All that belongs to the Mosaic GPU lowering of Pallas: NVIDIA GPUs from Hopper on.

It is imported where a kernel asks for it, since it is a fifth of a second and, in JAX 0.10, needs
the package absl-py, which JAX does not bring along.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


MIN_CAPABILITY = 9.0
"""The compute capability of Hopper."""


@functools.cache
def module() -> Any:
    """The module `jax.experimental.pallas.mosaic_gpu`.

    Raises:
        NotImplementedError: this JAX has none, or lacks a package that it needs.
    """
    try:
        from jax.experimental.pallas import mosaic_gpu
    except ImportError as error:
        raise NotImplementedError(
            f"JAX {jax.__version__} cannot import its Mosaic GPU lowering ({error}): install what "
            "is missing, such as absl-py, or take the backend 'triton' or 'xla'"
        ) from error
    return mosaic_gpu


def check_installed() -> None:
    """Raises `NotImplementedError` where Mosaic GPU is not to be had, or the GPU is too old."""
    module()
    if jax.default_backend() == "gpu":
        capability = getattr(jax.devices()[0], "compute_capability", "0")
        if not capability.replace(".", "").isdigit() or float(capability) < MIN_CAPABILITY:
            raise NotImplementedError(
                f"Mosaic GPU runs on compute capability {MIN_CAPABILITY} and later, not on "
                f"{jax.devices()[0].device_kind} with {capability}: take the backend 'triton' or "
                "'xla'"
            )


def call(
    body: Callable[..., None],
    *arrays: Shaped[Array, "..."],
    out: jax.ShapeDtypeStruct,
    grid: tuple[int, int],
    interpret: bool = False,
) -> Shaped[Array, "..."]:
    """Runs `body(block, row, *array_refs, out_ref)` for each (block, row) of the grid.

    The references are to global memory; one warpgroup of 128 threads runs the body.
    """
    lowering = module()

    def kernel(*refs: Any) -> None:
        body(
            jnp.asarray(jax.lax.axis_index("block"), jnp.int32),
            jnp.asarray(jax.lax.axis_index("row"), jnp.int32),
            *refs,
        )

    options = {"interpret": lowering.InterpretGPUParams()} if interpret else {}
    launch = lowering.kernel(
        kernel, out_type=out, grid=grid, grid_names=("block", "row"), **options
    )
    return launch(*arrays)


def check_blocks(name: str, length: int, block: int) -> None:
    """Raises `NotImplementedError` unless blocks divide the length: there are no masks here."""
    if length % block or not length:
        raise NotImplementedError(
            f"the Mosaic GPU form of {name} works on whole blocks: lanes of a multiple of {block} "
            f"entries, not {length}; take the backend 'triton' or 'xla'"
        )


def check_offsets(name: str, *sizes: int) -> None:
    """Raises `NotImplementedError` for an array with more entries than 32-bit indices reach."""
    if max(sizes) >= 2**31:
        raise NotImplementedError(
            f"the Mosaic GPU form of {name} indexes with 32 bits: arrays of fewer than 2147483648 "
            f"entries, not {max(sizes)}; take the backend 'xla'"
        )
