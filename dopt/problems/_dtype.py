"""The one check of a problem's type of numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from dopt.errors import ConfigurationError


def float_dtype(dtype: Any) -> np.dtype:
    """`dtype` as a numpy dtype, in the one form that hashes alike.

    Raises:
        ConfigurationError: it is no float, or a float64 while JAX has 64 bits switched off.
    """
    known = np.dtype(dtype)
    if not jnp.issubdtype(known, jnp.floating):
        raise ConfigurationError(f"dtype = {known}; models are floats, such as float32 or float64")
    if known.itemsize > jnp.result_type(float).itemsize:
        raise ConfigurationError(
            f"dtype = {known} while JAX has 64 bits switched off; set jax_enable_x64 or use float32"
        )
    return known
