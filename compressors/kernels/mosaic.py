"""All that belongs to the Mosaic GPU lowering of Pallas: NVIDIA GPUs from Hopper on.

It is imported where a kernel asks for it, since it is a fifth of a second and, in JAX 0.10, needs
the package absl-py, which JAX does not bring along.
"""

import functools
from typing import Any

import jax


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
