"""A function of rows, computed in windows that stay in a processor's cache.

A chain of passes over an array larger than the cache reads and writes memory once a pass, and its
temporaries are as large as the array. In windows only the input is read and the output written.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


def by_rows(function: Callable[..., Any], arrays: tuple[Array, ...], rows: int) -> Any:
    """`function(*arrays)`, computed in windows of `rows` ≥ 1 of the leading axis.

    Row i of each result may depend on the rows i of the arrays alone. The last window overlaps the
    one before where `rows` does not divide their number, and gives those rows once more.
    """
    total = arrays[0].shape[0]
    if total <= rows:
        return function(*arrays)

    def write(i: Array, out: Any) -> Any:
        start = jnp.minimum(i * rows, total - rows)
        window = function(*(lax.dynamic_slice_in_dim(a, start, rows) for a in arrays))
        # Fused into the writing, a function would not vectorise.
        window = lax.optimization_barrier(window)
        return jax.tree.map(
            lambda whole, part: lax.dynamic_update_slice_in_dim(whole, part, start, 0), out, window
        )

    shapes = (jax.ShapeDtypeStruct((rows, *a.shape[1:]), a.dtype) for a in arrays)
    out = jax.tree.map(
        lambda part: jnp.zeros((total, *part.shape[1:]), part.dtype),
        jax.eval_shape(function, *shapes),
    )
    return lax.fori_loop(0, -(-total // rows), write, out)
