"""Whether a model fits into memory, asked before it is read."""

import math
from typing import Any

import jax
import numpy as np
import psutil

from dopt.errors import ConfigurationError
from dopt.models.config import Config
from dopt.models.parameters import parameter_count, parameter_shapes


def check_memory(config: Config, dtype: Any, *, source: str) -> None:
    """Refuses a model that this machine cannot hold, before anything is read.

    Needed are the parameters in `dtype` and one more copy of the largest array, while it is
    converted. What the kernel keeps of files counts as free.

    Raises:
        ConfigurationError: fewer bytes are free; the message names both.
    """
    size = np.dtype(dtype).itemsize
    largest = max(math.prod(shape) for shape in parameter_shapes(config).values())
    needed = (parameter_count(config) + largest) * size
    check_free(needed, f"{source} as {np.dtype(dtype).name}", "give a narrower dtype, end")


def check_free(needed: int, what: str, remedy: str = "end") -> None:
    """Refuses what needs more bytes than are free.

    Args:
        needed: bytes.
        what: needs them.
        remedy: what to do before "other programs, or use a machine with more".

    Raises:
        ConfigurationError: fewer bytes are free; the message names both.
    """
    if needed > (free := _free()):
        raise ConfigurationError(
            f"{what} needs {needed / 2**30:.2f} GiB, but {free / 2**30:.2f} GiB of memory are "
            f"free; {remedy} other programs, or use a machine with more"
        )


def check_dtype(dtype: Any) -> np.dtype:
    """The dtype of parameters.

    Raises:
        ConfigurationError: it is not of floating point, or JAX would make it narrower.
    """
    asked = np.dtype(dtype)
    if not jax.numpy.issubdtype(asked, np.floating):
        raise ConfigurationError(f"dtype = {asked}; parameters are floating-point numbers")
    if jax.dtypes.canonicalize_dtype(asked) != asked:
        raise ConfigurationError(
            f"dtype = {asked}, which JAX makes float32; set jax_enable_x64 before"
        )
    return asked


def _free() -> int:
    return int(psutil.virtual_memory().available)
