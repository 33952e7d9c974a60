"""Names of the arrays of a model: layers, in tables and figures."""

from typing import Any

import jax


def leaf_names(params: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every array of a pytree by its name, in the order of `ravel_pytree`.

    A name is the path to the array, such as `stages.0.1.first.kernel`; that of a single array is
    empty. The vectors of a `FromLoss` hold the arrays of its `params` in this order.
    """
    paths = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): jax.numpy.shape(leaf)
        for path, leaf in paths
    }
