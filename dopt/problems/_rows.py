"""Samples as rows of a matrix, in tiles: what a linear model does with them.

A tile is B rows of one worker, a short one filled up with rows of zeros; T tiles hold all samples.
Models come k at a time. XLA makes the widest products on all cores where k > 1; for one model the
rows go in blocks (see `_products`).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dopt.problems._products import combined, rows_times


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DenseRows:
    """Every entry is stored."""

    entries: Float[Array, "T B d"]

    @property
    def d(self) -> int:
        """Entries of a row."""
        return self.entries.shape[2]

    @property
    def tile_bytes(self) -> int:
        """What one tile takes."""
        return self.entries.shape[1] * self.d * self.entries.dtype.itemsize

    @property
    def scratch(self) -> int:
        """Numbers that a pass makes of one tile for each model."""
        return self.entries.shape[1]

    def run(self, first: Int[Array, ""] | int, count: int) -> "DenseRows":
        """The tiles from `first` on."""
        return DenseRows(jax.lax.dynamic_slice_in_dim(self.entries, first, count))

    def tiles(self, chosen: Int[Array, " C"]) -> "DenseRows":
        """Some of the tiles, copied."""
        return DenseRows(self.entries.at[chosen].get(mode="promise_in_bounds"))

    def rows(self, chosen: Int[Array, " S"]) -> "DenseRows":
        """Some of the rows, copied into one tile."""
        return DenseRows(self._flat().at[chosen].get(mode="promise_in_bounds")[None])

    def margins(self, xs: Float[Array, "k d"]) -> Float[Array, "T B k"]:
        """⟨a, x⟩ of every row with every model."""
        rows = self._flat()
        products = rows_times(rows, xs[0])[:, None] if len(xs) == 1 else rows @ xs.T
        return products.reshape(*self.entries.shape[:2], len(xs))

    def total(self, weights: Float[Array, "T B k"]) -> Float[Array, "k d"]:
        """Σ weights·a over all rows."""
        flat = weights.reshape(-1, weights.shape[2])
        if flat.shape[1] == 1:
            return combined(flat[:, 0], self._flat())[None]
        return flat.T @ self._flat()

    def by_tile(self, weights: Float[Array, "T B k"]) -> Float[Array, "T k d"]:
        """Σ weights·a over the rows of each tile."""
        return jax.vmap(lambda weights, a: weights.T @ a)(weights, self.entries)

    def host(self) -> Float[np.ndarray, "rows d"]:
        """All rows in float64."""
        return np.asarray(self._flat(), np.float64)

    def _flat(self) -> Float[Array, "rows d"]:
        return self.entries.reshape(-1, self.d)


def dense_rows(
    features: Float[np.ndarray, "N d"], places: Int[np.ndarray, "T B"], dtype: np.dtype
) -> DenseRows:
    """The rows `places` of the features; a row of zeros for the place −1."""
    entries = features[places].astype(dtype, copy=False)
    entries[places < 0] = 0
    return DenseRows(jnp.asarray(entries))
