"""The dtype in which values are scaled."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def wide(x: Array) -> Any:
    """The dtype to scale and to sum in: that of `x`, and float32 where that is narrower.

    A factor such as d/K rounded to bfloat16 would bias every value the same way.
    """
    return x.dtype if x.dtype.itemsize >= 4 else jnp.float32
