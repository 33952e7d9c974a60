"""Data cut into the parts of workers: samples lie one part after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Int64

from dopt.errors import ConfigurationError


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Cut:
    """Which samples are whose; made by `cut`."""

    owners: Int32[Array, " N"]
    """The part of every sample."""
    firsts: Int32[Array, " parts"]
    """Where the parts begin."""
    sizes: Int32[Array, " parts"]
    """The samples in each."""
    largest: int = field(metadata={"static": True})
    """The samples in the largest."""

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return self.sizes.shape[0]

    def shares(self, dtype: np.dtype) -> Float[Array, " N"]:
        """The weight of every sample in the mean over parts of the means within parts."""
        return (1 / (self.parts * self.sizes.astype(dtype)))[self.owners]


def cut(
    samples: int, n: int | None, parts: Sequence[Int64[np.ndarray, " _"]] | None
) -> tuple[Cut, Int64[np.ndarray, " N"]]:
    """The cut, and the order in which samples must lie: those that `parts` name, once each.

    Args:
        samples: how many there are.
        n: equal parts in the order of the samples; by default one part.
        parts: the samples of each worker, in place of `n`.

    Raises:
        ConfigurationError: parts that are empty, unequal for `n`, or name a sample twice or one
            that there is not; both `n` and `parts`.
    """
    if parts is None:
        if n is not None and (n < 1 or samples % n != 0):
            raise ConfigurationError(
                f"n = {n} does not cut {samples} samples into equal parts; take another n"
                + (f", or leave out the last {samples % n} samples" if n > 0 else "")
            )
        order = np.arange(samples)
        sizes = np.full(n or 1, samples // (n or 1))
    else:
        if n is not None:
            raise ConfigurationError(f"n = {n} beside parts; there are as many workers as parts")
        sizes = np.array([len(part) for part in parts], np.int64)
        if sizes.size == 0 or sizes.min() < 1:
            raise ConfigurationError(f"parts have the sizes {sizes}; give each worker a sample")
        order = np.concatenate(parts)
        if order.min() < 0 or order.max() >= samples:
            raise ConfigurationError(
                f"parts name samples {order.min()} to {order.max()}; there are 0 to {samples - 1}"
            )
        if len(np.unique(order)) < len(order):
            raise ConfigurationError("parts name a sample twice; let them be disjoint")
    made = Cut(
        owners=jnp.asarray(np.repeat(np.arange(len(sizes)), sizes), jnp.int32),
        firsts=jnp.asarray(np.cumsum(sizes) - sizes, jnp.int32),
        sizes=jnp.asarray(sizes, jnp.int32),
        largest=int(sizes.max()),
    )
    return made, order
