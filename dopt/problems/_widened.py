"""Functions of one model and one worker, computed for many at once however they are mapped over.

`vmap` over jobs, step sizes and seeds would make of a gradient a batch of products of a matrix and
a vector, and gather a copy of each job's data. Here the maps only lengthen the list of models and
that of workers, and a function of both lists says what is best done with them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array


Many = Callable[..., Array]
"""`many(tree, *lists)`: its result has an axis for each list, in their order, before all others."""


def widened(many: Many) -> Callable[..., Array]:
    """The function `one(tree, *items)` of one item of each list, which `vmap` lengthens.

    A map over several arguments at once, or over the tree, is left to JAX.
    """

    def one(tree: Any, *items: Array) -> Array:
        # Only lists of arrays go through: JAX fills what it maps with other things than arrays.
        leaves, structure = jax.tree.flatten(tree)

        def plain(leaves: list[Array], *lists: Array) -> Array:
            return many(jax.tree.unflatten(structure, leaves), *lists)

        mapped = custom_vmap(plain)

        @mapped.def_vmap
        def over(size: int, batched: Any, leaves: list[Array], *lists: Array) -> tuple[Array, bool]:
            longer = [q for q, yes in enumerate(batched[1:]) if yes]
            if not longer and not any(batched[0]):
                # Forward differentiation asks so where tangents alone are mapped over.
                return plain(leaves, *lists), False
            if len(longer) != 1 or any(batched[0]):
                axes = jax.tree.map(lambda yes: 0 if yes else None, tuple(batched))
                return jax.vmap(plain, in_axes=axes)(leaves, *lists), True
            q = longer[0]
            several = [a.reshape(-1, *a.shape[2:]) if i == q else a for i, a in enumerate(lists)]
            result = mapped(leaves, *several)
            apart = result.reshape(*result.shape[:q], size, -1, *result.shape[q + 1 :])
            return jnp.moveaxis(apart, q, 0), True

        return mapped(leaves, *(item[None] for item in items))[(0,) * len(items)]

    return one
