"""Gradients of many workers at once, where each has its own part of the data.

A job asks for the gradient of one worker. Under `vmap` over jobs that would gather a copy of every
asked part, which costs more than the gradients: where as many are asked as there are workers, all
of them are computed from the data as they lie, and rows of the result are picked.

Large models go through in turn: side by side they would hold the activations of all at once, and
convolutions with a kernel for each are many times slower than one after another.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import custom_vmap, sequential_vmap
from jaxtyping import Array, Float, Int


One = Callable[[Any, Float[Array, " d"], Int[Array, ""]], Float[Array, " d"]]
"""`one(problem, x, worker)`: a gradient of one worker."""

All = Callable[[Any, Float[Array, " d"]], Float[Array, "n d"]]
"""`every(problem, x)`: that of every worker."""


def per_worker(one: One, every: All) -> One:
    """`one`, which under `vmap` over the workers alone becomes rows of `every`."""

    def gradient(problem: Any, x: Array, worker: Array) -> Array:
        # Only lists of arrays go through: JAX fills what it maps with other things than arrays.
        leaves, tree = jax.tree.flatten(problem)

        def single(leaves: list[Array], x: Array, worker: Array) -> Array:
            return one(jax.tree.unflatten(tree, leaves), x, worker)

        mapped = custom_vmap(single)

        @mapped.def_vmap
        def over_jobs(
            size: int, batched: Any, leaves: list[Array], x: Array, worker: Array
        ) -> tuple[Array, bool]:
            shared = not any(jax.tree.leaves(batched[:2]))
            if shared and size >= problem.n:
                return every(jax.tree.unflatten(tree, leaves), x)[worker], True
            axes = jax.tree.map(lambda yes: 0 if yes else None, tuple(batched))
            return jax.vmap(single, in_axes=axes)(leaves, x, worker), True

        return mapped(leaves, x, worker)

    return gradient


def in_turn(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(problem, *arrays)`, which under `vmap` is a loop over what is mapped."""

    def called(problem: Any, *arrays: Array) -> Any:
        leaves, tree = jax.tree.flatten(problem)

        def single(leaves: list[Array], *arrays: Array) -> Any:
            return function(jax.tree.unflatten(tree, leaves), *arrays)

        return sequential_vmap(single)(leaves, *arrays)

    return called
